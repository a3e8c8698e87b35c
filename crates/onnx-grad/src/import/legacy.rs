//! Operator sets 1 to 6: their differences from later ones.

use super::{Importer, Value, call::Call, tensors};
use crate::{
    Result,
    dim::Dim,
    op::Op,
    proto::{AttributeProto, AttributeType, DataType, NodeProto},
    tensor::Tensor,
};

/// The first operator set whose operators are imported without conversion.
pub(super) const MODERN: i64 = 7;

/// The last element type in those operator sets.
const LAST_TYPE: i32 = DataType::Complex128 as i32;

/// Converts a node and its inputs to operator set 7.
pub(super) fn modern(
    importer: &mut Importer,
    mut call: Call<'_>,
) -> Result<(NodeProto, Vec<Option<Value>>)> {
    let mut to = call.node.clone();
    match call.node.op_type.as_str() {
        "Add" | "And" | "Div" | "Equal" | "Greater" | "Less" | "Mul" | "Or" | "Pow" | "Sub"
        | "Xor" => {
            broadcast(importer, &mut call)?;
        }
        // One slope for each channel.
        "PRelu" => align(importer, &mut call, 1)?,
        "Cast" => {
            let named = call.string("to", "").ok().map(str::to_owned);
            if let Some(named) = named.filter(|named| !named.is_empty()) {
                let to_type = (1..=LAST_TYPE)
                    .find(|&to| tensors::type_name(to).eq_ignore_ascii_case(&named))
                    .ok_or_else(|| {
                        call.unsupported(format!("cannot convert to the type {named:?}"))
                    })?;
                to.attribute.retain(|attribute| attribute.name != "to");
                to.attribute.push(int("to", to_type.into()));
            }
        }
        "Concat" if !call.has("axis") => to.attribute.push(int("axis", 1)),
        "Pad" => {
            let attributes = to.attribute.iter_mut();
            for pads in attributes.filter(|attribute| attribute.name == "paddings") {
                "pads".clone_into(&mut pads.name);
            }
        }
        "Reshape" => {
            if let Some(shape) = call.ints("shape")? {
                let shape = importer.builder.constant("", Tensor::vector(shape));
                call.inputs.truncate(1);
                call.inputs.push(Some(shape.into()));
            }
        }
        "Selu" if call.opset < 6 => {
            for (name, value) in [("alpha", 1.6732), ("gamma", 1.0507)] {
                if !call.has(name) {
                    to.attribute.push(float(name, value));
                }
            }
        }
        "Tile" if call.inputs.len() == 3 => tile(importer, &mut call)?,
        "Upsample" => {
            let scales = [
                call.float("height_scale", 1.0)?,
                call.float("width_scale", 1.0)?,
            ];
            if !call.has("scales") {
                to.attribute.push(AttributeProto {
                    name: "scales".to_owned(),
                    kind: AttributeType::Floats.into(),
                    floats: [&[1.0, 1.0], &scales[..]].concat(),
                    ..AttributeProto::default()
                });
            }
        }
        _ => {}
    }
    Ok((to, call.inputs))
}

/// Returns a second operand whose axes align with those of the first from `axis` on.
fn broadcast(importer: &mut Importer, call: &mut Call) -> Result<()> {
    match (call.flag("broadcast", false)?, call.has("axis")) {
        (true, true) => {
            let axis = call.int("axis", 0)?;
            let rank = importer.dims(call.input(0)?).len();
            let axis = call.axis(axis, rank)?;
            align(importer, call, axis)
        }
        _ => Ok(()),
    }
}

/// Appends axes of side 1 to the second input, so that its first axis aligns with axis `axis` of the first input.
fn align(importer: &mut Importer, call: &mut Call, axis: usize) -> Result<()> {
    let (x, second) = (call.input(0)?, call.input(1)?);
    let mut shape = importer.dims(second);
    let rank = importer.dims(x).len();
    if shape.iter().all(|&side| side == Dim::Fixed(1)) || axis + shape.len() >= rank {
        return Ok(());
    }
    shape.resize(rank - axis, Dim::Fixed(1));
    let aligned = importer.add(call, Op::Reshape { shape }, &[second])?;
    call.inputs[1] = Some(aligned.into());
    Ok(())
}

/// Repetition along one axis; the count and the axis are inputs.
fn tile(importer: &mut Importer, call: &mut Call) -> Result<()> {
    let single = |importer: &Importer, at: usize| -> Result<i64> {
        match importer.integers(call, at)?.as_deref() {
            Some(&[value]) => Ok(value),
            _ => Err(call.unsupported(format!("input {at} is not a single integer"))),
        }
    };
    let (times, axis) = (single(importer, 1)?, single(importer, 2)?);
    let mut repeats = vec![1; importer.dims(call.input(0)?).len()];
    let axis = call.axis(axis, repeats.len())?;
    repeats[axis] = times;
    let repeats = importer.builder.constant("", Tensor::vector(&repeats));
    call.inputs.truncate(1);
    call.inputs.push(Some(repeats.into()));
    Ok(())
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        kind: AttributeType::Int.into(),
        i: Some(value),
        ..AttributeProto::default()
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        kind: AttributeType::Float.into(),
        f: Some(value),
        ..AttributeProto::default()
    }
}
