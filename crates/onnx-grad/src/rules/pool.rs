//! Average pooling.

use crate::{
    Error, Result,
    dim::Dim,
    op::{Convolution, Op, Pool},
    shape::fixed_from,
    tape::{Expr, Tape},
};

/// Maximum number of elements of a window that is averaged by a convolution.
pub(crate) const LARGEST_AVERAGE: usize = 1 << 16;

/// Returns the cotangent of an average pooling's input: each window's cotangent divided by its count goes to each
/// element.
pub(super) fn average<'t>(
    pool: &Pool,
    count_include_pad: bool,
    x: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let (sides, outputs) = (fixed_from(&x.shape(), 2)?, fixed_from(&g.shape(), 2)?);
    let share = g / counts(pool, count_include_pad, &sides, &outputs, g.tape());
    if tiles(pool, &sides) {
        return Ok(spread(pool, &x.shape(), share));
    }

    // Channels move into the batch, so that there is one channel at a time.
    let single = |value: Expr<'t>| -> Result<Expr<'t>> {
        let shape = value.shape();
        let mut apart = merge_channels(&shape)?;
        apart.extend_from_slice(&shape[2..]);
        Ok(value.reshape(apart))
    };
    let mut kernel = vec![1, 1];
    kernel.extend(&pool.kernel);
    let ones = vec![1.0; window_area(pool, LARGEST_AVERAGE)?];
    let output_padding = (0..sides.len())
        .map(|axis| {
            let padded = sides[axis] + pool.pads_before[axis] + pool.pads_after[axis];
            let last = (pool.kernel[axis] - 1) * pool.dilations[axis];
            padded - last - 1 - (outputs[axis] - 1) * pool.strides[axis]
        })
        .collect();
    let transposed = Op::ConvTranspose {
        convolution: Convolution {
            strides: pool.strides.clone(),
            pads_before: pool.pads_before.clone(),
            pads_after: pool.pads_after.clone(),
            dilations: pool.dilations.clone(),
            groups: 1,
        },
        output_padding,
    };
    let weight = g.tape().floats(kernel, ones);
    Ok(single(share)?.with(transposed, weight).reshape(x.shape()))
}

/// Merges `[N, C]` into one axis `N * C` and adds a channel axis of 1.
pub(crate) fn merge_channels(shape: &[Dim]) -> Result<Vec<Dim>> {
    let channels = fixed_from(&shape[1..2], 0)?[0];
    let merged = match shape[0] {
        Dim::Fixed(side) => Dim::Fixed(side * channels),
        Dim::Batch(factor) => Dim::Batch(factor * channels),
    };
    Ok(vec![merged, Dim::Fixed(1)])
}

/// Returns whether the windows cover the input without gap, overlap or padding.
pub(crate) fn tiles(pool: &Pool, sides: &[usize]) -> bool {
    (0..sides.len()).all(|axis| {
        let (side, kernel) = (sides[axis], pool.kernel[axis]);
        let covered = side == kernel || pool.strides[axis] == kernel && side.is_multiple_of(kernel);
        covered
            && pool.dilations[axis] == 1
            && pool.pads_before[axis] == 0
            && pool.pads_after[axis] == 0
    })
}

/// Returns the number of elements of a window. Fails above `limit`, because a kernel of that size is written to the
/// file.
pub(crate) fn window_area(pool: &Pool, limit: usize) -> Result<usize> {
    let area = (pool.kernel.iter()).try_fold(1_usize, |area, &side| area.checked_mul(side));
    area.filter(|&area| area <= limit).ok_or_else(|| {
        Error::unsupported(format!(
            "pools windows of {:?}, more than {limit} elements",
            pool.kernel
        ))
    })
}

/// Copies every window's value to each of its elements, for windows that tile the input.
fn spread<'t>(pool: &Pool, shape: &[Dim], share: Expr<'t>) -> Expr<'t> {
    let mut apart = shape[..2].to_vec();
    let mut whole = shape[..2].to_vec();
    for (axis, &side) in pool.kernel.iter().enumerate() {
        let windows = share.shape()[axis + 2];
        apart.extend([windows, Dim::Fixed(1)]);
        whole.extend([windows, Dim::Fixed(side)]);
    }
    share.reshape(apart).expand(whole).reshape(shape)
}

/// Returns the number of elements that each window averages: the product of one number or one vector for each axis.
pub(crate) fn counts<'t>(
    pool: &Pool,
    count_include_pad: bool,
    sides: &[usize],
    outputs: &[usize],
    tape: &'t Tape,
) -> Expr<'t> {
    let along = |axis: usize| {
        let before = pool.pads_before[axis];
        let counted = if count_include_pad {
            0..before + sides[axis] + pool.pads_after[axis] - pool.ceil_extra[axis]
        } else {
            before..before + sides[axis]
        };
        let counts = (0..outputs[axis]).map(|window| {
            let elements = (0..pool.kernel[axis])
                .map(|element| window * pool.strides[axis] + element * pool.dilations[axis]);
            elements.filter(|at| counted.contains(at)).count() as f32
        });
        let mut counts: Vec<f32> = counts.collect();
        let mut shape = vec![1; sides.len() - axis];
        if counts.iter().all(|count| *count == counts[0]) {
            counts.truncate(1);
        }
        shape[0] = counts.len();
        tape.floats(shape, counts)
    };
    (1..sides.len()).fold(along(0), |product, axis| product * along(axis))
}
