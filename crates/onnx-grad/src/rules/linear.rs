//! Adjoints of linear operators that move, select or combine elements.

use crate::{
    Result,
    dim::Dim,
    op::{Op, PadMode},
    shape::fixed_from,
    tape::Expr,
    tensor::Tensor,
};

/// Returns the inverse of `perm`.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

/// Returns the part of the cotangent that belongs to one of the joined tensors.
pub(super) fn concat<'t>(
    axis: usize,
    inputs: &[Expr<'t>],
    input: usize,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let sides: Vec<Dim> = inputs.iter().map(|part| part.shape()[axis]).collect();
    let sides = fixed_from(&sides, 0)?;
    let start = sides[..input].iter().sum();
    Ok(g.slice(axis, start, start + sides[input]))
}

/// Returns the inner part. Mirrored and repeated elements add to the elements that they copy.
pub(super) fn pad<'t>(
    mode: PadMode,
    before: &[usize],
    after: &[usize],
    shape: &[Dim],
    mut g: Expr<'t>,
) -> Expr<'t> {
    for (axis, &dim) in shape.iter().enumerate() {
        let (Dim::Fixed(side), true) = (dim, before[axis] + after[axis] > 0) else {
            continue;
        };
        let (start, end) = (before[axis], before[axis] + side);
        let inner = g.slice(axis, start, end);
        let ends = [(g, 0, start), (g, end, end + after[axis])];
        let [low, high] = ends.map(|(g, from, to)| (to > from).then(|| g.slice(axis, from, to)));
        g = match mode {
            PadMode::Constant(_) => inner,
            PadMode::Reflect => [
                low.map(|low| low.flip(axis).pad(axis, 1, side - 1 - before[axis])),
                high.map(|high| high.flip(axis).pad(axis, side - 1 - after[axis], 1)),
            ]
            .into_iter()
            .flatten()
            .fold(inner, |sum, part| sum + part),
            PadMode::Edge => [
                low.map(|low| low.sum([axis]).pad(axis, 0, side - 1)),
                high.map(|high| high.sum([axis]).pad(axis, side - 1, 0)),
            ]
            .into_iter()
            .flatten()
            .fold(inner, |sum, part| sum + part),
        };
    }
    g
}

/// Sums over the repetitions.
pub(super) fn tile<'t>(repeats: &[usize], shape: &[Dim], g: Expr<'t>) -> Expr<'t> {
    let apart: Vec<Dim> = repeats
        .iter()
        .zip(shape)
        .flat_map(|(&repeat, &dim)| [Dim::Fixed(repeat), dim])
        .collect();
    let repetitions: Vec<usize> = (0..shape.len()).map(|axis| 2 * axis).collect();
    g.reshape(apart).sum(repetitions).reshape(shape)
}

/// Adds each picked slice back to its origin.
///
/// Constant indices that pick nothing twice (a reversed channel order, one token) need no scatter: the adjoint is a
/// gather, with zeros for everything that was not picked.
pub(super) fn gather<'t>(
    axis: usize,
    data: Expr<'t>,
    indices: Expr<'t>,
    g: Expr<'t>,
) -> Result<Expr<'t>> {
    let shape = data.shape();
    let count: usize = fixed_from(&indices.shape(), 0)?.iter().product();
    let side = fixed_from(&shape[axis..=axis], 0)?[0];
    let mut flat = shape.clone();
    flat[axis] = Dim::Fixed(count);
    let g = g.reshape(flat.clone());
    if let Some(origins) = origins(indices, side) {
        let padded = if origins.contains(&(count as i64)) {
            g.pad(axis, 0, 1)
        } else {
            g
        };
        let origins = g.tape().constant(Tensor::vector(&origins));
        return Ok(padded.with(Op::Gather { axis }, origins));
    }
    let mut column = vec![Dim::Fixed(1); shape.len()];
    column[axis] = Dim::Fixed(count);
    Ok(scatter(
        axis,
        shape,
        indices.reshape(column).expand(flat),
        g,
    ))
}

/// Returns the destination of each index of the gathered axis, or `count` if it was not picked. Returns `None` unless
/// the indices are constant, in range, and pick nothing twice.
fn origins(indices: Expr<'_>, side: usize) -> Option<Vec<i64>> {
    let constant = indices.as_constant()?;
    let indices = constant.as_i64()?;
    let mut origins = vec![None; side];
    for (to, &from) in indices.iter().enumerate() {
        let from = if from < 0 { from + side as i64 } else { from };
        let origin = origins.get_mut(usize::try_from(from).ok()?)?;
        if origin.replace(to as i64).is_some() {
            return None;
        }
    }
    let nowhere = indices.len() as i64;
    Some(
        origins
            .into_iter()
            .map(|to| to.unwrap_or(nowhere))
            .collect(),
    )
}

/// Adds each picked element back to its origin.
pub(super) fn gather_elements<'t>(
    axis: usize,
    data: Expr<'t>,
    indices: Expr<'t>,
    g: Expr<'t>,
) -> Expr<'t> {
    scatter(axis, data.shape(), indices, g)
}

fn scatter<'t>(axis: usize, shape: Vec<Dim>, indices: Expr<'t>, updates: Expr<'t>) -> Expr<'t> {
    let tape = updates.tape();
    let zeros = tape.constant(Tensor::scalar(0.0)).expand(shape);
    tape.apply(Op::ScatterAdd { axis }, &[zeros, indices, updates])
}

/// Returns the cotangent of A in `alpha * A' B' + beta * C`.
pub(super) fn gemm_a<'t>(
    alpha: f32,
    trans_a: bool,
    trans_b: bool,
    b: Expr<'t>,
    g: Expr<'t>,
) -> Expr<'t> {
    if trans_a {
        product(alpha, b, trans_b, g, true)
    } else {
        product(alpha, g, false, b, !trans_b)
    }
}

/// Returns the cotangent of B in `alpha * A' B' + beta * C`.
pub(super) fn gemm_b<'t>(
    alpha: f32,
    trans_a: bool,
    trans_b: bool,
    a: Expr<'t>,
    g: Expr<'t>,
) -> Expr<'t> {
    if trans_b {
        product(alpha, g, true, a, trans_a)
    } else {
        product(alpha, a, !trans_a, g, false)
    }
}

fn product<'t>(alpha: f32, a: Expr<'t>, trans_a: bool, b: Expr<'t>, trans_b: bool) -> Expr<'t> {
    a.with(
        Op::Gemm {
            alpha,
            beta: 0.0,
            trans_a,
            trans_b,
        },
        b,
    )
}
