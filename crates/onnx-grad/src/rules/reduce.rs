//! Reductions.

use crate::{
    Error, Result,
    dim::Dim,
    op::{Op, Reduction},
    shape::fixed_from,
    tape::Expr,
    tensor::{DType, Tensor},
};

/// The maximum length of a product that can be differentiated; memory grows with its square.
const LONGEST_PRODUCT: usize = 1024;

/// Returns the cotangent of a reduction's input. Equal extremes share it equally.
pub(super) fn reduce<'t>(
    kind: Reduction,
    axes: &[usize],
    x: Expr<'t>,
    y: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let mut kept = x.shape();
    for &axis in axes {
        kept[axis] = Dim::Fixed(1);
    }
    let (y, g) = (y.reshape(kept.clone()), g.reshape(kept));
    Ok(match kind {
        Reduction::Sum => g.expand(x.shape()),
        Reduction::Mean => {
            let reduced: Vec<Dim> = axes.iter().map(|&axis| x.shape()[axis]).collect();
            let count: usize = fixed_from(&reduced, 0)?.iter().product();
            (g / count as f32).expand(x.shape())
        }
        Reduction::Max | Reduction::Min => {
            let extreme = x.equal(y).apply(Op::Cast { to: DType::F32 });
            extreme * (g / extreme.sum(axes))
        }
        Reduction::Prod => g * product_of_others(axes, x)?,
    })
}

/// Returns for each element the product of the other elements in its reduction; exact if some are 0.
fn product_of_others<'t>(axes: &[usize], x: Expr<'t>) -> Result<Expr<'t>> {
    let shape = x.shape();
    let reduced: Vec<Dim> = axes.iter().map(|&axis| shape[axis]).collect();
    let count: usize = fixed_from(&reduced, 0)?.iter().product();
    if count > LONGEST_PRODUCT {
        return Err(Error::unsupported(format!(
            "multiplies {count} elements, more than {LONGEST_PRODUCT}"
        )));
    }
    // Moves the reduced axes to the end and merges them, next to a copy that leaves one element out.
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let perm: Vec<usize> = kept.clone().chain(axes.iter().copied()).collect();
    let moved = x.transpose(perm.clone());
    let mut rows: Vec<Dim> = kept.map(|axis| shape[axis]).collect();
    rows.extend([Dim::Fixed(1), Dim::Fixed(count)]);
    let rank = rows.len();
    let diagonal: Vec<bool> = (0..count * count)
        .map(|at| at.is_multiple_of(count + 1))
        .collect();
    let diagonal = x.tape().constant(Tensor::bool([count, count], diagonal)?);
    Ok(diagonal
        .select(1.0, moved.reshape(rows))
        .reduce(Reduction::Prod, [rank - 1])
        .reshape(moved.shape())
        .transpose(super::linear::inverse(&perm)))
}
