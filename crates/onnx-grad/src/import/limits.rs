//! Estimates the cost of decoding a file before anything is allocated.
//!
//! An empty message takes two bytes in a file and hundreds in memory, so a small file can require a lot of memory.

use std::mem::size_of;

use crate::{
    Error, Result,
    proto::{
        AttributeProto, DimensionProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto,
        SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto,
        TypeProto, ValueInfoProto,
    },
};

/// Maximum memory of all messages of a file, in bytes, without strings and the elements of tensors.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// Maximum number of nodes, including those of functions and inner graphs: ten times the number in large classifiers,
/// and a few seconds of work.
const MAX_NODES: usize = 1 << 17;

/// Memory of a number or string in addition to its own bytes.
const FIELD_BYTES: usize = 32;

/// Types of messages that contain messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Graph,
    Node,
    Function,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Leaf,
}

/// Returns the type of the message in a field, and its size in memory; `None` for strings, numbers and unknown fields.
pub(super) fn inner(kind: Kind, tag: u64) -> Option<(Kind, usize)> {
    use Kind::*;
    Some(match (kind, tag) {
        (Model, 7) | (Attribute, 6 | 11) => (Graph, size_of::<GraphProto>()),
        (Model, 8) | (Function, 9) => (Leaf, size_of::<OperatorSetIdProto>()),
        (Model, 14) | (Tensor, 13) => (Leaf, size_of::<StringStringEntryProto>()),
        (Model, 25) => (Function, size_of::<FunctionProto>()),
        (Graph, 1) | (Function, 7) => (Node, size_of::<NodeProto>()),
        (Graph, 5) | (Attribute, 5 | 10) | (Sparse, 1 | 2) => (Tensor, size_of::<TensorProto>()),
        (Graph, 11..=13) => (ValueInfo, size_of::<ValueInfoProto>()),
        (Graph, 15) | (Attribute, 22 | 23) => (Sparse, size_of::<SparseTensorProto>()),
        (Node, 5) | (Function, 11) => (Attribute, size_of::<AttributeProto>()),
        (ValueInfo, 2) => (Type, size_of::<TypeProto>()),
        (Type, 1) => (TensorType, size_of::<TensorTypeProto>()),
        (TensorType, 2) => (Shape, size_of::<TensorShapeProto>()),
        (Shape, 1) => (Leaf, size_of::<DimensionProto>()),
        _ => return None,
    })
}

/// Fails if the messages of a file would take too much memory. A file that is truncated or malformed passes, because
/// decoding reports that.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    within(bytes, MAX_NODES, MAX_MESSAGE_BYTES)
}

fn within(bytes: &[u8], max_nodes: usize, max_message_bytes: usize) -> Result<()> {
    let mut taken = 0_usize;
    let mut nodes = 0;
    // The enclosing messages of the current field, each with its end.
    let mut around = vec![(Kind::Model, bytes.len())];
    let mut at = 0;
    while let Some(&(kind, end)) = around.last() {
        if at >= end {
            around.pop();
            continue;
        }
        let Some(key) = varint(&bytes[..end], &mut at) else {
            return Ok(());
        };
        taken = taken.saturating_add(FIELD_BYTES);
        let (tag, wire_type) = (key >> 3, key & 7);
        let length = match wire_type {
            0 => varint(&bytes[..end], &mut at).map(|_| 0),
            1 => Some(8),
            2 => varint(&bytes[..end], &mut at).and_then(|length| usize::try_from(length).ok()),
            // The delimiters of a group; its content counts as if it were outside.
            3 | 4 => Some(0),
            5 => Some(4),
            _ => None,
        };
        let Some(length) = length.filter(|&length| length <= end - at) else {
            return Ok(());
        };
        match inner(kind, tag).filter(|_| wire_type == 2) {
            Some((kind, size)) => {
                taken = taken.saturating_add(size);
                nodes += usize::from(kind == Kind::Node);
                around.push((kind, at + length));
            }
            None => {
                // One byte of packed integers may decode to eight.
                let is_packed = kind == Kind::Tensor && matches!(tag, 5 | 7 | 11);
                taken = taken.saturating_add(if is_packed { 8 * length } else { 0 });
                at += length;
            }
        }
        if nodes > max_nodes {
            return Err(Error::unsupported(format!(
                "has more than {max_nodes} nodes"
            )));
        }
        if taken > max_message_bytes {
            return Err(Error::unsupported(format!(
                "its nodes, attributes and values would take more than {} MiB of memory, not counting weights",
                max_message_bytes >> 20
            )));
        }
    }
    Ok(())
}

/// Reads the integer at a position and moves the position past it.
pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::ModelProto;

    fn graph(graph: GraphProto) -> Vec<u8> {
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    #[test]
    fn a_small_file_cannot_ask_for_much_memory() {
        let nodes = |count| {
            graph(GraphProto {
                node: vec![NodeProto::default(); count],
                ..GraphProto::default()
            })
        };
        assert_eq!(within(&nodes(9), 9, 1 << 20), Ok(()));
        let error = within(&nodes(10), 9, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("more than 9 nodes"), "{error}");

        let attributes = |count| {
            graph(GraphProto {
                node: vec![NodeProto {
                    attribute: vec![AttributeProto::default(); count],
                    ..NodeProto::default()
                }],
                ..GraphProto::default()
            })
        };
        assert!(attributes(2000).len() < 5000);
        assert_eq!(within(&attributes(1000), 9, 1 << 20), Ok(()));
        let error = within(&attributes(2000), 9, 1 << 20)
            .unwrap_err()
            .to_string();
        assert!(error.contains("more than 1 MiB"), "{error}");
    }

    #[test]
    fn packed_integers_count_as_what_they_become() {
        let weights = |count| {
            graph(GraphProto {
                initializer: vec![TensorProto {
                    int64_data: vec![1; count],
                    ..TensorProto::default()
                }],
                ..GraphProto::default()
            })
        };
        assert_eq!(within(&weights(1 << 16), 9, 1 << 20), Ok(()));
        assert!(within(&weights(1 << 17), 9, 1 << 20).is_err());
    }

    #[test]
    fn what_is_no_message_is_left_to_the_decoder() {
        for bytes in [&[][..], &[0xff; 40], &[0x3a, 0x7f], &[0x3a, 0x02, 0x0a]] {
            assert_eq!(check(bytes), Ok(()));
        }
    }
}
