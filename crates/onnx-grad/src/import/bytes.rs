//! Inputs of 8-bit integers, held as floats because integers have no gradient.
//!
//! Float and integer arithmetic differ: integers wrap around and divide differently. So between such an input and the
//! first operator that converts it to floats, values may be moved but not changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{call::label, image_inputs, tensor_type, tensors::type_name};
use crate::{
    Error, Result,
    proto::{AttributeProto, DataType, GraphProto, NodeProto},
};

/// The type of 8-bit integers that a model expects. Its graph takes floats that hold such integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bytes {
    /// 0 to 255.
    Uint8,
    /// -128 to 127.
    Int8,
}

impl Bytes {
    pub(super) fn of(data_type: i32) -> Option<Self> {
        match DataType::try_from(data_type) {
            Ok(DataType::Uint8) => Some(Self::Uint8),
            Ok(DataType::Int8) => Some(Self::Int8),
            _ => None,
        }
    }
}

/// Operators whose result consists of elements of their first input.
const MOVES: [&str; 13] = [
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Operators that convert the integers of their first input exactly, expressed as formulas over floats.
const DECODES: [&str; 7] = [
    "ConvInteger",
    "DequantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "Shape",
    "Size",
];

/// Returns the type of a graph's only input if it is an 8-bit integer type that the graph may take as floats.
///
/// # Errors
/// If a node computes with these integers.
pub(super) fn input(graph: &GraphProto) -> Result<Option<Bytes>> {
    let inputs: Vec<_> = image_inputs(graph).collect();
    let &[input] = inputs.as_slice() else {
        return Ok(None);
    };
    let elem_type = tensor_type(input)?.elem_type;
    let Some(bytes) = Bytes::of(elem_type) else {
        return Ok(None);
    };
    let refuse = |node: &NodeProto| {
        Error::unsupported(format!(
            "input {:?} is of {}, and node {:?} ({}) computes with these integers, which have no gradient",
            input.name,
            type_name(elem_type),
            label(node),
            node.op_type
        ))
    };
    let mut readers: BTreeMap<&str, Vec<(usize, &NodeProto)>> = BTreeMap::new();
    for node in &graph.node {
        for (at, name) in node.input.iter().enumerate() {
            readers.entry(name).or_default().push((at, node));
        }
        for name in node.attribute.iter().flat_map(inner_names) {
            readers.entry(name).or_default().push((usize::MAX, node));
        }
    }
    let mut values = vec![input.name.as_str()];
    let mut known: BTreeSet<&str> = values.iter().copied().collect();
    while let Some(value) = values.pop() {
        for &(at, node) in readers.get(value).into_iter().flatten() {
            let operator = node.op_type.as_str();
            let is_onnx = matches!(node.domain.as_str(), "" | "ai.onnx");
            match (is_onnx, at) {
                (true, 0) if MOVES.contains(&operator) => {
                    let made = node.output.iter().map(String::as_str);
                    values.extend(made.filter(|made| known.insert(made)));
                }
                (true, 0) if DECODES.contains(&operator) => {}
                (true, 0) if operator == "Cast" && makes_floats(node) => {}
                _ => return Err(refuse(node)),
            }
        }
    }
    Ok(Some(bytes))
}

/// Returns the names that the graphs in an attribute read.
fn inner_names(attribute: &AttributeProto) -> Vec<&str> {
    let mut graphs: Vec<&GraphProto> = attribute.g.iter().collect();
    let mut names = Vec::new();
    while let Some(graph) = graphs.pop() {
        for node in &graph.node {
            names.extend(node.input.iter().map(String::as_str));
            graphs.extend(node.attribute.iter().flat_map(|attribute| &attribute.g));
        }
        names.extend(graph.output.iter().map(|output| output.name.as_str()));
    }
    names
}

fn makes_floats(cast: &NodeProto) -> bool {
    let to = cast.attribute.iter().find(|one| one.name == "to");
    to.is_some_and(|to| {
        let to = i32::try_from(to.i.unwrap_or(0)).unwrap_or(0);
        matches!(
            DataType::try_from(to),
            Ok(DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double)
        )
    })
}
