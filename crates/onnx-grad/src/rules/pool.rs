//! Average pooling.

use crate::{
    Result,
    graph::Dim,
    op::{Convolution, Op, Pool},
    shape::fixed_from,
    tape::Expr,
};

/// Cotangent of an average pooling's input: each window's cotangent, over its count, to each of its elements.
pub(super) fn average<'t>(
    pool: &Pool,
    count_include_pad: bool,
    x: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let (sides, outputs) = (fixed_from(&x.shape(), 2)?, fixed_from(&g.shape(), 2)?);
    let share = g / counts(pool, count_include_pad, &sides, &outputs, g);
    if tiles(pool, &sides) {
        return Ok(spread(pool, &x.shape(), share));
    }

    // One channel at a time: channels move into the batch.
    let single = |value: Expr<'t>| -> Result<Expr<'t>> {
        let shape = value.shape();
        let mut apart = merge_channels(&shape)?;
        apart.extend_from_slice(&shape[2..]);
        Ok(value.reshape(apart))
    };
    let mut kernel = vec![1, 1];
    kernel.extend(&pool.kernel);
    let ones = vec![1.0; pool.kernel.iter().product()];
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

/// `[N, C]` as one axis `N * C` and a channel axis of 1.
pub(crate) fn merge_channels(shape: &[Dim]) -> Result<Vec<Dim>> {
    let channels = fixed_from(&shape[1..2], 0)?[0];
    let merged = match shape[0] {
        Dim::Fixed(side) => Dim::Fixed(side * channels),
        Dim::Batch(factor) => Dim::Batch(factor * channels),
    };
    Ok(vec![merged, Dim::Fixed(1)])
}

/// Whether the windows cover the input without gap, overlap or padding.
pub(crate) fn tiles(pool: &Pool, sides: &[usize]) -> bool {
    let pads = pool.pads_before.iter().chain(&pool.pads_after);
    pool.kernel == pool.strides
        && pool.dilations.iter().all(|&dilation| dilation == 1)
        && pads.into_iter().all(|&pad| pad == 0)
        && sides
            .iter()
            .zip(&pool.kernel)
            .all(|(side, kernel)| side.is_multiple_of(*kernel))
}

/// Every window's value to each of its elements, for windows that tile the input.
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

/// How many elements each window averages: one number, or a map over the output's sides.
pub(crate) fn counts<'t>(
    pool: &Pool,
    count_include_pad: bool,
    sides: &[usize],
    outputs: &[usize],
    g: Expr<'t>,
) -> Expr<'t> {
    let mut map = vec![1.0_f32];
    for axis in 0..sides.len() {
        let before = pool.pads_before[axis];
        let counted = if count_include_pad {
            0..before + sides[axis] + pool.pads_after[axis] - pool.ceil_extra[axis]
        } else {
            before..before + sides[axis]
        };
        let along = (0..outputs[axis]).map(|window| {
            let elements = (0..pool.kernel[axis])
                .map(|element| window * pool.strides[axis] + element * pool.dilations[axis]);
            elements.filter(|at| counted.contains(at)).count() as f32
        });
        let along: Vec<f32> = along.collect();
        map = map
            .iter()
            .flat_map(|count| along.iter().map(move |other| count * other))
            .collect();
    }
    if map.iter().all(|count| *count == map[0]) {
        map.truncate(1);
        return g.tape().floats(Vec::new(), map);
    }
    let mut shape = vec![1, 1];
    shape.extend(outputs);
    g.tape().floats(shape, map)
}
