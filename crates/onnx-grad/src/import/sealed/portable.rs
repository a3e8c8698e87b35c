//! Rewrites a sealed file for an engine that has fewer defaults than ONNX Runtime and computes some operators
//! differently.
//!
//! Only the shapes of constants are known, so the rewriting is limited: it states defaults, expresses a few operators
//! by others, and refuses whatever else rten 0.27 is known to compute differently, as found with
//! `goldens/predictions.py`.

use std::{borrow::Cow, collections::BTreeMap};

use prost::Message;

use super::{Content, Field, MAX_NESTING, Sealed};
use crate::{
    Error, Lowering, Result,
    import::{
        is_onnx_domain, label,
        limits::{Kind, inner},
        tensors,
    },
    proto::{
        AttributeProto, AttributeType, DataType, FunctionProto, ModelProto, NodeProto,
        OperatorSetIdProto, TensorProto,
    },
};

impl Sealed {
    /// Returns the file for an engine.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names an operator that the engine would compute differently from ONNX Runtime.
    pub fn lowered(&self, lowering: Lowering) -> Result<Cow<'_, [u8]>> {
        if lowering == Lowering::OnnxRuntime {
            return Ok(Cow::Borrowed(&self.bytes));
        }
        let broken = |error| Error::invalid(format!("has a broken message ({error})"));
        let model = ModelProto::decode(&self.bytes[..]).map_err(broken)?;
        let mut writer = Writer {
            opset: opset(&model.opset_import).unwrap_or(1),
            constants: BTreeMap::new(),
            made: 0,
        };
        drop(model);
        writer.message(&self.bytes, Kind::Model, 0).map(Cow::Owned)
    }
}

pub(super) fn opset(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let own = imports.iter().find(|import| is_onnx_domain(&import.domain));
    own.map(|own| own.version)
}

/// The known properties of a constant.
struct Known {
    rank: usize,
    elements: i64,
    data_type: i32,
    /// Whether all its elements are floats that are powers of two.
    is_power_of_two: bool,
}

impl Known {
    fn new(tensor: &TensorProto) -> Self {
        let elements = tensor
            .dims
            .iter()
            .fold(1_i64, |all, &side| all.saturating_mul(side));
        let values = match elements {
            // The scales of a few axes.
            0..=8 => tensors::embedded(tensor).ok(),
            _ => None,
        };
        let floats = values.as_ref().and_then(|values| values.as_f32());
        Self {
            rank: tensor.dims.len(),
            elements,
            data_type: tensor.data_type,
            is_power_of_two: floats.is_some_and(are_powers_of_two),
        }
    }
}

fn are_powers_of_two(values: &[f32]) -> bool {
    let is_power = |value: &f32| value.is_normal() && value.to_bits() << 9 == 0;
    values.iter().all(is_power)
}

struct Writer {
    /// The version of ONNX's operator set.
    opset: i64,
    /// Initialisers and constants by name, of all graphs so far.
    constants: BTreeMap<String, Known>,
    /// Number of invented names.
    made: usize,
}

impl Writer {
    fn message(&mut self, bytes: &[u8], kind: Kind, depth: usize) -> Result<Vec<u8>> {
        let broken = || Error::invalid("uses Protocol Buffers fields of an obsolete kind");
        if depth > MAX_NESTING {
            return Err(broken());
        }
        if matches!(kind, Kind::Graph | Kind::Function) {
            self.learn(bytes, kind)?;
        }
        let outer = self.opset;
        if kind == Kind::Function
            && let Ok(function) = FunctionProto::decode(bytes)
        {
            self.opset = opset(&function.opset_import).unwrap_or(outer);
        }
        let mut written = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let field = Field::read(bytes, &mut at).ok_or_else(broken)?;
            let inside = match field.content {
                Content::Bytes(within) => {
                    inner(kind, field.tag.into()).map(|(kind, _)| (within, kind))
                }
                _ => None,
            };
            match inside {
                Some((within, Kind::Node)) => {
                    let within = self.message(within, Kind::Node, depth + 1)?;
                    for node in self.node(within)? {
                        Field::of_bytes(field.tag, &node).write(&mut written);
                    }
                }
                Some((within, kind)) if kind != Kind::Tensor => {
                    let within = self.message(within, kind, depth + 1)?;
                    Field::of_bytes(field.tag, &within).write(&mut written);
                }
                _ => field.write(&mut written),
            }
        }
        self.opset = outer;
        Ok(written)
    }

    /// Records the properties of a graph's or a function's constants.
    fn learn(&mut self, bytes: &[u8], kind: Kind) -> Result<()> {
        let broken = |error| Error::invalid(format!("has a broken message ({error})"));
        let mut at = 0;
        while at < bytes.len() {
            let Some(field) = Field::read(bytes, &mut at) else {
                break;
            };
            let Content::Bytes(within) = field.content else {
                continue;
            };
            match inner(kind, field.tag.into()) {
                Some((Kind::Tensor, _)) => {
                    let tensor = TensorProto::decode(within).map_err(broken)?;
                    let known = Known::new(&tensor);
                    self.constants.insert(tensor.name, known);
                }
                Some((Kind::Node, _)) => {
                    let node = NodeProto::decode(within).map_err(broken)?;
                    let value = given(&node, "value").and_then(|value| value.t.as_ref());
                    if let ("Constant", Some(tensor), [output]) =
                        (node.op_type.as_str(), value, &node.output[..])
                    {
                        let known = Known::new(tensor);
                        self.constants.insert(output.clone(), known);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the nodes that replace a node.
    fn node(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let node = NodeProto::decode(&bytes[..])
            .map_err(|error| Error::invalid(format!("has a broken node ({error})")))?;
        if !is_onnx_domain(&node.domain) {
            return Ok(vec![bytes]);
        }
        if let Some(reason) = self.otherwise(&node) {
            return Err(Error::unsupported(format!(
                "node {:?} ({}): {reason}; use ONNX Runtime instead",
                label(&node),
                node.op_type
            )));
        }
        let nodes = match node.op_type.as_str() {
            "Cast" => self.cast(&node),
            "QuantizeLinear" => self.quantised(&node),
            "Softmax" | "LogSoftmax" if self.opset < 13 => self.flattened(&node),
            _ => None,
        };
        if let Some(nodes) = nodes {
            return Ok(nodes.iter().map(Message::encode_to_vec).collect());
        }
        let mut written = bytes;
        for attribute in self.defaults(&node) {
            Field::of_bytes(5, &attribute.encode_to_vec()).write(&mut written);
        }
        Ok(vec![written])
    }

    /// Returns what the engine computes differently; `None` if nothing is known.
    fn otherwise(&self, node: &NodeProto) -> Option<&'static str> {
        let pads = integers(node, "pads").is_some_and(|pads| pads.iter().any(|&pad| pad != 0));
        let auto_pad = text(node, "auto_pad").unwrap_or(b"NOTSET");
        Some(match node.op_type.as_str() {
            "ArgMax" => "the engine rten takes the last of equal maxima, not the first",
            "CastLike" => "the engine rten converts numbers beyond a type's range differently",
            "ConvInteger" if pads || auto_pad.starts_with(b"SAME") => {
                "the engine rten pads with 0, not with the zero point"
            }
            "AveragePool" | "Conv" | "ConvInteger" | "ConvTranspose" | "MaxPool"
                if auto_pad == b"SAME_LOWER" =>
            {
                "the engine rten pads for SAME_LOWER as it does for SAME_UPPER"
            }
            "QuantizeLinear" if self.quantised_type(node).is_none() => {
                "the engine rten multiplies by the reciprocal of a scale that is per channel or computed"
            }
            "Resize" if text(node, "mode") == Some(b"cubic") => {
                "the engine rten resizes linearly instead"
            }
            "Resize" if !self.has_exact_scales(node, 2) => {
                "the engine rten selects different elements unless scales are powers of two"
            }
            "Upsample" if !self.has_exact_scales(node, 1) => {
                "the engine rten selects different elements unless scales are powers of two"
            }
            "Sign" => "the engine rten returns 1 as the sign of 0",
            "Softplus" => "the engine rten returns infinity for large numbers",
            _ => return None,
        })
    }

    /// Returns whether a node states scales that are powers of two, whose reciprocals are exact.
    fn has_exact_scales(&self, node: &NodeProto, at: usize) -> bool {
        match (given(node, "scales"), node.input.get(at)) {
            (Some(scales), _) => are_powers_of_two(&scales.floats),
            (None, Some(name)) => (self.constants.get(name))
                .is_some_and(|known| known.is_power_of_two && known.rank == 1),
            (None, None) => false,
        }
    }

    /// Returns the type that a node quantises to, if it has a single constant scale and a constant zero point.
    fn quantised_type(&self, node: &NodeProto) -> Option<DataType> {
        let name = |at: usize| node.input.get(at).filter(|name| !name.is_empty());
        let scale = self.constants.get(name(1)?)?;
        let data_type = match name(2) {
            Some(zero) => self.constants.get(zero)?.data_type,
            None => DataType::Uint8 as i32,
        };
        let own = given(node, "output_dtype").and_then(|stated| stated.i);
        let own = own.unwrap_or(0);
        let fits = scale.elements == 1 && (own == 0 || own == i64::from(data_type));
        let known = DataType::try_from(data_type).ok()?;
        (fits && matches!(known, DataType::Uint8 | DataType::Int8)).then_some(known)
    }

    /// Returns attributes that the engine needs and the node omits.
    fn defaults(&self, node: &NodeProto) -> Vec<AttributeProto> {
        let mut stated = Vec::new();
        let mut state = |name: &str, values: &[i64]| {
            if !node
                .attribute
                .iter()
                .any(|attribute| attribute.name == name)
            {
                stated.push(AttributeProto {
                    name: name.into(),
                    kind: AttributeType::Ints.into(),
                    ints: values.to_vec(),
                    ..AttributeProto::default()
                });
            }
        };
        let listed = |name: &str| integers(node, name).map(<[i64]>::len);
        match node.op_type.as_str() {
            "Conv" | "ConvInteger" | "ConvTranspose" => {
                let weight = node.input.get(1).and_then(|name| self.constants.get(name));
                let spatial = listed("kernel_shape")
                    .or(listed("strides"))
                    .or(listed("dilations"))
                    .or(listed("pads").map(|pads| pads / 2))
                    .or(weight.and_then(|weight| weight.rank.checked_sub(2)));
                if let Some(spatial) = spatial {
                    state("strides", &vec![1; spatial]);
                    state("dilations", &vec![1; spatial]);
                    state("pads", &vec![0; 2 * spatial]);
                }
            }
            "AveragePool" | "MaxPool" => {
                if let Some(spatial) = listed("kernel_shape") {
                    state("strides", &vec![1; spatial]);
                }
            }
            _ => {}
        }
        stated
    }

    /// Converts to Boolean or to bytes. The engine does not change integers that it treats as Boolean, and it clips
    /// floats beyond a byte's range.
    fn cast(&mut self, node: &NodeProto) -> Option<Vec<NodeProto>> {
        let to = given(node, "to")?;
        let (x, y) = (node.input.first()?, node.output.first()?);
        match DataType::try_from(i32::try_from(to.i?).ok()?).ok()? {
            DataType::Bool => {
                let [zero, is_zero] = [self.name(), self.name()];
                Some(vec![
                    written("Sub", &[x, x], &zero),
                    written("Equal", &[x, &zero], &is_zero),
                    written("Not", &[&is_zero], y),
                ])
            }
            DataType::Uint8 | DataType::Int8 => {
                let whole = self.name();
                let mut then = node.clone();
                then.input = vec![whole.clone()];
                Some(vec![cast(x, &whole, DataType::Int32), then])
            }
            _ => None,
        }
    }

    /// Divides by a row of equal scales, because the engine multiplies by the reciprocal of a single scale.
    fn quantised(&mut self, node: &NodeProto) -> Option<Vec<NodeProto>> {
        let data_type = self.quantised_type(node)?;
        let (least, most) = match data_type {
            DataType::Int8 => (-128.0, 127.0),
            _ => (0.0, 255.0),
        };
        let (x, scale, y) = (
            node.input.first()?,
            node.input.get(1)?,
            node.output.first()?,
        );
        let mut nodes = Vec::new();
        let mut add = |op_type: &str, inputs: &[&str]| {
            let name = self.name();
            nodes.push(written(op_type, inputs, &name));
            name
        };
        let nothing = add("Sub", &[x, x]);
        let scales = add("Add", &[&nothing, scale]);
        let quotient = add("Div", &[x, &scales]);
        let mut value = add("Round", &[&quotient]);
        let zero = node.input.get(2).filter(|zero| !zero.is_empty());
        if let Some(zero) = zero {
            let float = self.name();
            nodes.push(cast(zero, &float, DataType::Float));
            let sum = self.name();
            nodes.push(written("Add", &[&value, &float], &sum));
            value = sum;
        }
        for (op_type, limit) in [("Max", least), ("Min", most)] {
            let [end, inside] = [self.name(), self.name()];
            nodes.push(number(&end, limit));
            nodes.push(written(op_type, &[&value, &end], &inside));
            value = inside;
        }
        let whole = self.name();
        nodes.push(cast(&value, &whole, DataType::Int32));
        nodes.push(cast(&whole, y, data_type));
        Some(nodes)
    }

    /// A softmax up to operator set 12: over all axes from one on, 1 where none is stated.
    fn flattened(&mut self, node: &NodeProto) -> Option<Vec<NodeProto>> {
        let (x, y) = (node.input.first()?, node.output.first()?);
        let axis = given(node, "axis");
        let [shape, flat, soft] = [self.name(), self.name(), self.name()];
        let integer = |value: i64| AttributeProto {
            name: "axis".into(),
            kind: AttributeType::Int.into(),
            i: Some(value),
            ..AttributeProto::default()
        };
        let mut flatten = written("Flatten", &[x], &flat);
        flatten.attribute = vec![integer(axis.map_or(1, |axis| axis.i.unwrap_or(0)))];
        let mut softmax = written(&node.op_type, &[&flat], &soft);
        softmax.attribute = vec![integer(-1)];
        Some(vec![
            written("Shape", &[x], &shape),
            flatten,
            softmax,
            written("Reshape", &[&soft, &shape], y),
        ])
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("hoodwink/portable/{}", self.made)
    }
}

fn given<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    let mut attributes = node.attribute.iter();
    attributes.find(|attribute| attribute.name == name)
}

/// A float as a node.
fn number(name: &str, value: f32) -> NodeProto {
    let mut node = written("Constant", &[], name);
    node.attribute = vec![AttributeProto {
        name: "value".into(),
        kind: AttributeType::Tensor.into(),
        t: Some(TensorProto {
            data_type: DataType::Float.into(),
            float_data: vec![value],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    }];
    node
}

fn cast(x: &str, y: &str, to: DataType) -> NodeProto {
    let mut node = written("Cast", &[x], y);
    node.attribute = vec![AttributeProto {
        name: "to".into(),
        kind: AttributeType::Int.into(),
        i: Some(to as i64),
        ..AttributeProto::default()
    }];
    node
}

fn written(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn integers<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    let integers = &given(node, name)?.ints;
    (!integers.is_empty()).then_some(integers)
}

fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    given(node, name)?.s.as_deref()
}
