//! Expresses pooling and its gradient in plain ONNX.

use crate::{
    Error, Result,
    dim::Dim,
    op::{Convolution, Op, PadMode, Pool},
    rules::pool::{LARGEST_AVERAGE, counts, merge_channels, window_area},
    shape::{fixed_from, flat},
    tape::Expr,
    tensor::Tensor,
};

/// Maximum number of elements of a window that are handled one by one; each takes a few nodes.
const LARGEST_WINDOW: usize = 1 << 10;

/// Adds the cotangent of each window to its first element that equals the window's maximum `y`.
pub(super) fn max_pool_grad<'t>(
    pool: &Pool,
    x: Expr<'t>,
    y: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let shape = x.shape();
    let padded = padded(pool, x);
    let offsets = winners(pool, padded, y)?;
    let sums = scatter(pool, &padded.shape(), offsets, g)?;
    let sides = fixed_from(&shape, 2)?;
    let own = sides.iter().enumerate().fold(sums, |sums, (axis, &side)| {
        let before = pool.pads_before[axis];
        match before + pool.pads_after[axis] {
            0 => sums,
            _ => sums.slice(axis + 2, before, before + side),
        }
    });
    Ok(own)
}

/// The same, with the indices that ONNX Runtime's pooling returns together with the maxima.
pub(super) fn max_pool_grad_by_indices<'t>(
    pool: &Pool,
    x: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let shape = x.shape();
    let row = |value: Expr<'t>| -> Result<Expr<'t>> { Ok(value.reshape([flat(&value.shape())?])) };
    let zeros = x.tape().constant(Tensor::scalar(0.0));
    let sums = [
        zeros.expand([flat(&shape)?]),
        row(x.apply(Op::MaxPoolIndices(pool.clone())))?,
        row(g)?,
    ];
    let sums = x.tape().apply(Op::ScatterAdd { axis: 0 }, &sums);
    Ok(sums.reshape(shape))
}

/// For each window, returns the offset in its channel of the element that won, relative to the window's first element.
/// Window elements are compared from last to first, each for all windows at once. Engines are fast at slices,
/// comparisons and selections on whole tensors, and slow at maxima along an axis of a few elements.
fn winners<'t>(pool: &Pool, padded: Expr<'t>, y: Expr<'t>) -> Result<Expr<'t>> {
    let tape = y.tape();
    let offsets = places(
        &pool.kernel,
        &pool.dilations,
        &fixed_from(&padded.shape(), 2)?,
    );
    let mut elements = elements(pool, padded, &y.shape())?
        .into_iter()
        .zip(offsets)
        .rev();
    let offset =
        |offset: i64| Tensor::i64(Vec::new(), vec![offset]).map(|offset| tape.constant(offset));
    let last = match elements.next() {
        Some((_, last)) => offset(last)?.expand(y.shape()),
        None => return Err(Error::invalid("a window without elements has no maximum")),
    };
    elements.try_fold(last, |later, (element, at)| {
        Ok(element.equal(y).select(offset(at)?, later))
    })
}

/// Adds each window's cotangent to the element of its channel at the winner's offset from the window's first element.
fn scatter<'t>(pool: &Pool, padded: &[Dim], offsets: Expr<'t>, g: Expr<'t>) -> Result<Expr<'t>> {
    let (sides, outputs) = (fixed_from(padded, 2)?, fixed_from(&g.shape(), 2)?);
    let tape = g.tape();
    let windows = places(&outputs, &pool.strides, &sides);
    let channels = merge_channels(padded)?[0];
    let row = vec![channels, Dim::Fixed(windows.len())];
    let indices = offsets.reshape(row.clone()) + tape.constant(Tensor::vector(&windows));
    let zeros = tape
        .constant(Tensor::scalar(0.0))
        .expand(vec![channels, Dim::Fixed(sides.iter().product())]);
    let sums = [zeros, indices, g.reshape(row)];
    Ok(tape
        .apply(Op::ScatterAdd { axis: 1 }, &sums)
        .reshape(padded))
}

/// Returns the positions, in a channel with these sides, of a grid with these numbers of elements and spacings along
/// each axis.
fn places(counts: &[usize], steps: &[usize], sides: &[usize]) -> Vec<i64> {
    let axes = counts.iter().zip(steps).zip(sides);
    axes.fold(vec![0], |places, ((&count, &step), &side)| {
        let along = |place: i64| (0..count).map(move |at| place * side as i64 + (at * step) as i64);
        places.into_iter().flat_map(along).collect()
    })
}

/// For each element of a window, in order, returns its values in all windows.
fn elements<'t>(pool: &Pool, padded: Expr<'t>, outputs: &[Dim]) -> Result<Vec<Expr<'t>>> {
    let counts = fixed_from(outputs, 2)?;
    window_area(pool, LARGEST_WINDOW)?;
    let axes = 0..pool.kernel.len();
    let part = |axis: usize, at: usize| {
        let start = at * pool.dilations[axis];
        let end = start + (counts[axis] - 1) * pool.strides[axis] + 1;
        [start, end].map(|index| index as i64)
    };
    let starts = axes.clone().fold(vec![Vec::new()], |places, axis| {
        let behind = |place: Vec<[i64; 2]>| {
            (0..pool.kernel[axis]).map(move |at| [&place[..], &[part(axis, at)]].concat())
        };
        places.into_iter().flat_map(behind).collect::<Vec<_>>()
    });
    let steps: Vec<i64> = pool.strides.iter().map(|&stride| stride as i64).collect();
    let slices = starts.into_iter().map(|place| {
        padded.apply(Op::Slice {
            axes: axes.clone().map(|axis| axis + 2).collect(),
            starts: place.iter().map(|&[start, _]| start).collect(),
            ends: place.iter().map(|&[_, end]| end).collect(),
            steps: steps.clone(),
        })
    });
    Ok(slices.collect())
}

/// Pads with a border that never wins.
fn padded<'t>(pool: &Pool, x: Expr<'t>) -> Expr<'t> {
    if pool
        .pads_before
        .iter()
        .chain(&pool.pads_after)
        .all(|&pad| pad == 0)
    {
        return x;
    }
    let with_channels = |pads: &[usize]| [&[0, 0], pads].concat();
    x.apply(Op::Pad {
        mode: PadMode::Constant(f32::MIN),
        before: with_channels(&pool.pads_before),
        after: with_channels(&pool.pads_after),
    })
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

pub(super) fn max_pool<'t>(pool: &Pool, x: Expr<'t>, outputs: &[Dim]) -> Result<Expr<'t>> {
    let elements = elements(pool, padded(pool, x), outputs)?;
    let largest = elements
        .into_iter()
        .reduce(|largest, element| largest.with(Op::Max, element));
    largest.ok_or_else(|| Error::invalid("a window without elements has no maximum"))
}

/// Averages. In ONNX 18, averaging has no dilations and would count what `ceil_mode` adds.
pub(super) fn needs_counting(pool: &Pool, count_include_pad: bool) -> bool {
    dilated(pool) || count_include_pad && pool.ceil_extra.iter().any(|&extra| extra > 0)
}

/// The sum of each window divided by its count.
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
