//! The shapes of sliding-window operators: convolutions and poolings.

use super::{Shape, display, expect_type, fixed_from};
use crate::{
    Error, Result,
    dim::Dim,
    node::Node,
    op::{Convolution, Pool},
    tensor::DType,
};

fn check_convolution(convolution: &Convolution, spatial: usize) -> Result<()> {
    let Convolution {
        strides,
        pads_before,
        pads_after,
        dilations,
        groups,
    } = convolution;
    let lengths = [
        strides.len(),
        pads_before.len(),
        pads_after.len(),
        dilations.len(),
    ];
    if lengths != [spatial; 4] {
        return Err(Error::invalid(
            "has attributes whose rank differs from its input's",
        ));
    }
    if *groups == 0 || strides.contains(&0) || dilations.contains(&0) {
        return Err(Error::invalid("has a group, stride or dilation of 0"));
    }
    Ok(())
}

/// Returns the number of positions of a window along one axis.
fn windows(
    side: usize,
    pads: usize,
    kernel: usize,
    dilation: usize,
    stride: usize,
) -> Result<usize> {
    let reach = kernel
        .checked_sub(1)
        .and_then(|n| n.checked_mul(dilation))
        .and_then(|n| n.checked_add(1))
        .ok_or_else(|| Error::invalid("has a kernel side of 0"))?;
    (side + pads)
        .checked_sub(reach)
        .map(|room| room / stride + 1)
        .ok_or_else(|| {
            Error::invalid(format!(
                "has a kernel reaching {reach} over a side of {}",
                side + pads
            ))
        })
}

pub(super) fn conv(inputs: &[&Node], convolution: &Convolution) -> Result<Shape> {
    inputs
        .iter()
        .try_for_each(|node| expect_type(node, DType::F32))?;
    let (x, weight) = (&inputs[0].shape, &inputs[1].shape);
    let mismatch = || {
        Error::invalid(format!(
            "cannot convolve {} with {} in {} groups",
            display(x),
            display(weight),
            convolution.groups
        ))
    };
    if x.len() < 3 || weight.len() != x.len() {
        return Err(mismatch());
    }
    check_convolution(convolution, x.len() - 2)?;
    // The gradient of a weight sums over the batch, which then takes the place of the channels.
    let inner = match weight[1] {
        Dim::Fixed(side) => side.checked_mul(convolution.groups).map(Dim::Fixed),
        Dim::Batch(factor) => factor.checked_mul(convolution.groups).map(Dim::Batch),
    };
    let outputs = fixed_from(&weight[..1], 0)?[0];
    if Some(x[1]) != inner || !outputs.is_multiple_of(convolution.groups) {
        return Err(mismatch());
    }
    let (sides, kernel) = (fixed_from(x, 2)?, fixed_from(weight, 2)?);
    if let Some(bias) = inputs.get(2)
        && bias.shape != [Dim::Fixed(outputs)]
    {
        return Err(Error::invalid(
            "has a bias that is not one value per channel",
        ));
    }
    let mut shape = vec![x[0], Dim::Fixed(outputs)];
    for axis in 0..x.len() - 2 {
        shape.push(Dim::Fixed(windows(
            sides[axis],
            convolution.pads_before[axis] + convolution.pads_after[axis],
            kernel[axis],
            convolution.dilations[axis],
            convolution.strides[axis],
        )?));
    }
    Ok(shape)
}

pub(super) fn conv_transpose(
    inputs: &[&Node],
    convolution: &Convolution,
    output_padding: &[usize],
) -> Result<Shape> {
    inputs
        .iter()
        .try_for_each(|node| expect_type(node, DType::F32))?;
    let (x, weight) = (&inputs[0].shape, fixed_from(&inputs[1].shape, 0)?);
    if x.len() < 3 || weight.len() != x.len() {
        return Err(Error::invalid(format!(
            "cannot convolve {} with {weight:?}",
            display(x)
        )));
    }
    check_convolution(convolution, x.len() - 2)?;
    let sides = fixed_from(x, 1)?;
    if sides[0] != weight[0]
        || !weight[0].is_multiple_of(convolution.groups)
        || output_padding.len() != x.len() - 2
    {
        return Err(Error::invalid(format!(
            "cannot convolve {} with {weight:?}",
            display(x)
        )));
    }
    let mut shape = vec![x[0], Dim::Fixed(weight[1] * convolution.groups)];
    for axis in 0..x.len() - 2 {
        let reach = (weight[axis + 2].max(1) - 1) * convolution.dilations[axis] + 1;
        let full = sides[axis + 1].max(1).saturating_sub(1) * convolution.strides[axis]
            + reach
            + output_padding[axis];
        let side = full
            .checked_sub(convolution.pads_before[axis] + convolution.pads_after[axis])
            .ok_or_else(|| Error::invalid("cuts off more elements than there are"))?;
        shape.push(Dim::Fixed(side));
    }
    Ok(shape)
}

pub(super) fn pooled(x: &[Dim], pool: &Pool) -> Result<Shape> {
    let spatial = pool.kernel.len();
    let lengths = [
        pool.strides.len(),
        pool.pads_before.len(),
        pool.pads_after.len(),
        pool.dilations.len(),
        pool.ceil_extra.len(),
    ];
    if lengths != [spatial; 5] || x.len() != spatial + 2 {
        return Err(Error::invalid(
            "has attributes whose rank differs from its input's",
        ));
    }
    if pool.strides.contains(&0) || pool.dilations.contains(&0) {
        return Err(Error::invalid("has a stride or dilation of 0"));
    }
    let sides = fixed_from(x, 1)?;
    let mut shape = x[..2].to_vec();
    for axis in 0..spatial {
        shape.push(Dim::Fixed(windows(
            sides[axis + 1],
            pool.pads_before[axis] + pool.pads_after[axis],
            pool.kernel[axis],
            pool.dilations[axis],
            pool.strides[axis],
        )?));
    }
    Ok(shape)
}
