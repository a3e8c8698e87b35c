//! Models as one line of text, and shared code for the tests of the import.

mod assets;
mod bounds;
mod byte_inputs;
mod external;
mod gradients;
mod hostile;
mod inputs;
mod names;
mod operators;
mod rules;
mod sealed;

use prost::Message;

use crate::{
    Elements, Tensor,
    proto::{
        AttributeProto, DataType, DimensionProto, DimensionValue, GraphProto, ModelProto,
        NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
        ValueInfoProto,
    },
};

/// A model with the float input `x` and the output `y`.
///
/// The shape is written `"N 3 8 8"`. Nodes are written `y = Op(x, [1 2], {2 1: 0.5 1}) axis=1; …`: integers
/// in brackets and floats in braces (with a shape) are initialisers, `u8[…]`, `i8[…]` and `i32[…]` those of other
/// types; attributes are integers, floats (with a point), lists (with a comma) or words. An operator may be of a
/// domain: `y = com.microsoft.QGemm(…)`.
fn model(opset: i64, input: &str, nodes: &str) -> ModelProto {
    let mut graph = GraphProto {
        input: vec![value("x", input)],
        output: vec![value("y", "")],
        ..GraphProto::default()
    };
    for text in nodes.split(';') {
        let (outputs, call) = text.split_once('=').expect("an output");
        let (op_type, rest) = call.trim().split_once('(').expect("an operator");
        let (arguments, attributes) = rest.split_once(')').expect("arguments");
        let mut inputs = Vec::new();
        for argument in arguments.split(',').map(str::trim) {
            let is_word = argument.is_empty() || argument.starts_with(char::is_alphabetic);
            let is_name = is_word && !argument.contains('[');
            inputs.push(match is_name {
                true => argument.to_owned(),
                false => {
                    let mut tensor = literal(argument);
                    tensor.name = format!("constant_{}", graph.initializer.len());
                    graph.initializer.push(tensor);
                    format!("constant_{}", graph.initializer.len() - 1)
                }
            });
        }
        graph.node.push(NodeProto {
            input: inputs,
            output: outputs.split(',').map(|name| name.trim().into()).collect(),
            op_type: op_type.rsplit('.').next().unwrap_or_default().into(),
            domain: op_type
                .rsplit_once('.')
                .map_or("", |(domain, _)| domain)
                .into(),
            attribute: attributes.split_whitespace().map(attribute).collect(),
            ..NodeProto::default()
        });
    }
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn bytes(opset: i64, input: &str, nodes: &str) -> Vec<u8> {
    model(opset, input, nodes).encode_to_vec()
}

fn value(name: &str, shape: &str) -> ValueInfoProto {
    let dim = |side: &str| DimensionProto {
        value: Some(match side.parse() {
            Ok(side) => DimensionValue::Value(side),
            Err(_) => DimensionValue::Param(side.to_owned()),
        }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: DataType::Float.into(),
                shape: Some(TensorShapeProto {
                    dim: shape.split_whitespace().map(dim).collect(),
                }),
            }),
        }),
    }
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Vec<T> {
    text.split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect()
}

fn literal(text: &str) -> TensorProto {
    let (data_type, text) = match text.find('[') {
        Some(at @ 1..) => (&text[..at], &text[at..]),
        _ => ("", text),
    };
    let data_type = match data_type {
        "u8" => DataType::Uint8,
        "i8" => DataType::Int8,
        "i32" => DataType::Int32,
        _ => DataType::Int64,
    };
    let inner = text.trim_matches(['[', ']', '{', '}']);
    let (dims, inner) = match inner.split_once(':') {
        Some((dims, inner)) => (numbers(dims), inner),
        None if inner == text => (Vec::new(), inner),
        None => (vec![inner.split_whitespace().count() as i64], inner),
    };
    if text.starts_with('{') || text.contains('.') {
        return TensorProto {
            dims,
            data_type: DataType::Float.into(),
            float_data: numbers(inner),
            ..TensorProto::default()
        };
    }
    let mut tensor = TensorProto {
        dims,
        data_type: data_type.into(),
        ..TensorProto::default()
    };
    match data_type {
        DataType::Int64 => tensor.int64_data = numbers(inner),
        _ => tensor.int32_data = numbers(inner),
    }
    tensor
}

fn attribute(text: &str) -> AttributeProto {
    let (name, value) = text.split_once('=').expect("a value");
    let mut attribute = AttributeProto {
        name: name.into(),
        ..AttributeProto::default()
    };
    if value.starts_with(char::is_alphabetic) {
        attribute.s = Some(value.into());
    } else if value.contains(',') {
        attribute.ints = numbers(&value.replace(',', " "));
    } else if value.contains('.') {
        attribute.f = Some(value.parse().expect("a float"));
    } else {
        attribute.i = Some(value.parse().expect("an integer"));
    }
    attribute
}

/// `count` different small numbers of both signs.
fn ramp(count: usize) -> Vec<f32> {
    (0..count)
        .map(|at| ((at * 7 % 11) as f32 - 5.0) / 4.0)
        .collect()
}

fn as_floats(tensor: &Tensor) -> Vec<f32> {
    match tensor.elements() {
        Elements::F32(values) => values.to_vec(),
        Elements::I64(values) => values.iter().map(|&value| value as f32).collect(),
        Elements::Bool(values) => values.iter().map(|&value| value.into()).collect(),
    }
}
