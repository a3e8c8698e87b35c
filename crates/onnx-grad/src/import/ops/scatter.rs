//! Operators that read and write elements at positions given by index tensors.
//!
//! All of them are reduced to one form: elements of a flat axis, read by `GatherElements` or added by `ScatterAdd`.

use std::collections::BTreeSet;

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, ops::selection::wrapped},
    node::ValueId,
    op::Op,
    shape::fixed_from,
    tape::Expr,
    tensor::{DType, Tensor},
};

/// How a scatter combines updates with existing elements.
#[derive(Clone, Copy, PartialEq)]
enum Combination {
    Replace,
    Add,
    Multiply,
    Largest,
    Smallest,
}

fn combination(call: &Call) -> Result<Combination> {
    Ok(match call.string("reduction", "none")? {
        "none" => Combination::Replace,
        "add" => Combination::Add,
        "mul" => Combination::Multiply,
        "max" => Combination::Largest,
        "min" => Combination::Smallest,
        other => return Err(call.invalid(format!("has the unknown reduction {other:?}"))),
    })
}

/// Writes `updates` to positions along an axis. Only sums may use a position twice: ONNX does not define which of
/// several updates a replaced element gets, and engines compute the other reductions differently.
fn combined<'t>(
    combination: Combination,
    axis: usize,
    data: Expr<'t>,
    indices: Expr<'t>,
    updates: Expr<'t>,
) -> Expr<'t> {
    let add = |data: Expr<'t>, updates: Expr<'t>| {
        let op = Op::ScatterAdd { axis };
        data.tape().apply(op, &[data, indices, updates])
    };
    if combination == Combination::Add {
        return add(data, updates);
    }
    let of = |value: f32, like: Expr<'t>| {
        let scalar = like.tape().constant(Tensor::scalar(value));
        scalar.expand(like.shape())
    };
    let zeros = of(0.0, data);
    let written = add(zeros, of(1.0, updates)).greater(0.5);
    let updates = add(zeros, updates);
    let result = match combination {
        Combination::Replace | Combination::Add => updates,
        Combination::Multiply => data * updates,
        Combination::Largest => data.with(Op::Max, updates),
        Combination::Smallest => data.with(Op::Min, updates),
    };
    written.select(result, data)
}

/// Fails if a position may be used twice and the result would then be wrong. `positions`, flat, are known if the
/// indices are constant. Computed indices of a replacement are assumed to be distinct.
fn expect_distinct(
    call: &Call,
    combination: Combination,
    positions: Option<Vec<i64>>,
) -> Result<()> {
    let distinct = match (combination, positions) {
        (Combination::Add, _) | (Combination::Replace, None) => true,
        (_, None) => false,
        (_, Some(positions)) => {
            let count = positions.len();
            positions.into_iter().collect::<BTreeSet<_>>().len() == count
        }
    };
    match distinct {
        true => Ok(()),
        false => Err(call.unsupported(
            "may write twice to one position, which is supported only for the reduction \"add\"",
        )),
    }
}

/// Converts integers to floats, which `ScatterAdd` takes, and back.
fn through_floats<'t>(data: Expr<'t>, dtype: DType) -> Expr<'t> {
    data.apply(Op::Cast { to: dtype })
}

pub(super) fn scatter_elements(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let axis = call.axis(call.int("axis", 0)?, importer.rank(inputs[0]))?;
    let combination = combination(call)?;
    let dims = importer.dims(inputs[1]);
    let side = importer.side(call, inputs[0], axis)? as i64;
    let constant = importer.builder.graph().as_constant(inputs[1]);
    let constant = constant
        .map(|indices| wrapped(call, indices, side as usize))
        .transpose()?;
    let positions = constant.and_then(|indices| {
        let sides = fixed_from(&dims, 0).ok()?;
        let inner: usize = sides[axis + 1..].iter().product();
        let run = sides[axis] * inner;
        let flat = indices.as_i64()?.iter().enumerate().map(|(at, &index)| {
            ((at / run) as i64 * side + index) * inner as i64 + (at % inner) as i64
        });
        Some(flat.collect())
    });
    expect_distinct(call, combination, positions)?;
    let dtype = importer.dtype(inputs[0]);
    importer.formula(call, &inputs, |v| {
        let [data, updates] = [v[0], v[2]].map(|value| through_floats(value, DType::F32));
        let result = combined(combination, axis, data, v[1], updates);
        Ok(through_floats(result, dtype))
    })
}

/// Returns the position, among the flattened leading axes `sides`, of each row of `indices` (`[..., axes]`).
fn flat_index<'t>(indices: Expr<'t>, sides: &[usize]) -> Result<Expr<'t>> {
    let rank = indices.rank();
    let tape = indices.tape();
    let lengths: Vec<i64> = sides.iter().map(|&side| side as i64).collect();
    let mut strides = vec![1_i64; sides.len()];
    for axis in (1..sides.len()).rev() {
        strides[axis - 1] = strides[axis] * lengths[axis];
    }
    let zero = tape.constant(Tensor::i64([], [0])?);
    let lengths = tape.constant(Tensor::vector(&lengths));
    let positive = indices.less(zero).select(indices + lengths, indices);
    let strides = tape.constant(Tensor::vector(&strides));
    let shape = indices.shape()[..rank - 1].to_vec();
    Ok((positive * strides).sum([rank - 1]).reshape(shape))
}

/// Fails if constant rows of indices are out of range.
fn expect_inside(call: &Call, indices: Option<&Tensor>, sides: &[usize]) -> Result<()> {
    let indices = indices.and_then(Tensor::as_i64).unwrap_or_default();
    for (&index, &side) in indices.iter().zip(sides.iter().cycle()) {
        let side = side as i64;
        if !(-side..side).contains(&index) {
            return Err(call.invalid(format!(
                "index {index} is out of range for a side of {side}"
            )));
        }
    }
    Ok(())
}

/// Returns how many of the data's axes, after the first `batched` ones, a row of indices addresses.
fn indexed_axes(
    importer: &Importer,
    call: &Call,
    data: ValueId,
    indices: ValueId,
    batched: usize,
) -> Result<usize> {
    let rank = importer.rank(indices);
    let count = match rank.checked_sub(1) {
        Some(last) => importer.side(call, indices, last)?,
        None => return Err(call.invalid("needs indices that are not a scalar")),
    };
    if count == 0 || batched + count > importer.rank(data) || batched >= rank {
        return Err(call.invalid(format!(
            "indexes {count} axes of {} after {batched} shared ones",
            importer.rank(data)
        )));
    }
    Ok(count)
}

pub(super) fn scatter_nd(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let count = indexed_axes(importer, call, inputs[0], inputs[1], 0)?;
    let dims = importer.dims(inputs[0]);
    let sides = fixed_from(&dims[..count], 0)
        .map_err(|_| call.unsupported("writes along the batch axis"))?;
    let combination = combination(call)?;
    let constant = importer.builder.graph().as_constant(inputs[1]);
    expect_inside(call, constant, &sides)?;
    let positions = constant.and_then(|indices| {
        let rows = indices.as_i64()?.chunks(count);
        let flat = rows.map(|row| {
            row.iter().zip(&sides).fold(0, |total, (&index, &side)| {
                let side = side as i64;
                total * side + if index < 0 { index + side } else { index }
            })
        });
        Some(flat.collect())
    });
    expect_distinct(call, combination, positions)?;
    let dtype = importer.dtype(inputs[0]);
    importer.formula(call, &inputs, |v| {
        let [data, updates] = [v[0], v[2]].map(|value| through_floats(value, DType::F32));
        let rows = fixed_from(&v[1].shape()[..v[1].rank() - 1], 0)?;
        let rows = Dim::Fixed(rows.iter().product());
        let flat = Dim::Fixed(sides.iter().product());
        let inner = &dims[count..];
        let lead = |first: Dim| [&[first], inner].concat();
        let mut column = vec![rows];
        column.resize(1 + inner.len(), Dim::Fixed(1));
        let indices = flat_index(v[1], &sides)?.reshape(column).expand(lead(rows));
        let result = combined(
            combination,
            0,
            data.reshape(lead(flat)),
            indices,
            updates.reshape(lead(rows)),
        );
        Ok(through_floats(result.reshape(dims.clone()), dtype))
    })
}

/// Reads slices of `data` at positions in its first axes, or in the axes after `batch_dims` axes shared with the
/// indices.
pub(super) fn gather_nd(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(1)?];
    let shared = call.size("batch_dims", call.int("batch_dims", 0)?)?;
    let count = indexed_axes(importer, call, inputs[0], inputs[1], shared)?;
    let dims = importer.dims(inputs[0]);
    let sides = fixed_from(&dims[shared..shared + count], 0)
        .map_err(|_| call.unsupported("reads along the batch axis"))?;
    expect_inside(
        call,
        importer.builder.graph().as_constant(inputs[1]),
        &sides,
    )?;
    importer.formula(call, &inputs, |v| {
        let rows = v[1].shape()[shared..v[1].rank() - 1].to_vec();
        let flat = flat_index(v[1], &sides)?;
        let count_of = |sides: &[usize]| Dim::Fixed(sides.iter().product());
        let inner = &dims[shared + count..];
        let whole = [&dims[..shared], &[count_of(&sides)], inner].concat();
        let data = v[0].reshape(whole);
        if shared == 0 {
            return Ok(data.with(Op::Gather { axis: 0 }, flat));
        }
        let picked = count_of(&fixed_from(&rows, 0)?);
        let mut column = [&dims[..shared], &[picked]].concat();
        let target = [&column[..], inner].concat();
        column.resize(target.len(), Dim::Fixed(1));
        let indices = flat.reshape(column).expand(target);
        let result = data.with(Op::GatherElements { axis: shared }, indices);
        Ok(result.reshape([&dims[..shared], &rows, inner].concat()))
    })
}
