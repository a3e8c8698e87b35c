//! Reductions.

use crate::{
    Result,
    import::{Importer, call::Call},
    node::ValueId,
    op::{Op, Reduction},
    tensor::{DType, Tensor},
};

/// Reduces over the axes that a node names: an attribute at first, an input since operator set 13 (`ReduceSum`) or 18.
/// No axes means all axes.
fn operator(importer: &Importer, call: &Call, kind: Reduction) -> Result<Option<Op>> {
    let rank = importer.rank(call.input(0)?);
    let axes = match call.ints("axes")? {
        Some(axes) => axes.to_vec(),
        None => importer.integers(call, 1)?.unwrap_or_default(),
    };
    let axes = match axes.is_empty() {
        true if call.flag("noop_with_empty_axes", false)? => return Ok(None),
        true => (0..rank).collect(),
        false => call.axes(&axes, rank)?,
    };
    let keep_dims = call.flag("keepdims", true)?;
    Ok(Some(Op::Reduce {
        kind,
        axes,
        keep_dims,
    }))
}

fn reduced(importer: &mut Importer, call: &Call, kind: Reduction, x: ValueId) -> Result<ValueId> {
    if importer.dtype(x) == DType::Bool {
        return Err(call.unsupported("reduces Boolean values"));
    }
    match operator(importer, call, kind)? {
        Some(op) => importer.add(call, op, &[x]),
        None => Ok(x),
    }
}

pub(super) fn reduce(importer: &mut Importer, call: &Call, kind: Reduction) -> Result<ValueId> {
    reduced(importer, call, kind, call.input(0)?)
}

pub(super) fn reduce_l1(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let size = importer.add(call, Op::Abs, &[call.input(0)?])?;
    reduced(importer, call, Reduction::Sum, size)
}

pub(super) fn reduce_sum_square(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let square = importer.add(call, Op::Mul, &[x, x])?;
    reduced(importer, call, Reduction::Sum, square)
}

pub(super) fn reduce_l2(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let sum = reduce_sum_square(importer, call)?;
    importer.add(call, Op::Sqrt, &[sum])
}

pub(super) fn reduce_log_sum(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let sum = reduce(importer, call, Reduction::Sum)?;
    importer.add(call, Op::Log, &[sum])
}

/// `m + ln(sum(exp(x - m)))` with the maximum `m`, so that nothing overflows.
pub(super) fn reduce_log_sum_exp(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let Some(Op::Reduce {
        axes, keep_dims, ..
    }) = operator(importer, call, Reduction::Max)?
    else {
        return Ok(x);
    };
    importer.formula(call, &[x], |v| {
        let largest = v[0].reduce(Reduction::Max, axes.clone());
        let total = (v[0] - largest).exp().sum(axes.clone()).log() + largest;
        if keep_dims {
            return Ok(total);
        }
        let shape = total.shape().into_iter().enumerate();
        let kept = shape.filter_map(|(axis, dim)| (!axes.contains(&axis)).then_some(dim));
        Ok(total.reshape(kept.collect::<Vec<_>>()))
    })
}

/// Computes running sums along an axis as a product with a triangle of ones.
pub(super) fn cum_sum(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    const LONGEST: usize = 1 << 12;
    let x = call.input(0)?;
    let axes = importer.integers(call, 1)?;
    let Some(&[axis]) = axes.as_deref() else {
        return Err(call.invalid("needs one axis"));
    };
    let rank = importer.rank(x);
    let axis = call.axis(axis, rank)?;
    let side = importer.side(call, x, axis)?;
    if side > LONGEST {
        return Err(call.unsupported(format!("sums along {side} elements, more than {LONGEST}")));
    }
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    let counts = |from: usize, to: usize| match reverse {
        false => from < to || from == to && !exclusive,
        true => from > to || from == to && !exclusive,
    };
    importer.formula(call, &[x], |v| {
        let triangle = (0..side * side).map(|at| f32::from(counts(at / side, at % side)));
        let triangle = v[0].tape().floats(vec![side, side], triangle.collect());
        let mut to_last: Vec<usize> = (0..rank).collect();
        to_last.swap(axis, rank - 1);
        // A matrix product needs matrices.
        let moved = v[0].transpose(to_last.clone());
        let mut rows = moved.shape();
        rows.insert(rank - 1, crate::dim::Dim::Fixed(1));
        let sums = moved.reshape(rows).matmul(triangle);
        Ok(sums.reshape(moved.shape()).transpose(to_last))
    })
}

pub(super) fn arg_max(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    arg(importer, call, call.input(0)?)
}

pub(super) fn arg_min(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let negated = importer.add(call, Op::Neg, &[call.input(0)?])?;
    arg(importer, call, negated)
}

fn arg(importer: &mut Importer, call: &Call, x: ValueId) -> Result<ValueId> {
    let axis = call.axis(call.int("axis", 0)?, importer.rank(x))?;
    let keep_dims = call.flag("keepdims", true)?;
    let op = Op::ArgMax { axis, keep_dims };
    if !call.flag("select_last_index", false)? {
        return importer.add(call, op, &[x]);
    }
    let last = importer.side(call, x, axis)? as i64 - 1;
    importer.formula(call, &[x], |v| {
        let last = v[0].tape().constant(Tensor::i64([], [last])?);
        Ok(last - v[0].flip(axis).apply(op))
    })
}

/// `GlobalAveragePool` and `GlobalMaxPool`: reduces over all spatial axes.
pub(super) fn global_pool(
    importer: &mut Importer,
    call: &Call,
    kind: Reduction,
) -> Result<ValueId> {
    let x = call.input(0)?;
    let rank = importer.rank(x);
    if rank < 3 {
        return Err(call.invalid(format!("needs spatial axes, but its input has rank {rank}")));
    }
    let op = Op::Reduce {
        kind,
        axes: (2..rank).collect(),
        keep_dims: true,
    };
    importer.add(call, op, &[x])
}
