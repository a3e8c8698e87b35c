//! Convolutions. The cotangents of all their kinds are again convolutions.

use crate::{
    Result,
    dim::Dim,
    op::{Convolution, Op},
    shape::fixed_from,
    tape::Expr,
};

/// Returns the cotangent of a convolution's input of shape `shape`.
///
/// With unit strides this is a convolution with the kernel flipped and its channels swapped, which engines run much
/// faster than a transposed convolution. Constant folding rearranges frozen weights.
pub(super) fn input<'t>(
    convolution: &Convolution,
    shape: &[Dim],
    weight: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let Convolution {
        strides,
        pads_before,
        pads_after,
        dilations,
        groups,
    } = convolution;
    let sides = fixed_from(shape, 2)?;
    let outputs = fixed_from(&g.shape(), 2)?;
    let last: Vec<usize> = fixed_from(&weight.shape(), 2)?
        .iter()
        .zip(dilations)
        .map(|(side, dilation)| (side - 1) * dilation)
        .collect();

    let rest = |pads: &[usize]| -> Option<Vec<usize>> {
        let pairs = last.iter().zip(pads);
        pairs.map(|(last, pad)| last.checked_sub(*pad)).collect()
    };
    if strides.iter().all(|&stride| stride == 1)
        && let (Some(pads_before), Some(pads_after)) = (rest(pads_before), rest(pads_after))
    {
        let reverse = Convolution {
            pads_before,
            pads_after,
            ..convolution.clone()
        };
        return Ok(g.with(Op::Conv(reverse), swap_channels(flip(weight), *groups)?));
    }

    let output_padding = (0..sides.len())
        .map(|axis| {
            let padded = sides[axis] + pads_before[axis] + pads_after[axis];
            padded - last[axis] - 1 - (outputs[axis] - 1) * strides[axis]
        })
        .collect();
    let transposed = Op::ConvTranspose {
        convolution: convolution.clone(),
        output_padding,
    };
    Ok(g.with(transposed, weight))
}

/// Returns the cotangent of a transposed convolution's input of shape `shape`.
pub(super) fn transposed_input<'t>(
    convolution: &Convolution,
    shape: &[Dim],
    weight: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let whole = g.with(Op::Conv(convolution.clone()), weight);
    // An output padding of at least a stride leaves room for windows without an element of the input.
    let sides = fixed_from(shape, 2)?.into_iter().enumerate();
    Ok(sides.fold(whole, |whole, (axis, side)| {
        if whole.shape()[axis + 2] == Dim::Fixed(side) {
            whole
        } else {
            whole.slice(axis + 2, 0, side)
        }
    }))
}

/// Returns the cotangent of a weight of shape `shape` that maps `x` to a value with cotangent `g`.
pub(super) fn weight<'t>(
    convolution: &Convolution,
    x: Expr<'t>,
    shape: &[Dim],
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let gradient = Op::ConvWeightGrad {
        convolution: convolution.clone(),
        kernel: fixed_from(shape, 2)?,
    };
    Ok(x.with(gradient, g))
}

/// Returns the cotangent of a bias: the sum by channel.
pub(super) fn bias(g: Expr<'_>) -> Expr<'_> {
    let axes: Vec<usize> = (0..g.rank()).filter(|&axis| axis != 1).collect();
    let channels = g.shape()[1];
    g.sum(axes).reshape([channels])
}

fn flip(weight: Expr<'_>) -> Expr<'_> {
    (2..weight.rank()).fold(weight, |weight, axis| weight.flip(axis))
}

/// Swaps input and output channels within each group: `[M, C / groups, ...]` becomes `[C, M / groups, ...]`.
fn swap_channels(weight: Expr<'_>, groups: usize) -> Result<Expr<'_>> {
    let sides = fixed_from(&weight.shape(), 0)?;
    let kernel = sides[2..].iter().copied();
    let (outputs, inputs) = (sides[0] / groups, sides[1]);
    let fixed = |front: &[usize]| -> Vec<Dim> {
        let sides = front.iter().copied().chain(kernel.clone());
        sides.map(Dim::Fixed).collect()
    };
    let mut perm: Vec<usize> = (0..=sides.len()).collect();
    perm.swap(1, 2);
    Ok(weight
        .reshape(fixed(&[groups, outputs, inputs]))
        .transpose(perm)
        .reshape(fixed(&[groups * inputs, outputs])))
}
