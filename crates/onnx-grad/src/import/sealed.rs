//! Model files that need no other file, for an engine to run as they are.

use std::path::Path;

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use super::{
    Batch, LISTED, LoadOptions, MAX_FILE_BYTES,
    census::census,
    decode, folder_of, image_inputs,
    inline::{MAX_DEPTH, MAX_INLINED},
    input_shape,
    limits::{Kind, inner, varint},
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

/// How deep messages may lie within messages, as prost has it.
const MAX_NESTING: usize = 100;

/// The fields of a model that its answers depend on, and those that say who wrote it. Without the others no engine can take
/// the file for one of another format.
const MODEL_FIELDS: [u32; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 14, 25];

const GRAPH_OUTPUT: u32 = 12;
const RAW_DATA: u32 = 9;
const EXTERNAL_DATA: u32 = 13;
const DATA_LOCATION: u32 = 14;

/// A classifier's file for an engine to run as it is: it holds its weights itself, has one input and is within the limits of
/// what can be read, but its operators are not looked at.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The file.
    pub bytes: Vec<u8>,
    /// Name of the input.
    pub input: String,
    /// Shape of the input; its leading axis is `Dim::Batch(1)` or `Dim::Fixed(1)`.
    pub shape: Vec<Dim>,
    /// Whether the input is of bytes (`uint8`) instead of `float`.
    pub eats_bytes: bool,
    /// Name of the output with the scores, which is of `float`.
    pub output: String,
}

/// Seals a model file: what lies in files beside it is put inside, by the rules of [`load`](crate::load).
///
/// # Errors
/// [`Error::Io`] names a file that cannot be read, [`Error::Invalid`] a broken one. [`Error::Unsupported`] says what keeps the
/// model from being asked one picture for one row of scores, or which limit it goes beyond; together with the files beside
/// it, it must be smaller than 2 GiB.
pub fn seal(path: &Path, options: &LoadOptions) -> Result<Sealed> {
    seal_bytes(&read(path)?, folder_of(path), options)
}

/// [`seal`], from the bytes of a file. Weights in other files are looked for in `folder`.
pub fn seal_bytes(bytes: &[u8], folder: Option<&Path>, options: &LoadOptions) -> Result<Sealed> {
    let model = decode(bytes)?;
    check_calls(&model)?;
    let graph = (model.graph.as_ref())
        .ok_or_else(|| Error::invalid("has no graph; is this an ONNX file?"))?;
    let inputs: Vec<_> = image_inputs(graph).collect();
    let &[input] = inputs.as_slice() else {
        return Err(Error::unsupported(format!(
            "has {} inputs; one picture in and one row of scores out are needed",
            inputs.len()
        )));
    };
    let name = &input.name;
    let declared = tensor_type(input)?;
    let eats_bytes = match DataType::try_from(declared.elem_type) {
        Ok(DataType::Float) => false,
        Ok(DataType::Uint8) => true,
        _ => {
            return Err(Error::unsupported(format!(
                "input {name:?} has elements of type {}; a file that is run as it is eats float or uint8",
                tensors::type_name(declared.elem_type)
            )));
        }
    };
    let shape = input_shape(name, declared, Batch::AsDeclared, true, options.input_side)?;
    if !matches!(shape.first(), Some(Dim::Batch(_) | Dim::Fixed(1))) {
        return Err(Error::unsupported(format!(
            "input {name:?} does not begin with an axis for the pictures, of length 1 or open"
        )));
    }
    let output = scores(graph, options)?;
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
        output,
        bytes: sealer.message(bytes, Kind::Model, 0)?,
    })
}

/// Fails if an engine that writes out the calls of functions would not come to an end, or late.
fn check_calls(model: &ModelProto) -> Result<()> {
    let census = census(model);
    if let Some(name) = census.endless {
        return Err(Error::invalid(format!("function {name:?} calls itself")));
    }
    if census.depth > MAX_DEPTH {
        return Err(Error::unsupported(format!(
            "has calls in more than {MAX_DEPTH} calls"
        )));
    }
    if census.total() > MAX_INLINED {
        return Err(Error::unsupported(format!(
            "has functions that stand for more than {MAX_INLINED} nodes"
        )));
    }
    Ok(())
}

/// The description of a value of floats.
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

/// The name of the output with the scores, or of the value inside that is to be one.
fn scores(graph: &GraphProto, options: &LoadOptions) -> Result<String> {
    let names = || {
        let names = graph.output.iter().take(LISTED);
        let names: Vec<String> = names.map(|output| format!("{:?}", output.name)).collect();
        names.join(", ")
    };
    let output = match (&options.output, graph.output.as_slice()) {
        (Some(wanted), outputs) => {
            let Some(output) = outputs.iter().find(|output| output.name == *wanted) else {
                let mut values = graph.node.iter().flat_map(|node| &node.output);
                return match values.any(|value| value == wanted) {
                    true => Ok(wanted.clone()),
                    false => Err(Error::invalid(format!(
                        "has no output {wanted:?}; its outputs are {}, and no value inside it has that name either",
                        names()
                    ))),
                };
            };
            output
        }
        (None, [only]) => only,
        (None, several) => {
            return Err(Error::unsupported(format!(
                "has {} outputs; choose the one with the scores: {}",
                several.len(),
                names()
            )));
        }
    };
    let declared = (output.r#type.as_ref()).and_then(|r#type| r#type.tensor_type.as_ref());
    let no_scores = |what: String| {
        Error::unsupported(format!(
            "output {:?} {what}; scores are a tensor [N, C] of float",
            output.name
        ))
    };
    let declared = declared.ok_or_else(|| no_scores("is no tensor".into()))?;
    if declared.elem_type != DataType::Float as i32 {
        let name = tensors::type_name(declared.elem_type);
        return Err(no_scores(format!("has elements of type {name}")));
    }
    // What is not declared is found when it runs.
    let axes = declared.shape.as_ref().map(|shape| &shape.dim);
    let is_one = |axis: &DimensionProto| match axis.value {
        Some(DimensionValue::Value(side)) => side == 1,
        _ => true,
    };
    if axes.is_some_and(|axes| axes.len() < 2 || !axes[2..].iter().all(is_one)) {
        return Err(no_scores("has other axes".into()));
    }
    Ok(output.name.clone())
}

/// Writes the messages of a file again, with the elements of all tensors inside.
struct Sealer<'a> {
    folder: Option<&'a Path>,
    /// Bytes of the file and of what was put inside so far.
    size: usize,
    /// The description of a value that becomes an output.
    further_output: Option<Vec<u8>>,
}

impl Sealer<'_> {
    fn message(&mut self, bytes: &[u8], kind: Kind, depth: usize) -> Result<Vec<u8>> {
        if depth > MAX_NESTING {
            return Err(Error::invalid(format!(
                "has messages in more than {MAX_NESTING} messages"
            )));
        }
        let mut written = Vec::with_capacity(bytes.len());
        let mut says_where = false;
        let mut at = 0;
        while at < bytes.len() {
            let field = Field::read(bytes, &mut at).ok_or_else(|| {
                Error::invalid("has fields that are no Protocol Buffers of today")
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
        // The model's own graph; others lie deeper.
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

    /// The elements of a tensor that are in another file.
    fn elements(&mut self, tensor: &TensorProto) -> Result<Vec<u8>> {
        let bytes = tensors::bytes_in_file(tensor)?;
        self.size = self.size.saturating_add(bytes);
        if self.size as u64 >= MAX_FILE_BYTES {
            return Err(Error::unsupported(format!(
                "is 2 GiB or more with the files beside it (initialiser {:?}), and engines run no larger file as it is",
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

    /// The field at a position, which moves behind it. `None` if it breaks off or is of a kind that readers disagree on: a
    /// group, or a key of more than 32 bits.
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
