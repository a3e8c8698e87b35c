//! The adjoint of slices.

use crate::{
    Result,
    dim::Dim,
    op::{Convolution, Op, PadMode},
    shape::{fixed_from, flat, size},
    tape::Expr,
};

/// Returns the cotangent of a slice's input: zeros where the slice took nothing.
pub(super) fn slice<'t>(
    axes: &[usize],
    starts: &[i64],
    steps: &[i64],
    shape: &[Dim],
    mut g: Expr<'t>,
) -> Result<Expr<'t>> {
    let mut strides = vec![1; shape.len()];
    let [mut before, mut between, mut after] = [(); 3].map(|()| vec![0; shape.len()]);
    for (at, &axis) in axes.iter().enumerate() {
        let sides = fixed_from(&[shape[axis], g.shape()[axis]], 0)?;
        let (side, count) = (sides[0], sides[1]);
        if count == 0 {
            after[axis] = side;
            continue;
        }
        let step = steps[at].unsigned_abs() as usize;
        let mut first = starts[at] as usize;
        if steps[at] < 0 {
            g = g.flip(axis);
            first -= (count - 1) * step;
        }
        let rest = side - first - ((count - 1) * step + 1);
        if count > 1 {
            strides[axis] = step;
            between[axis] = rest.min(step - 1);
        }
        before[axis] = first;
        after[axis] = rest - between[axis];
    }
    let spread = spread(g, &strides, &between)?;
    if before.iter().chain(&after).all(|&zeros| zeros == 0) {
        return Ok(spread);
    }
    Ok(spread.apply(Op::Pad {
        mode: PadMode::Constant(0.0),
        before,
        after,
    }))
}

/// Inserts `strides[axis] - 1` zeros between neighbours along each axis, and `behind[axis]` zeros after the last
/// element, at most the same number.
fn spread<'t>(mut g: Expr<'t>, strides: &[usize], behind: &[usize]) -> Result<Expr<'t>> {
    let rank = strides.len();
    let mut axes: Vec<usize> = (0..rank).filter(|&axis| strides[axis] > 1).collect();
    while let Some(axis) = axes.pop() {
        g = if !is_plane(&g.shape(), axis)? {
            pad_between(g, axis, strides[axis], behind[axis])
        } else if let Some(rows) = axes.pop_if(|rows| *rows + 2 == rank && axis + 1 == rank) {
            let both = |values: &[usize]| [values[rows], values[axis]];
            spread_plane(g, rows, both(strides), both(behind))?
        } else {
            spread_plane(g, axis, [strides[axis], 1], [behind[axis], 0])?
        };
    }
    Ok(g)
}

/// Returns whether an axis and all axes after it have a fixed, non-zero number of elements.
fn is_plane(shape: &[Dim], axis: usize) -> Result<bool> {
    let (before, behind) = (size(&shape[..axis])?, size(&shape[axis..])?);
    Ok(before.0 > 0 && before.1 < 2 && behind.0 > 0 && behind.1 == 0)
}

/// Applies [`spread`] along `axis` by the first stride, and along all axes after it, merged into one, by the second. It
/// is a transposed convolution with a kernel of one element, because engines pad single elements slowly.
fn spread_plane<'t>(
    g: Expr<'t>,
    axis: usize,
    strides: [usize; 2],
    behind: [usize; 2],
) -> Result<Expr<'t>> {
    let mut shape = g.shape();
    let sides = fixed_from(&shape, axis)?;
    let [rows, columns] = [sides[0], sides[1..].iter().product()];
    let planes = flat(&shape[..axis])?;
    let spread = |count: usize, at: usize| Dim::Fixed((count - 1) * strides[at] + 1 + behind[at]);
    shape[axis] = spread(rows, 0);
    if strides[1] > 1 {
        shape[axis + 1] = spread(columns, 1);
    }
    let transposed = Op::ConvTranspose {
        convolution: Convolution {
            strides: strides.to_vec(),
            pads_before: vec![0; 2],
            pads_after: vec![0; 2],
            dilations: vec![1; 2],
            groups: 1,
        },
        output_padding: behind.to_vec(),
    };
    let one = g.tape().floats(vec![1; 4], vec![1.0]);
    let plane = vec![planes, Dim::Fixed(1), Dim::Fixed(rows), Dim::Fixed(columns)];
    Ok(g.reshape(plane).with(transposed, one).reshape(shape))
}

/// Applies [`spread`] along one axis, whatever the other axes are.
fn pad_between(g: Expr<'_>, axis: usize, stride: usize, behind: usize) -> Expr<'_> {
    let (mut apart, mut joined) = (g.shape(), g.shape());
    let Dim::Fixed(count) = apart[axis] else {
        return g;
    };
    apart.insert(axis + 1, Dim::Fixed(1));
    joined[axis] = Dim::Fixed(count * stride);
    g.reshape(apart)
        .pad(axis + 1, 0, stride - 1)
        .reshape(joined)
        .slice(axis, 0, (count - 1) * stride + 1 + behind)
}
