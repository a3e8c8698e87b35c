//! Expresses composite operators in plain ONNX.

mod division;
mod pool;

use crate::{
    Result,
    dim::Dim,
    fold::{fold, uses},
    graph::Graph,
    node::{Node, ValueId},
    op::{Convolution, Op, Reduction},
    shape::fixed_from,
    tape::{Expr, Tape},
    tensor::{DType, Tensor},
};

/// The engine that composite operators are lowered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lowering {
    /// Any engine.
    Portable,
    /// ONNX Runtime, which is faster with other expressions.
    OnnxRuntime,
}

/// Returns `graph` with every composite operator expressed in plain ONNX, folded.
pub(crate) fn lower(graph: &Graph, lowering: Lowering) -> Result<Graph> {
    let uses = uses(graph);
    let felt = match lowering {
        Lowering::Portable => division::felt(graph),
        Lowering::OnnxRuntime => Vec::new(),
    };
    let mut lowered = Graph::new();
    let mut places: Vec<Option<ValueId>> = vec![None; graph.nodes().len()];
    let place = |places: &[Option<ValueId>], id: &ValueId| {
        places[id.index()].expect("what is used stands before its use")
    };
    for &id in graph.inputs() {
        let Node {
            name, dtype, shape, ..
        } = graph.node(id);
        places[id.index()] = Some(lowered.input(name.clone(), *dtype, shape.clone()));
    }
    for id in graph.ids().filter(|id| uses[id.index()] > 0) {
        let node = graph.node(id);
        let inputs: Vec<ValueId> = (node.inputs.iter())
            .map(|input| place(&places, input))
            .collect();
        places[id.index()] = Some(match &node.op {
            Op::Input => continue,
            Op::Constant(tensor) => lowered.named_constant(node.name.clone(), tensor.clone()),
            Op::Div if felt.get(id.index()) == Some(&true) => Tape::record(&mut lowered, |tape| {
                let [a, b] = [0, 1].map(|at| tape.value(inputs[at]));
                Ok(division::exact(a, b).id)
            })?,
            _ => lower_node(&mut lowered, node, &inputs, lowering)?,
        });
    }
    for (name, output) in graph.outputs() {
        lowered.output(name.clone(), place(&places, output));
    }
    fold(&lowered)
}

fn lower_node(
    graph: &mut Graph,
    node: &Node,
    inputs: &[ValueId],
    lowering: Lowering,
) -> Result<ValueId> {
    let portable = lowering == Lowering::Portable;
    let composite = |graph: &mut Graph, formula: &dyn Fn(&[Expr<'_>]) -> Result<ValueId>| {
        Tape::record(graph, |tape| {
            let inputs: Vec<Expr<'_>> = inputs.iter().map(|&id| tape.value(id)).collect();
            formula(&inputs)
        })
    };
    match &node.op {
        Op::Gate { low, high } => composite(graph, &|v| Ok(gate(*low, *high, v[0], v[1]).id)),
        Op::MaxPoolGrad(pool) => composite(graph, &|v| {
            let grad = match lowering {
                Lowering::Portable => pool::max_pool_grad(pool, v[0], v[1], v[2])?,
                Lowering::OnnxRuntime => pool::max_pool_grad_by_indices(pool, v[0], v[2])?,
            };
            Ok(grad.id)
        }),
        Op::ConvWeightGrad {
            convolution,
            kernel,
        } => composite(graph, &|v| {
            Ok(conv_weight_grad(convolution, kernel, v[0], v[1])?.id)
        }),
        Op::StraightThrough => Ok(inputs[0]),
        Op::Gelu { tanh } => composite(graph, &|v| Ok(gelu(v[0], *tanh).id)),
        Op::AveragePool {
            pool,
            count_include_pad,
        } if pool::needs_counting(pool, *count_include_pad) => composite(graph, &|v| {
            Ok(pool::average_pool(pool, *count_include_pad, v[0])?.id)
        }),
        // ONNX Runtime 1.32 processes four elements of a tensor at once, so its rounding depends on a picture's
        // position in the batch: Softplus and Elu in the last few elements, sums in rows that do not start at a
        // multiple of four. rten's Softplus overflows.
        Op::Softplus => composite(graph, &|v| Ok(softplus(v[0]).id)),
        Op::Reduce {
            kind: kind @ (Reduction::Sum | Reduction::Mean),
            axes,
            ..
        } if !portable
            && node.dtype == DType::F32
            && let Some(count) = odd_row(axes, graph.shape(inputs[0])) =>
        {
            composite(graph, &|v| {
                let sum = sum_of_row(*kind, axes[0], count, v[0]);
                Ok(sum.reshape(node.shape.clone()).id)
            })
        }
        Op::Elu { alpha } if !portable => composite(graph, &|v| Ok(elu(v[0], *alpha).id)),
        // rten 0.27 has five more gaps: it fails on backward slices of five or more axes, pooling has no dilations,
        // ArgMax takes the last of equal maxima, the sign of 0 is 1, and Cast to Boolean keeps integers unchanged and
        // truncates floats.
        Op::MaxPool(pool) if portable && pool::dilated(pool) => {
            composite(graph, &|v| Ok(pool::max_pool(pool, v[0], &node.shape)?.id))
        }
        Op::Slice {
            axes,
            starts,
            ends,
            steps,
        } if portable && node.shape.len() > 4 && steps.iter().any(|&step| step < 0) => {
            composite(graph, &|v| {
                let parts = axes.iter().zip(starts).zip(ends).zip(steps);
                Ok(parts
                    .fold(v[0], |x, (((&axis, &start), &end), &step)| {
                        part(x, axis, start, end, step)
                    })
                    .id)
            })
        }
        Op::Sign if portable => composite(graph, &|v| Ok(sign(v[0], node.dtype).id)),
        Op::Cast { to: DType::Bool } if portable && graph.node(inputs[0]).dtype == DType::F32 => {
            composite(graph, &|v| Ok(v[0].equal(0.0).apply(Op::Not).id))
        }
        Op::Cast { to: DType::Bool } if portable && graph.node(inputs[0]).dtype == DType::I64 => {
            composite(graph, &|v| {
                let zero = v[0].tape().constant(Tensor::i64([], [0])?);
                Ok(v[0].equal(zero).apply(Op::Not).id)
            })
        }
        Op::ArgMax { axis, keep_dims } if portable => composite(graph, &|v| {
            let index = first_index(*axis, v[0], v[0].reduce(Reduction::Max, [*axis]))?;
            Ok(if *keep_dims {
                index.id
            } else {
                index.reshape(node.shape.clone()).id
            })
        }),
        op => graph.add_named(node.name.clone(), op.clone(), inputs),
    }
}

/// Multiplies with steps, because engines are slow at `Where`. ONNX Runtime leaves the blocked layout of its
/// convolutions for `Where`, but not for `HardSigmoid` and `Mul`.
fn gate<'t>(low: f32, high: f32, y: Expr<'t>, g: Expr<'t>) -> Expr<'t> {
    [(low, 1.0), (high, -1.0)]
        .into_iter()
        .filter(|(edge, _)| edge.is_finite())
        .fold(g, |g, (edge, direction)| g * step(y, edge, direction))
}

/// Returns 1 where `y` is beyond `edge` in the direction, else 0, as a ramp so steep that no float lies on it. The
/// slope is a power of two, which makes the product exact, so the ramp starts at the edge.
fn step(y: Expr<'_>, edge: f32, direction: f32) -> Expr<'_> {
    let exponent = if edge == 0.0 {
        126
    } else {
        100 - edge.abs().log2().ceil() as i32
    };
    let slope = direction * 2.0_f32.powi(exponent.min(126));
    y.apply(Op::HardSigmoid {
        alpha: slope,
        beta: -slope * edge,
    })
}

fn as_float(truth: Expr<'_>) -> Expr<'_> {
    truth.apply(Op::Cast { to: DType::F32 })
}

/// Returns the index of the first element along an axis that equals its maximum `largest`; the axis keeps side 1.
fn first_index<'t>(axis: usize, x: Expr<'t>, largest: Expr<'t>) -> Result<Expr<'t>> {
    let count = fixed_from(&x.shape()[axis..=axis], 0)?[0];
    let mut sides = vec![1; x.rank()];
    sides[axis] = count;
    let ranks = (1..=count).rev().map(|rank| rank as f32).collect();
    let ranked = as_float(x.equal(largest)) * x.tape().floats(sides, ranks);
    let rank = ranked.reduce(Reduction::Max, [axis]);
    Ok((count as f32 - rank).apply(Op::Cast { to: DType::I64 }))
}

/// Takes a part of one axis; a backward slice uses indices.
fn part(x: Expr<'_>, axis: usize, start: i64, end: i64, step: i64) -> Expr<'_> {
    if step > 0 {
        return x.apply(Op::Slice {
            axes: vec![axis],
            starts: vec![start],
            ends: vec![end],
            steps: vec![step],
        });
    }
    let indices = (0..)
        .map(|at| start + at * step)
        .take_while(|&index| index > end);
    let indices = x
        .tape()
        .constant(Tensor::vector(&indices.collect::<Vec<_>>()));
    x.with(Op::Gather { axis }, indices)
}

fn sign(x: Expr<'_>, dtype: DType) -> Expr<'_> {
    let zero = x
        .tape()
        .constant(Tensor::scalar(0.0))
        .apply(Op::Cast { to: dtype });
    let truths = [x.greater(zero), x.less(zero)];
    let [above, below] = truths.map(|truth| truth.apply(Op::Cast { to: dtype }));
    above - below
}

/// Computes `max(x, 0) + ln(1 + u)` with `u = exp(-|x|)`. The logarithm is the series of `2 artanh(u / (2 + u))`,
/// truncated below float rounding. Basic arithmetic rounds the same at every position of a tensor, and keeps the
/// smallest values.
fn softplus(x: Expr<'_>) -> Expr<'_> {
    let u = (-x.apply(Op::Abs)).exp();
    let s = u / (u + 2.0);
    let square = s * s;
    let last = s.tape().constant(Tensor::scalar(2.0 / 13.0));
    let series = [11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
        .into_iter()
        .fold(last, |rest, odd: f32| rest * square + 2.0 / odd);
    x.apply(Op::Relu) + s * series
}

/// `max(x, 0) + alpha * (exp(min(x, 0)) - 1)`.
fn elu(x: Expr<'_>, alpha: f32) -> Expr<'_> {
    let below = (-(-x).apply(Op::Relu)).exp();
    x.apply(Op::Relu) + (below - 1.0) * alpha
}

/// Returns the number of elements of the last axes if these are `axes` and the number is not a multiple of four.
fn odd_row(axes: &[usize], shape: &[Dim]) -> Option<usize> {
    // A sum of everything has no row whose position could matter.
    let first = *axes.first().filter(|&&first| first > 0)?;
    if !axes.iter().copied().eq(first..shape.len()) {
        return None;
    }
    let sides = fixed_from(shape, first).ok()?;
    let count: usize = sides.iter().product();
    (!count.is_multiple_of(4)).then_some(count)
}

/// Sum or mean over the axes from `first` on, which have `count` elements, as a product with a column.
fn sum_of_row(kind: Reduction, first: usize, count: usize, x: Expr<'_>) -> Expr<'_> {
    let mut rows = x.shape();
    rows.truncate(first);
    rows.push(Dim::Fixed(count));
    let weight = match kind {
        Reduction::Mean => 1.0 / count as f32,
        _ => 1.0,
    };
    let column = x.tape().floats(vec![count, 1], vec![weight; count]);
    x.reshape(rows).matmul(column)
}

fn gelu(x: Expr<'_>, tanh: bool) -> Expr<'_> {
    use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
    let inner = if tanh {
        (x * (x * x * 0.044_715 + 1.0) * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2)).apply(Op::Tanh)
    } else {
        (x * FRAC_1_SQRT_2).apply(Op::Erf)
    };
    x * 0.5 * (inner + 1.0)
}

/// Computes the weight's gradient as the convolution of the input with the cotangent as kernel. Batch and channels
/// swap, strides and dilations swap, and windows beyond the kernel are cut off.
fn conv_weight_grad<'t>(
    convolution: &Convolution,
    kernel: &[usize],
    x: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let shape = x.shape();
    let groups = convolution.groups;
    let channels = fixed_from(&shape[1..2], 0)?[0] / groups;
    let spatial = 2..shape.len();

    // [N, G * C, ...] to [C, G * N, ...].
    let mut apart = vec![shape[0], Dim::Fixed(groups), Dim::Fixed(channels)];
    apart.extend(&shape[2..]);
    let perm: Vec<usize> = [2, 1, 0].into_iter().chain(3..apart.len()).collect();
    let batches = match shape[0] {
        Dim::Fixed(side) => Dim::Fixed(side * groups),
        Dim::Batch(factor) => Dim::Batch(factor * groups),
    };
    let mut joined = vec![Dim::Fixed(channels), batches];
    joined.extend(&shape[2..]);
    let swapped: Vec<usize> = [1, 0].into_iter().chain(spatial).collect();

    let exchanged = Convolution {
        strides: convolution.dilations.clone(),
        dilations: convolution.strides.clone(),
        ..convolution.clone()
    };
    let whole = x
        .reshape(apart)
        .transpose(perm)
        .reshape(joined)
        .with(Op::Conv(exchanged), g.transpose(swapped.clone()));
    let cut = kernel
        .iter()
        .enumerate()
        .fold(whole, |whole, (axis, &side)| {
            if whole.shape()[axis + 2] == Dim::Fixed(side) {
                whole
            } else {
                whole.slice(axis + 2, 0, side)
            }
        });
    Ok(cut.transpose(swapped))
}

#[cfg(test)]
mod tests;
