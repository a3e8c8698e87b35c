//! A plain evaluator of operators on constants, for folding. It is not an engine.

use crate::{
    op::{Op, PadMode, Reduction},
    tensor::{DType, Elements, Tensor},
};

/// Maximum number of multiplications in all folded matrix products together.
pub(super) const MAX_PRODUCTS: usize = 1 << 28;

/// Returns the result of `op` on constants, where `shape` is the inferred shape. Returns `None` for what the engine
/// must compute: operators without a row here, and arithmetic without a result (integer division by zero).
pub(crate) fn evaluate(op: &Op, inputs: &[&Tensor], shape: &[usize]) -> Option<Tensor> {
    let first = *inputs.first()?;
    let elements = match op {
        Op::Reshape { .. } | Op::StraightThrough => first.elements().clone(),
        Op::Cast { to } => cast(first, *to),
        Op::Transpose { perm } => {
            let strides = strides(first.shape());
            let strides: Vec<isize> = perm.iter().map(|&axis| strides[axis]).collect();
            pick(first, offsets(shape, &strides, 0))
        }
        Op::Expand { .. } => pick(first, broadcast_offsets(first.shape(), shape)),
        Op::Slice {
            axes,
            starts,
            steps,
            ..
        } => {
            let mut strides = strides(first.shape());
            let mut start = 0;
            for (at, &axis) in axes.iter().enumerate() {
                start += isize::try_from(starts[at]).ok()? * strides[axis];
                strides[axis] *= isize::try_from(steps[at]).ok()?;
            }
            pick(first, offsets(shape, &strides, start))
        }
        Op::Tile { .. } => {
            let sides = first.shape().iter().zip(shape);
            let sources: Vec<Vec<Option<usize>>> = sides
                .map(|(&own, &side)| (0..side).map(|at| Some(at % own)).collect())
                .collect();
            remap(first, &sources, 0.0)?
        }
        Op::Pad {
            mode,
            before,
            after,
        } => pad(first, *mode, before, after)?,
        Op::Concat { axis } => concat(inputs, *axis, shape)?,
        Op::Gather { axis } => gather(first, inputs[1], *axis, shape)?,
        Op::GatherElements { axis } => gather_elements(first, inputs[1], *axis)?,
        Op::ScatterAdd { axis } => scatter_add(first, inputs[1], inputs[2], *axis)?,
        Op::Reduce { kind, axes, .. } => reduce(first, *kind, axes, shape)?,
        Op::Clip { min, max } => match first.elements() {
            Elements::F32(values) => Elements::F32(
                values
                    .iter()
                    .map(|value| value.max(*min).min(*max))
                    .collect(),
            ),
            Elements::I64(values) => {
                let (min, max) = (*min as i64, *max as i64);
                Elements::I64(
                    values
                        .iter()
                        .map(|&value| value.max(min).min(max))
                        .collect(),
                )
            }
            Elements::Bool(_) => return None,
        },
        Op::MatMul => matmul(first, inputs[1], shape)?,
        Op::Where => {
            let chosen = broadcast_offsets(first.shape(), shape).map(|at| first.as_bool()?.get(at));
            let sides = broadcast_offsets(inputs[1].shape(), shape)
                .zip(broadcast_offsets(inputs[2].shape(), shape));
            let first_count = inputs[1].len();
            let both = join(&inputs[1..])?;
            let from: Option<Vec<usize>> = chosen
                .zip(sides)
                .map(|(chosen, (yes, no))| Some(if *chosen? { yes } else { first_count + no }))
                .collect();
            pick(&both, from?.into_iter())
        }
        Op::Not => Elements::Bool(first.as_bool()?.iter().map(|value| !value).collect()),
        _ if inputs.len() == 1 => unary(op, first)?,
        _ => binary(op, first, inputs.get(1)?, shape)?,
    };
    Tensor::new(shape.to_vec(), elements).ok()
}

fn unary(op: &Op, x: &Tensor) -> Option<Elements> {
    if let Some(values) = x.as_i64() {
        let apply: fn(i64) -> Option<i64> = match op {
            Op::Abs => i64::checked_abs,
            Op::Neg => i64::checked_neg,
            Op::Relu => |x| Some(x.max(0)),
            Op::Sign => |x| Some(x.signum()),
            _ => return None,
        };
        let results: Option<Vec<i64>> = values.iter().map(|&value| apply(value)).collect();
        return Some(Elements::I64(results?.into()));
    }
    let apply: fn(f32) -> f32 = match op {
        Op::Abs => f32::abs,
        Op::Atan => f32::atan,
        Op::Ceil => f32::ceil,
        Op::Cos => f32::cos,
        Op::Exp => f32::exp,
        Op::Floor => f32::floor,
        Op::Log => f32::ln,
        Op::Neg => |x| -x,
        Op::Reciprocal => f32::recip,
        Op::Relu => |x| x.max(0.0),
        Op::Round => f32::round_ties_even,
        Op::Sigmoid => |x| 1.0 / (1.0 + (-x).exp()),
        Op::Sign => |x| if x == 0.0 { 0.0 } else { x.signum() },
        Op::Sin => f32::sin,
        Op::Sqrt => f32::sqrt,
        Op::Tanh => f32::tanh,
        _ => return None,
    };
    Some(Elements::F32(
        x.as_f32()?.iter().map(|&x| apply(x)).collect(),
    ))
}

fn binary(op: &Op, a: &Tensor, b: &Tensor, shape: &[usize]) -> Option<Elements> {
    let pairs = broadcast_offsets(a.shape(), shape).zip(broadcast_offsets(b.shape(), shape));
    match (a.elements(), b.elements()) {
        (Elements::F32(a), Elements::F32(b)) => {
            let pairs = pairs.map(|(i, j)| (a[i], b[j]));
            if let Some(compare) = comparison::<f32>(op) {
                return Some(Elements::Bool(
                    pairs.map(|(a, b)| compare(&a, &b)).collect(),
                ));
            }
            let apply: fn(f32, f32) -> f32 = match op {
                Op::Add => |a, b| a + b,
                Op::Div => |a, b| a / b,
                Op::Max => f32::max,
                Op::Min => f32::min,
                Op::Mod => |a, b| a % b,
                Op::Mul => |a, b| a * b,
                Op::Pow => f32::powf,
                Op::Sub => |a, b| a - b,
                _ => return None,
            };
            Some(Elements::F32(pairs.map(|(a, b)| apply(a, b)).collect()))
        }
        (Elements::I64(a), Elements::I64(b)) => {
            let mut pairs = pairs.map(|(i, j)| (a[i], b[j]));
            if let Some(compare) = comparison::<i64>(op) {
                return Some(Elements::Bool(
                    pairs.map(|(a, b)| compare(&a, &b)).collect(),
                ));
            }
            let apply: fn(i64, i64) -> Option<i64> = match op {
                Op::Add => i64::checked_add,
                Op::Div => i64::checked_div,
                Op::Max => |a, b| Some(a.max(b)),
                Op::Min => |a, b| Some(a.min(b)),
                Op::Mod => |a, b| {
                    let remainder = a.checked_rem(b)?;
                    let other_side = remainder != 0 && (remainder < 0) != (b < 0);
                    Some(if other_side { remainder + b } else { remainder })
                },
                Op::Mul => i64::checked_mul,
                Op::Pow => |a, b| a.checked_pow(u32::try_from(b).ok()?),
                Op::Sub => i64::checked_sub,
                _ => return None,
            };
            let results: Option<Vec<i64>> = pairs.try_fold(Vec::new(), |mut results, (a, b)| {
                results.push(apply(a, b)?);
                Some(results)
            });
            Some(Elements::I64(results?.into()))
        }
        (Elements::Bool(a), Elements::Bool(b)) => {
            let apply: fn(bool, bool) -> bool = match op {
                Op::And => |a, b| a && b,
                Op::Or => |a, b| a || b,
                Op::Equal => |a, b| a == b,
                _ => return None,
            };
            Some(Elements::Bool(
                pairs.map(|(i, j)| apply(a[i], b[j])).collect(),
            ))
        }
        _ => None,
    }
}

fn comparison<T: PartialOrd>(op: &Op) -> Option<fn(&T, &T) -> bool> {
    Some(match op {
        Op::Equal => T::eq,
        Op::Greater => T::gt,
        Op::GreaterOrEqual => T::ge,
        Op::Less => T::lt,
        Op::LessOrEqual => T::le,
        _ => return None,
    })
}

fn cast(x: &Tensor, to: DType) -> Elements {
    match (x.elements(), to) {
        (Elements::F32(values), DType::I64) => {
            Elements::I64(values.iter().map(|&value| value as i64).collect())
        }
        (Elements::F32(values), DType::Bool) => {
            Elements::Bool(values.iter().map(|&value| value != 0.0).collect())
        }
        (Elements::I64(values), DType::F32) => {
            Elements::F32(values.iter().map(|&value| value as f32).collect())
        }
        (Elements::I64(values), DType::Bool) => {
            Elements::Bool(values.iter().map(|&value| value != 0).collect())
        }
        (Elements::Bool(values), DType::F32) => {
            Elements::F32(values.iter().map(|&value| f32::from(value)).collect())
        }
        (Elements::Bool(values), DType::I64) => {
            Elements::I64(values.iter().map(|&value| i64::from(value)).collect())
        }
        (same, _) => same.clone(),
    }
}

/// For each axis, the distance between elements that are one step apart along it.
fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

/// Returns the offsets of the elements of `shape` in row-major order.
fn offsets(
    shape: &[usize],
    strides: &[isize],
    start: isize,
) -> impl Iterator<Item = usize> + use<> {
    let count: usize = shape.iter().product();
    let (shape, strides) = (shape.to_vec(), strides.to_vec());
    let mut index = vec![0; shape.len()];
    let mut offset = start;
    (0..count).map(move |_| {
        let current = offset as usize;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
        current
    })
}

/// Returns the source of each element of a tensor that is broadcast from `from` to `to`.
pub(crate) fn broadcast_offsets(
    from: &[usize],
    to: &[usize],
) -> impl Iterator<Item = usize> + use<> {
    let own = strides(from);
    let mut strides = vec![0; to.len() - from.len()];
    let sides = from.iter().zip(own);
    strides.extend(sides.map(|(&side, stride)| if side == 1 { 0 } else { stride }));
    offsets(to, &strides, 0)
}

fn pick(x: &Tensor, from: impl Iterator<Item = usize>) -> Elements {
    match x.elements() {
        Elements::F32(values) => Elements::F32(from.map(|at| values[at]).collect()),
        Elements::I64(values) => Elements::I64(from.map(|at| values[at]).collect()),
        Elements::Bool(values) => Elements::Bool(from.map(|at| values[at]).collect()),
    }
}

/// Concatenates all elements.
fn join(tensors: &[&Tensor]) -> Option<Tensor> {
    let elements = match tensors.first()?.dtype() {
        DType::F32 => {
            let parts: Option<Vec<&[f32]>> = tensors.iter().map(|tensor| tensor.as_f32()).collect();
            Elements::F32(parts?.concat().into())
        }
        DType::I64 => {
            let parts: Option<Vec<&[i64]>> = tensors.iter().map(|tensor| tensor.as_i64()).collect();
            Elements::I64(parts?.concat().into())
        }
        DType::Bool => {
            let parts: Option<Vec<&[bool]>> =
                tensors.iter().map(|tensor| tensor.as_bool()).collect();
            Elements::Bool(parts?.concat().into())
        }
    };
    let count = tensors.iter().map(|tensor| tensor.len()).sum();
    Tensor::new(vec![count], elements).ok()
}

fn concat(inputs: &[&Tensor], axis: usize, shape: &[usize]) -> Option<Elements> {
    let outer: usize = shape[..axis].iter().product();
    let mut from = Vec::with_capacity(shape.iter().product());
    for row in 0..outer {
        let mut start = 0;
        for input in inputs {
            let run: usize = input.shape()[axis..].iter().product();
            from.extend(start + row * run..start + (row + 1) * run);
            start += input.len();
        }
    }
    Some(pick(&join(inputs)?, from.into_iter()))
}

/// Returns a tensor in which index `i` along an axis is copied from index `sources[axis][i]`, or filled with `fill`.
fn remap(x: &Tensor, sources: &[Vec<Option<usize>>], fill: f32) -> Option<Elements> {
    let shape: Vec<usize> = sources.iter().map(Vec::len).collect();
    let own = strides(x.shape());
    let positions = strides(&shape);
    let count: usize = shape.iter().product();
    let from = (0..count).map(|at| {
        (0..shape.len()).try_fold(0, |offset, axis| {
            let index = at / positions[axis] as usize % shape[axis];
            sources[axis][index].map(|source| offset + source * own[axis] as usize)
        })
    });
    Some(match x.elements() {
        Elements::F32(values) => {
            Elements::F32(from.map(|at| at.map_or(fill, |at| values[at])).collect())
        }
        Elements::I64(values) => Elements::I64(
            from.map(|at| at.map_or(fill as i64, |at| values[at]))
                .collect(),
        ),
        Elements::Bool(values) => Elements::Bool(
            from.map(|at| at.map_or(fill != 0.0, |at| values[at]))
                .collect(),
        ),
    })
}

fn pad(x: &Tensor, mode: PadMode, before: &[usize], after: &[usize]) -> Option<Elements> {
    let fill = match mode {
        PadMode::Constant(value) => value,
        PadMode::Reflect | PadMode::Edge => 0.0,
    };
    let sources: Option<Vec<Vec<Option<usize>>>> = x
        .shape()
        .iter()
        .zip(before.iter().zip(after))
        .map(|(&side, (&before, &after))| {
            let last = side.checked_sub(1);
            (0..before + side + after)
                .map(|at| match mode {
                    PadMode::Constant(_) => Some(at.checked_sub(before).filter(|&at| at < side)),
                    PadMode::Edge => Some(Some(at.saturating_sub(before).min(last?))),
                    PadMode::Reflect => {
                        let folded = at.abs_diff(before);
                        let last = last?;
                        let index = if folded <= last {
                            folded
                        } else {
                            (2 * last).checked_sub(folded)?
                        };
                        Some(Some(index))
                    }
                })
                .collect()
        })
        .collect();
    remap(x, &sources?, fill)
}

/// Resolves an index, which counts from the end if negative, as in ONNX.
fn wrapped(index: i64, side: usize) -> Option<usize> {
    let side = i64::try_from(side).ok()?;
    let index = if index < 0 { index + side } else { index };
    (0..side).contains(&index).then_some(index as usize)
}

fn gather(data: &Tensor, indices: &Tensor, axis: usize, shape: &[usize]) -> Option<Elements> {
    let outer: usize = data.shape()[..axis].iter().product();
    let inner: usize = data.shape()[axis + 1..].iter().product();
    let side = data.shape()[axis];
    let mut from = Vec::with_capacity(shape.iter().product());
    for row in 0..outer {
        for &index in indices.as_i64()? {
            let start = (row * side + wrapped(index, side)?) * inner;
            from.extend(start..start + inner);
        }
    }
    Some(pick(data, from.into_iter()))
}

/// For each index, takes the element of `data` at that position along an axis; the other coordinates are the index's
/// own.
fn named_elements(data: &Tensor, indices: &Tensor, axis: usize) -> Option<Vec<usize>> {
    let shape = indices.shape();
    let fits = (0..shape.len()).all(|other| other == axis || shape[other] <= data.shape()[other]);
    if !fits {
        return None;
    }
    let mut own = strides(data.shape());
    let stride = std::mem::take(&mut own[axis]) as usize;
    offsets(shape, &own, 0)
        .zip(indices.as_i64()?)
        .map(|(offset, &index)| Some(offset + wrapped(index, data.shape()[axis])? * stride))
        .collect()
}

fn gather_elements(data: &Tensor, indices: &Tensor, axis: usize) -> Option<Elements> {
    let from = named_elements(data, indices, axis)?;
    Some(pick(data, from.into_iter()))
}

fn scatter_add(data: &Tensor, indices: &Tensor, updates: &Tensor, axis: usize) -> Option<Elements> {
    let mut sums = data.as_f32()?.to_vec();
    let to = named_elements(data, indices, axis)?;
    for (to, &update) in to.into_iter().zip(updates.as_f32()?) {
        sums[to] += update;
    }
    Some(Elements::F32(sums.into()))
}

fn reduce(x: &Tensor, kind: Reduction, axes: &[usize], shape: &[usize]) -> Option<Elements> {
    let kept: Vec<usize> = (0..x.shape().len())
        .map(|axis| {
            if axes.contains(&axis) {
                1
            } else {
                x.shape()[axis]
            }
        })
        .collect();
    let targets = broadcast_offsets(&kept, x.shape());
    let count: usize = shape.iter().product();
    let group = x.len().checked_div(count)?;
    if let Some(values) = x.as_i64() {
        type Apply = fn(i64, i64) -> Option<i64>;
        let (start, apply): (i64, Apply) = match kind {
            Reduction::Sum => (0, i64::checked_add),
            Reduction::Prod => (1, i64::checked_mul),
            Reduction::Max if group > 0 => (i64::MIN, |a, b| Some(a.max(b))),
            Reduction::Min if group > 0 => (i64::MAX, |a, b| Some(a.min(b))),
            _ => return None,
        };
        let mut totals = vec![start; count];
        for (target, &value) in targets.zip(values) {
            totals[target] = apply(totals[target], value)?;
        }
        return Some(Elements::I64(totals.into()));
    }
    let (start, apply): (f64, fn(f64, f64) -> f64) = match kind {
        Reduction::Sum | Reduction::Mean => (0.0, |a, b| a + b),
        Reduction::Prod => (1.0, |a, b| a * b),
        Reduction::Max => (f64::NEG_INFINITY, f64::max),
        Reduction::Min => (f64::INFINITY, f64::min),
    };
    let mut totals = vec![start; count];
    for (target, &value) in targets.zip(x.as_f32()?) {
        totals[target] = apply(totals[target], f64::from(value));
    }
    if kind == Reduction::Mean {
        totals.iter_mut().for_each(|total| *total /= group as f64);
    }
    Some(Elements::F32(
        totals.iter().map(|&total| total as f32).collect(),
    ))
}

fn matmul(a: &Tensor, b: &Tensor, shape: &[usize]) -> Option<Elements> {
    let (&[.., rows, inner], &[.., columns]) = (a.shape(), b.shape()) else {
        return None;
    };
    let batch = &shape[..shape.len() - 2];
    let (left, right) = (a.as_f32()?, b.as_f32()?);
    let matrices = broadcast_offsets(&a.shape()[..a.shape().len() - 2], batch)
        .zip(broadcast_offsets(&b.shape()[..b.shape().len() - 2], batch));
    let mut results = Vec::with_capacity(shape.iter().product());
    for (i, j) in matrices {
        let left = &left[i * rows * inner..(i + 1) * rows * inner];
        let right = &right[j * inner * columns..(j + 1) * inner * columns];
        for row in 0..rows {
            let mut sums = vec![0.0_f64; columns];
            for k in 0..inner {
                let factor = f64::from(left[row * inner + k]);
                for (sum, &value) in sums.iter_mut().zip(&right[k * columns..]) {
                    *sum += factor * f64::from(value);
                }
            }
            results.extend(sums.iter().map(|&sum| sum as f32));
        }
    }
    Some(Elements::F32(results.into()))
}
