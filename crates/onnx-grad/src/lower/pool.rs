//! Pooling and its gradient in plain ONNX.

use super::{Lowering, as_float, first_index};
use crate::{
    Result,
    dim::Dim,
    op::{Convolution, Op, PadMode, Pool, Reduction},
    rules::pool::{LARGEST_AVERAGE, counts, merge_channels, tiles, window_area},
    shape::fixed_from,
    tape::Expr,
    tensor::Tensor,
};

/// Most elements of a window whose maximum is looked for by a convolution; its kernels grow with the square.
const LARGEST_PICKED: usize = 1 << 10;

/// Windows become an axis of their own; the first maximum on it takes the cotangent.
pub(super) fn max_pool_grad<'t>(
    pool: &Pool,
    x: Expr<'t>,
    y: Expr<'t>,
    g: Expr<'t>,
    lowering: Lowering,
) -> Result<Expr<'t>> {
    let (shape, sides) = (x.shape(), fixed_from(&x.shape(), 2)?);
    if tiles(pool, &sides) {
        let (mut windows, mut single) = (shape[..2].to_vec(), shape[..2].to_vec());
        for (axis, &side) in pool.kernel.iter().enumerate() {
            let count = y.shape()[axis + 2];
            windows.extend([count, Dim::Fixed(side)]);
            single.extend([count, Dim::Fixed(1)]);
        }
        let within: Vec<usize> = (0..sides.len()).map(|axis| 2 * axis + 3).collect();
        let first = first_maximum(x.reshape(windows), y.reshape(single.clone()), &within)?;
        return Ok((first * g.reshape(single)).reshape(shape));
    }

    let columns = columns(pool, x)?;
    let mut single = merge_channels(&shape)?;
    single.extend(&y.shape()[2..]);
    let winner = match lowering {
        Lowering::Portable => first_index(1, columns, y.reshape(single))?,
        Lowering::OnnxRuntime => columns.apply(Op::ArgMax {
            axis: 1,
            keep_dims: true,
        }),
    };
    lay_back(pool, &shape, winner, g)
}

/// Adds each window's cotangent to the element that won: `winner` has its place in the window, `[N * C, 1, ...]`. By an
/// index into the padded channel, because a convolution would first need a cotangent for each place in each window.
fn lay_back<'t>(pool: &Pool, shape: &[Dim], winner: Expr<'t>, g: Expr<'t>) -> Result<Expr<'t>> {
    let outputs = fixed_from(&winner.shape(), 2)?;
    let padded: Vec<usize> = (fixed_from(shape, 2)?.iter().enumerate())
        .map(|(axis, side)| pool.pads_before[axis] + side + pool.pads_after[axis])
        .collect();
    let places = |counts: &[usize], steps: &[usize]| -> Vec<i64> {
        let axes = counts.iter().zip(steps).zip(&padded);
        axes.fold(vec![0], |places, ((&count, &step), &side)| {
            let along =
                |place: i64| (0..count).map(move |at| place * side as i64 + (at * step) as i64);
            places.into_iter().flat_map(along).collect()
        })
    };
    let windows = places(&outputs, &pool.strides);
    let within = places(&pool.kernel, &pool.dilations);
    let tape = g.tape();
    let channels = merge_channels(shape)?[0];
    let row = vec![channels, Dim::Fixed(windows.len())];
    let indices = tape
        .constant(Tensor::vector(&within))
        .with(Op::Gather { axis: 0 }, winner.reshape(row.clone()))
        + tape.constant(Tensor::vector(&windows));
    let zeros = tape
        .constant(Tensor::scalar(0.0))
        .expand(vec![channels, Dim::Fixed(padded.iter().product())]);
    let sums = tape.apply(
        Op::ScatterAdd { axis: 1 },
        &[zeros, indices, g.reshape(row)],
    );
    let whole: Vec<Dim> = [channels, Dim::Fixed(1)]
        .into_iter()
        .chain(padded.iter().copied().map(Dim::Fixed))
        .collect();
    let mut laid = sums.reshape(whole);
    for (axis, &side) in padded.iter().enumerate() {
        let (before, after) = (pool.pads_before[axis], pool.pads_after[axis]);
        if before + after > 0 {
            laid = laid.slice(axis + 2, before, side - after);
        }
    }
    Ok(laid.reshape(shape))
}

/// 1 where `x` equals its maximum `y` along axes for the first time, else 0.
fn first_maximum<'t>(x: Expr<'t>, y: Expr<'t>, axes: &[usize]) -> Result<Expr<'t>> {
    let mut sides = vec![1; x.rank()];
    for &axis in axes {
        sides[axis] = fixed_from(&x.shape()[axis..=axis], 0)?[0];
    }
    let count: usize = sides.iter().product();
    let ranks = (1..=count).rev().map(|rank| rank as f32).collect();
    let ranked = as_float(x.equal(y)) * x.tape().floats(sides, ranks);
    Ok(as_float(ranked.equal(ranked.reduce(Reduction::Max, axes))))
}

/// `[N, C, ...]` to `[N * C, window, ...]`, by a convolution with kernels that pick one element each.
fn columns<'t>(pool: &Pool, x: Expr<'t>) -> Result<Expr<'t>> {
    let mut single = merge_channels(&x.shape())?;
    single.extend(&x.shape()[2..]);
    let with_channels = |pads: &[usize]| [&[0, 0], pads].concat();
    let padded = if pool
        .pads_before
        .iter()
        .chain(&pool.pads_after)
        .all(|&p| p == 0)
    {
        x.reshape(single)
    } else {
        // Finite, because the kernels' zeros times an infinity would be no number.
        x.reshape(single).apply(Op::Pad {
            mode: PadMode::Constant(f32::MIN),
            before: with_channels(&pool.pads_before),
            after: with_channels(&pool.pads_after),
        })
    };
    let unpadded = Convolution {
        pads_before: vec![0; pool.kernel.len()],
        pads_after: vec![0; pool.kernel.len()],
        ..window_convolution(pool)
    };
    Ok(padded.with(Op::Conv(unpadded), picker(pool, x)?))
}

/// For each element of a window, the kernel that picks it.
fn picker<'t>(pool: &Pool, x: Expr<'t>) -> Result<Expr<'t>> {
    let area = window_area(pool, LARGEST_PICKED)?;
    let identity = (0..area * area).map(|at| f32::from(at.is_multiple_of(area + 1)));
    let mut sides = vec![area, 1];
    sides.extend(&pool.kernel);
    Ok(x.tape().floats(sides, identity.collect()))
}

fn window_convolution(pool: &Pool) -> Convolution {
    Convolution {
        strides: pool.strides.clone(),
        pads_before: pool.pads_before.clone(),
        pads_after: pool.pads_after.clone(),
        dilations: pool.dilations.clone(),
        groups: 1,
    }
}

pub(super) fn dilated(pool: &Pool) -> bool {
    pool.dilations.iter().any(|&dilation| dilation != 1)
}

pub(super) fn max_pool<'t>(pool: &Pool, x: Expr<'t>) -> Result<Expr<'t>> {
    let shape = x.shape();
    let highest = columns(pool, x)?.reduce(Reduction::Max, [1]);
    let sides = highest.shape();
    Ok(highest.reshape([&shape[..2], &sides[2..]].concat()))
}

/// ONNX 18 averages without dilations, and would count what `ceil_mode` added.
pub(super) fn needs_counting(pool: &Pool, count_include_pad: bool) -> bool {
    dilated(pool) || count_include_pad && pool.ceil_extra.iter().any(|&extra| extra > 0)
}

/// The sum of each window, over its count.
pub(super) fn average_pool<'t>(
    pool: &Pool,
    count_include_pad: bool,
    x: Expr<'t>,
) -> Result<Expr<'t>> {
    let shape = x.shape();
    let mut single = merge_channels(&shape)?;
    single.extend(&shape[2..]);
    let kernel = [&[1, 1], &pool.kernel[..]].concat();
    let ones = x
        .tape()
        .floats(kernel, vec![1.0; window_area(pool, LARGEST_AVERAGE)?]);
    let sum = x
        .reshape(single)
        .with(Op::Conv(window_convolution(pool)), ones);
    let outputs = fixed_from(&sum.shape(), 2)?;
    let sum = sum.reshape([&shape[..2], &sum.shape()[2..]].concat());
    let sides = fixed_from(&shape, 2)?;
    Ok(sum / counts(pool, count_include_pad, &sides, &outputs, x.tape()))
}
