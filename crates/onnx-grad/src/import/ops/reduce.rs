//! Reductions.

use crate::{
    Result,
    graph::{Dim, ValueId},
    import::{Importer, call::Call},
    op::{Op, Reduction},
    tensor::DType,
};

/// The reduction over the axes that a node names: an attribute at first, an input since operator set 13
/// (`ReduceSum`) or 18; none named are all.
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
        return Err(call.unsupported("reduces truth values"));
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

/// `m + ln(sum(exp(x - m)))` with the largest value `m`, so that nothing overflows.
pub(super) fn reduce_log_sum_exp(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let Some(Op::Reduce {
        axes, keep_dims, ..
    }) = operator(importer, call, Reduction::Max)?
    else {
        return Ok(x);
    };
    let over = |kind| Op::Reduce {
        kind,
        axes: axes.clone(),
        keep_dims: true,
    };
    let largest = importer.add(call, over(Reduction::Max), &[x])?;
    let shifted = importer.add(call, Op::Sub, &[x, largest])?;
    let powers = importer.add(call, Op::Exp, &[shifted])?;
    let sum = importer.add(call, over(Reduction::Sum), &[powers])?;
    let log = importer.add(call, Op::Log, &[sum])?;
    let total = importer.add(call, Op::Add, &[log, largest])?;
    if keep_dims {
        return Ok(total);
    }
    let shape: Vec<Dim> = importer
        .dims(total)
        .into_iter()
        .enumerate()
        .filter_map(|(axis, dim)| (!axes.contains(&axis)).then_some(dim))
        .collect();
    importer.reshaped(call, total, shape)
}

pub(super) fn arg_max(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    arg(importer, call, call.input(0)?)
}

pub(super) fn arg_min(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let negated = importer.add(call, Op::Neg, &[call.input(0)?])?;
    arg(importer, call, negated)
}

fn arg(importer: &mut Importer, call: &Call, x: ValueId) -> Result<ValueId> {
    if call.flag("select_last_index", false)? {
        return Err(call.unsupported("selects the last of equal values"));
    }
    let axis = call.axis(call.int("axis", 0)?, importer.rank(x))?;
    let keep_dims = call.flag("keepdims", true)?;
    importer.add(call, Op::ArgMax { axis, keep_dims }, &[x])
}

/// `GlobalAveragePool` and `GlobalMaxPool`: a reduction over all spatial axes.
pub(super) fn global_pool(
    importer: &mut Importer,
    call: &Call,
    kind: Reduction,
) -> Result<ValueId> {
    let x = call.input(0)?;
    let rank = importer.rank(x);
    if rank < 3 {
        return Err(call.invalid(format!("needs spatial axes, its input has rank {rank}")));
    }
    let op = Op::Reduce {
        kind,
        axes: (2..rank).collect(),
        keep_dims: true,
    };
    importer.add(call, op, &[x])
}
