//! Positions that count the pictures of a batch: `Range(0, N)` and what exporters compute from it.
//!
//! PyTorch's `as_strided` becomes a gather from a flat tensor, at `picture * stride + offset`. Each picture gathers
//! from its own part only, so pictures stay independent.

use super::{
    Importer, Value,
    call::Call,
    ops::{Outputs, picked},
    shapes::Size,
};
use crate::{Result, dim::Dim, op::Op, tensor::Tensor};

/// `picture * stride + offset`, with pictures along the leading axis and `offsets` broadcast along it.
#[derive(Clone, Debug)]
pub(super) struct Positions {
    stride: i64,
    /// Has side 1 in the leading axis.
    offsets: Tensor,
}

/// Returns the outputs of a node that computes such positions or reads at them; `None` for other nodes.
pub(super) fn apply(importer: &mut Importer, call: &Call) -> Result<Option<Outputs>> {
    if call.node.op_type == "Range" {
        return Ok(count(importer, call));
    }
    let of = |at: usize| match call.value(at) {
        Some(Value::Positions(positions)) => Some(positions.clone()),
        _ => None,
    };
    let positions = match (call.node.op_type.as_str(), of(0), of(1)) {
        ("Mul" | "Add", Some(positions), None) => combined(importer, call, positions, 1)?,
        ("Mul" | "Add", None, Some(positions)) => combined(importer, call, positions, 0)?,
        ("Unsqueeze", Some(positions), None) => unsqueezed(importer, call, positions)?,
        ("Cast" | "Identity", Some(positions), None) => Some(positions),
        ("Gather", None, Some(positions)) => return read(importer, call, &positions),
        _ => None,
    };
    Ok(positions.map(|positions| vec![Value::Positions(positions)]))
}

/// `Range(0, N)`.
fn count(importer: &Importer, call: &Call) -> Option<Outputs> {
    let limit = |at: usize| {
        let sizes = importer.sizes_of(call.value(at)?)?;
        (sizes.entries.len() == 1).then(|| sizes.entries[0])
    };
    let limits = [limit(0)?, limit(1)?, limit(2)?];
    let offsets = Tensor::i64([1], [0]).ok()?;
    let is_count = limits == [Size::Known(0), Size::Batch(1), Size::Known(1)];
    is_count.then(|| vec![Value::Positions(Positions { stride: 1, offsets })])
}

/// Positions multiplied by a number, or plus a tensor that is the same for every picture.
fn combined(
    importer: &mut Importer,
    call: &Call,
    positions: Positions,
    other: usize,
) -> Result<Option<Positions>> {
    let Some(constant) = call
        .optional(other)?
        .and_then(|id| importer.builder.graph().as_constant(id))
    else {
        return Ok(None);
    };
    let constant = constant.clone();
    let (op, stride) = match (call.node.op_type.as_str(), constant.as_i64()) {
        ("Mul", Some(&[factor])) => (Op::Mul, positions.stride.checked_mul(factor)),
        ("Add", Some(_)) => (Op::Add, Some(positions.stride)),
        _ => return Ok(None),
    };
    let Some(stride) = stride else {
        return Ok(None);
    };
    let rank = positions.offsets.shape().len();
    let same_for_all = constant.shape().len() < rank
        || constant.shape().len() == rank && constant.shape().first().is_none_or(|&side| side == 1);
    if !same_for_all {
        return Ok(None);
    }
    let inputs = [positions.offsets, constant].map(|tensor| importer.builder.constant("", tensor));
    let offsets = importer.add(call, op, &inputs)?;
    let offsets = importer.builder.graph().as_constant(offsets).cloned();
    Ok(offsets.map(|offsets| Positions { stride, offsets }))
}

/// Inserts axes of side 1 behind the leading axis.
fn unsqueezed(importer: &Importer, call: &Call, positions: Positions) -> Result<Option<Positions>> {
    let axes = match call.ints("axes")? {
        Some(axes) => axes.to_vec(),
        None => importer.integers(call, 1)?.unwrap_or_default(),
    };
    let mut shape = positions.offsets.shape().to_vec();
    for axis in call.axes(&axes, shape.len() + axes.len())? {
        if axis == 0 {
            return Ok(None);
        }
        shape.insert(axis, 1);
    }
    Ok(Some(Positions {
        stride: positions.stride,
        offsets: positions.offsets.reshaped(shape)?,
    }))
}

/// A gather along the leading axis, `[stride * N, ...]`, in which each picture reads its own part.
fn read(importer: &mut Importer, call: &Call, positions: &Positions) -> Result<Option<Outputs>> {
    let x = call.input(0)?;
    let dims = importer.dims(x);
    let stride = usize::try_from(positions.stride).unwrap_or(0);
    let inside = |&offset: &i64| (0..positions.stride).contains(&offset);
    let own_part = positions
        .offsets
        .as_i64()
        .is_some_and(|offsets| offsets.iter().all(inside));
    if call.int("axis", 0)? != 0 || dims.first() != Some(&Dim::Batch(stride)) || !own_part {
        return Ok(None);
    }
    let mut apart = dims;
    apart[0] = Dim::Batch(1);
    apart.insert(1, Dim::Fixed(stride));
    let apart = importer.reshaped(call, x, apart)?;
    let own = positions.offsets.shape()[1..].to_vec();
    let offsets = positions.offsets.reshaped(own)?;
    let values = picked(importer, call, apart, 1, offsets)?;
    Ok(Some(vec![values.into()]))
}
