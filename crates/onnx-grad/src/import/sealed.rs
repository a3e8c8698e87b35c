//! Self-contained model files that an engine can run unchanged.

mod portable;

use std::{collections::BTreeSet, path::Path};

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use super::{
    Batch, LISTED, LoadOptions, MAX_FILE_BYTES,
    call::label,
    census::census,
    decode, folder_of, image_inputs,
    inline::{MAX_DEPTH, MAX_INLINED},
    input, is_onnx_domain,
    limits::{Kind, inner, varint},
    meaning::CLASSIC,
    read, tensor_type, tensors,
};
use crate::{
    Error, Result,
    dim::Dim,
    proto::{
        DataLocation, DataType, DimensionProto, DimensionValue, GraphProto, ModelProto,
        TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
    },
};

/// Maximum depth of nested messages; the same as prost's.
const MAX_NESTING: usize = 100;

/// Maximum number of nodes behind a softmax that is skipped.
const MAX_TAIL: usize = 16;

/// The fields of a model that affect its results, and those that name its writer. All others are dropped, so that no
/// engine takes the file for one of another format.
const MODEL_FIELDS: [u32; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 14, 25];

const GRAPH_OUTPUT: u32 = 12;
const RAW_DATA: u32 = 9;
const EXTERNAL_DATA: u32 = 13;
const DATA_LOCATION: u32 = 14;

/// A classifier's file that an engine can run unchanged. It contains its weights, has one input and is within the
/// limits of what can be read. Its operators aren't checked.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The file.
    pub bytes: Vec<u8>,
    /// Name of the input.
    pub input: String,
    /// Shape of the input; its leading axis is `Dim::Batch(1)` or `Dim::Fixed(1)`.
    pub shape: Vec<Dim>,
    /// Whether the input holds bytes (`uint8`) instead of `float`.
    pub eats_bytes: bool,
    /// Name of the output with the scores, which has type `float`.
    pub output: String,
    /// Name of the softmax whose input is taken as the scores; `None` if no softmax is skipped.
    pub softmax: Option<String>,
}

/// Seals a model file: embeds the weights from external files, which are found as in [`load`](crate::load).
///
/// # Errors
/// [`Error::Io`] names a file that cannot be read, [`Error::Invalid`] a broken one. [`Error::Unsupported`] states why
/// the model cannot map one picture to one row of scores, or which limit it exceeds. Including its external files, it
/// must be smaller than 2 GiB.
pub fn seal(path: &Path, options: &LoadOptions) -> Result<Sealed> {
    seal_bytes(&read(path)?, folder_of(path), options)
}

/// [`seal`] for the bytes of a file. External weights are looked up in `folder`.
pub fn seal_bytes(bytes: &[u8], folder: Option<&Path>, options: &LoadOptions) -> Result<Sealed> {
    let model = decode(bytes)?;
    check_calls(&model)?;
    let graph = (model.graph.as_ref())
        .ok_or_else(|| Error::invalid("has no graph; is this an ONNX file?"))?;
    let inputs: Vec<_> = image_inputs(graph).collect();
    let &[only] = inputs.as_slice() else {
        return Err(Error::unsupported(format!(
            "has {} inputs; a classifier takes one picture and returns one row of scores",
            inputs.len()
        )));
    };
    let name = &only.name;
    let declared = tensor_type(only)?;
    let eats_bytes = match DataType::try_from(declared.elem_type) {
        Ok(DataType::Float) => false,
        Ok(DataType::Uint8) => true,
        _ => {
            return Err(Error::unsupported(format!(
                "input {name:?} has elements of type {}; a file that is run as it is must take float or uint8",
                tensors::type_name(declared.elem_type)
            )));
        }
    };
    let mut channels = input::channels(graph, only)?;
    let channels = channels.swap_remove(0);
    let shape = input::shape(name, declared, Batch::AsDeclared, true, options, channels)?;
    if !matches!(shape.first(), Some(Dim::Batch(_) | Dim::Fixed(1))) {
        return Err(Error::unsupported(format!(
            "input {name:?} needs a leading batch axis of length 1 or of open length"
        )));
    }
    let mut output = match mapped_scores(graph, options) {
        Some(scores) => scores,
        None => scores(graph, options)?,
    };
    let seen_through = match options.keep_softmax {
        true => None,
        false => final_softmax(&model, graph, &output),
    };
    let softmax = seen_through.map(|(name, before)| {
        output = before;
        name
    });
    let mut sealer = Sealer {
        folder,
        size: bytes.len(),
        further_output: (!graph.output.iter().any(|declared| declared.name == output))
            .then(|| float_value(&output)),
    };
    Ok(Sealed {
        input: name.clone(),
        shape,
        eats_bytes,
        bytes: sealer.message(bytes, Kind::Model, 0)?,
        output,
        softmax,
    })
}

/// Fails if an engine that expands function calls would never finish, or take too long.
fn check_calls(model: &ModelProto) -> Result<()> {
    let census = census(model);
    if let Some(name) = census.endless {
        return Err(Error::invalid(format!("function {name:?} calls itself")));
    }
    if census.depth > MAX_DEPTH {
        return Err(Error::unsupported(format!(
            "has function calls nested more than {MAX_DEPTH} deep"
        )));
    }
    if census.total() > MAX_INLINED {
        return Err(Error::unsupported(format!(
            "expands its function calls to more than {MAX_INLINED} nodes"
        )));
    }
    Ok(())
}

/// Returns the name of the final softmax and the value before it. Operators behind it that only round, clip or take the
/// logarithm keep the order of the classes and are skipped.
fn final_softmax(model: &ModelProto, graph: &GraphProto, output: &str) -> Option<(String, String)> {
    let mut value = output;
    for _ in 0..MAX_TAIL {
        let node = (graph.node.iter())
            .find(|node| node.output.first().is_some_and(|made| made == value))?;
        if !is_onnx_domain(&node.domain) {
            return None;
        }
        let before = node.input.first()?;
        match node.op_type.as_str() {
            "Softmax" => {
                let axis = node.attribute.iter().find(|one| one.name == "axis");
                let opset = portable::opset(&model.opset_import).unwrap_or(1);
                let default = if opset < 13 { 1 } else { -1 };
                let axis = axis.map_or(default, |axis| axis.i.unwrap_or(0));
                return matches!(axis, 1 | -1).then(|| (label(node).to_owned(), before.clone()));
            }
            "Identity" | "Dropout" | "Clip" | "Log" | "QuantizeLinear" | "DequantizeLinear"
            | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => value = before,
            _ => return None,
        }
    }
    None
}

/// Returns the description of a float value.
fn float_value(name: &str) -> Vec<u8> {
    let tensor_type = TensorTypeProto {
        elem_type: DataType::Float as i32,
        ..TensorTypeProto::default()
    };
    let value = ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor_type),
        }),
    };
    value.encode_to_vec()
}

/// Returns the row of scores that a scikit-learn classifier turns into a map of names, if the file has no other scores.
fn mapped_scores(graph: &GraphProto, options: &LoadOptions) -> Option<String> {
    let wanted = |name: &str| (options.output.as_deref()).is_none_or(|wanted| wanted == name);
    let mut maps = graph.node.iter().filter(|node| {
        let output = node.output.first();
        node.domain == CLASSIC
            && node.op_type == "ZipMap"
            && output.is_some_and(|name| {
                wanted(name) && graph.output.iter().any(|output| output.name == *name)
            })
    });
    let map = maps.next()?;
    let other = options.output.is_none()
        && graph
            .output
            .iter()
            .any(|output| not_scores(output).is_none());
    (maps.next().is_none() && !other).then(|| map.input.first().cloned())?
}

/// Returns the name of the output with the scores, or of the inner value that is to become one.
fn scores(graph: &GraphProto, options: &LoadOptions) -> Result<String> {
    let names = || {
        let names = graph.output.iter().take(LISTED);
        let names: Vec<String> = names.map(|output| format!("{:?}", output.name)).collect();
        names.join(", ")
    };
    let mut listed = BTreeSet::new();
    let outputs = graph.output.iter();
    let outputs: Vec<&ValueInfoProto> = outputs
        .filter(|output| listed.insert(&output.name))
        .collect();
    // Classifiers of classical machine learning return the predicted class as well as the scores.
    let rows: Vec<&ValueInfoProto> = (outputs.iter().copied())
        .filter(|output| not_scores(output).is_none())
        .collect();
    let output = match (&options.output, outputs.as_slice(), rows.as_slice()) {
        (Some(wanted), outputs, _) => {
            let Some(output) = outputs.iter().find(|output| output.name == *wanted) else {
                let mut values = graph.node.iter().flat_map(|node| &node.output);
                return match values.any(|value| value == wanted) {
                    true => Ok(wanted.clone()),
                    false => Err(Error::invalid(format!(
                        "has no output {wanted:?}; its outputs are {}, and no inner value has that name either",
                        names()
                    ))),
                };
            };
            *output
        }
        (None, [only], _) | (None, _, [only]) => *only,
        (None, several, _) => {
            return Err(Error::unsupported(format!(
                "has {} outputs; choose the one with the scores: {}",
                several.len(),
                names()
            )));
        }
    };
    match not_scores(output) {
        Some(what) => Err(Error::unsupported(format!(
            "output {:?} {what}; scores must be a float tensor [N, C]",
            output.name
        ))),
        None => Ok(output.name.clone()),
    }
}

/// Returns why an output cannot hold scores, as far as its declaration says. Undeclared problems show when the file
/// runs.
fn not_scores(output: &ValueInfoProto) -> Option<String> {
    let declared = (output.r#type.as_ref()).and_then(|r#type| r#type.tensor_type.as_ref());
    let Some(declared) = declared else {
        return Some("is not a tensor".to_owned());
    };
    if declared.elem_type != DataType::Float as i32 {
        let name = tensors::type_name(declared.elem_type);
        return Some(format!("has elements of type {name}"));
    }
    let is_long = |axis: &&DimensionProto| !matches!(axis.value, Some(DimensionValue::Value(1)));
    let axes = declared.shape.as_ref().map(|shape| &shape.dim);
    let is_row = axes.is_none_or(|axes| axes.iter().filter(is_long).count() <= 2);
    (!is_row).then(|| "has different axes".to_owned())
}

/// Rewrites the messages of a file with the elements of all tensors embedded.
struct Sealer<'a> {
    folder: Option<&'a Path>,
    /// Bytes of the file and of everything embedded so far.
    size: usize,
    /// The description of an inner value that becomes an output.
    further_output: Option<Vec<u8>>,
}

impl Sealer<'_> {
    fn message(&mut self, bytes: &[u8], kind: Kind, depth: usize) -> Result<Vec<u8>> {
        if depth > MAX_NESTING {
            return Err(Error::invalid(format!(
                "has messages nested more than {MAX_NESTING} deep"
            )));
        }
        let mut written = Vec::with_capacity(bytes.len());
        let mut says_where = false;
        let mut at = 0;
        while at < bytes.len() {
            let field = Field::read(bytes, &mut at).ok_or_else(|| {
                Error::invalid("uses Protocol Buffers fields of an obsolete kind")
            })?;
            match (kind, field.tag) {
                (Kind::Tensor, EXTERNAL_DATA | DATA_LOCATION) => says_where = true,
                (Kind::Model, tag) if !MODEL_FIELDS.contains(&tag) => {}
                (_, tag) => match (field.content, inner(kind, tag.into())) {
                    (Content::Bytes(within), Some((kind, _))) => {
                        let message = self.message(within, kind, depth + 1)?;
                        Field::of_bytes(tag, &message).write(&mut written);
                    }
                    _ => field.write(&mut written),
                },
            }
        }
        // The model's own graph; other graphs are nested deeper.
        if matches!((kind, depth), (Kind::Graph, 1))
            && let Some(output) = self.further_output.take()
        {
            Field::of_bytes(GRAPH_OUTPUT, &output).write(&mut written);
        }
        if says_where {
            let tensor = TensorProto::decode(bytes)
                .map_err(|error| Error::invalid(format!("has a broken tensor ({error})")))?;
            if tensor.data_location == DataLocation::External as i32 {
                let elements = self.elements(&tensor)?;
                Field::of_bytes(RAW_DATA, &elements).write(&mut written);
            }
        }
        Ok(written)
    }

    /// Returns the elements of a tensor that are in another file.
    fn elements(&mut self, tensor: &TensorProto) -> Result<Vec<u8>> {
        let bytes = tensors::bytes_in_file(tensor)?;
        self.size = self.size.saturating_add(bytes);
        if self.size as u64 >= MAX_FILE_BYTES {
            return Err(Error::unsupported(format!(
                "is 2 GiB or larger including its external files (initialiser {:?}); engines cannot run such a file as it is",
                tensor.name
            )));
        }
        tensors::external(tensor, self.folder, bytes)
    }
}

/// A field of a message.
struct Field<'a> {
    tag: u32,
    content: Content<'a>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Integer(u64),
    Fixed(WireType, &'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn of_bytes(tag: u32, bytes: &'a [u8]) -> Self {
        Self {
            tag,
            content: Content::Bytes(bytes),
        }
    }

    /// Reads the field at a position and moves the position past it. `None` if the field is truncated, or of a kind
    /// that readers disagree on: a group, or a key of more than 32 bits.
    fn read(bytes: &'a [u8], at: &mut usize) -> Option<Self> {
        let key = u32::try_from(varint(bytes, at)?).ok()?;
        let take = |length: usize, at: &mut usize| {
            let taken = bytes.get(*at..)?.get(..length)?;
            *at += length;
            Some(taken)
        };
        let content = match key & 7 {
            0 => Content::Integer(varint(bytes, at)?),
            1 => Content::Fixed(WireType::SixtyFourBit, take(8, at)?),
            5 => Content::Fixed(WireType::ThirtyTwoBit, take(4, at)?),
            2 => {
                let length = usize::try_from(varint(bytes, at)?).ok()?;
                Content::Bytes(take(length, at)?)
            }
            _ => return None,
        };
        let tag = key >> 3;
        (tag > 0).then_some(Self { tag, content })
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self.content {
            Content::Integer(value) => {
                encode_key(self.tag, WireType::Varint, to);
                encode_varint(value, to);
            }
            Content::Fixed(width, bytes) => {
                encode_key(self.tag, width, to);
                to.extend_from_slice(bytes);
            }
            Content::Bytes(bytes) => {
                encode_key(self.tag, WireType::LengthDelimited, to);
                encode_varint(bytes.len() as u64, to);
                to.extend_from_slice(bytes);
            }
        }
    }
}
