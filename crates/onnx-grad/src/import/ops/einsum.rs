//! `Einsum`, as matrix products.

use std::collections::BTreeSet;

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call},
    node::ValueId,
    tape::Expr,
    tensor::Tensor,
};

/// The label of an axis: a letter of the equation, or a position in an ellipsis, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A value whose axes have distinct labels.
#[derive(Clone)]
struct Labelled<'t> {
    value: Expr<'t>,
    labels: Vec<Label>,
}

pub(super) fn einsum(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = call.all_inputs()?;
    let equation: String = call.string("equation", "")?.split_whitespace().collect();
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (&equation[..], None),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    if terms.len() != inputs.len() {
        return Err(call.invalid(format!(
            "has {} terms in {equation:?} for {} inputs",
            terms.len(),
            inputs.len()
        )));
    }
    let labels: Vec<Vec<Label>> = (terms.iter().zip(&inputs))
        .map(|(term, &input)| labels(call, term, importer.rank(input)))
        .collect::<Result<_>>()?;
    let used: Vec<Label> = labels.iter().flatten().copied().collect();
    let ellipsis = used.iter().filter_map(|label| match label {
        Label::Ellipsis(place) => Some(place + 1),
        Label::Letter(_) => None,
    });
    let ellipsis = ellipsis.max().unwrap_or(0);
    let kept = match result {
        Some(result) => {
            let letters = result.replace("...", "").chars().count();
            let places = if result.contains("...") { ellipsis } else { 0 };
            self::labels(call, result, letters + places)?
        }
        None => implicit(&used, ellipsis),
    };
    let known = |label: &Label| used.contains(label);
    if !kept.iter().all(known) || kept.iter().collect::<BTreeSet<_>>().len() != kept.len() {
        return Err(call.invalid(format!("has the invalid result {result:?} in {equation:?}")));
    }
    importer.formula(call, &inputs, |values| {
        let mut terms =
            (values.iter().zip(&labels)).map(|(&value, labels)| diagonal(value, labels));
        let mut product = terms.next().expect("all_inputs has at least one")?;
        for (at, term) in terms.enumerate() {
            let needed: BTreeSet<Label> = labels[at + 2..]
                .iter()
                .flatten()
                .chain(&kept)
                .copied()
                .collect();
            product = contract(product, term?, &needed)?;
        }
        let product = product.summed(|label| kept.contains(&label));
        Ok(product.ordered(&kept).value)
    })
}

/// Returns the labels of a term's axes.
fn labels(call: &Call, term: &str, rank: usize) -> Result<Vec<Label>> {
    let refused = || call.invalid(format!("has the term {term:?} for an input of rank {rank}"));
    let (before, after) = term.split_once("...").unwrap_or((term, ""));
    let letters = before.chars().count() + after.chars().count();
    let places = rank.checked_sub(letters).ok_or_else(refused)?;
    let is_term = before.chars().chain(after.chars()).all(char::is_alphabetic);
    if !is_term || places > 0 && !term.contains("...") {
        return Err(refused());
    }
    let ellipsis = (0..places).rev().map(Label::Ellipsis);
    let letters = |text: &str| text.chars().map(Label::Letter).collect::<Vec<_>>();
    Ok(letters(before)
        .into_iter()
        .chain(ellipsis)
        .chain(letters(after))
        .collect())
}

/// Returns the result of an equation without an arrow: the ellipsis, then the letters that occur once.
fn implicit(used: &[Label], ellipsis: usize) -> Vec<Label> {
    let once = |label: &&Label| {
        matches!(label, Label::Letter(_)) && used.iter().filter(|other| other == label).count() == 1
    };
    let letters: BTreeSet<Label> = used.iter().filter(once).copied().collect();
    (0..ellipsis)
        .rev()
        .map(Label::Ellipsis)
        .chain(letters)
        .collect()
}

/// Merges the axes of a repeated label into one axis, their diagonal.
fn diagonal<'t>(value: Expr<'t>, labels: &[Label]) -> Result<Labelled<'t>> {
    let mut term = Labelled {
        value,
        labels: labels.to_vec(),
    };
    while let Some((first, second)) = repeated(&term.labels) {
        let shape = term.value.shape();
        let side = crate::shape::fixed_from(&shape[first..=first], 0)?[0];
        let mut sides = vec![1; shape.len()];
        (sides[first], sides[second]) = (side, side);
        let ones = (0..side * side).map(|at| at.is_multiple_of(side + 1));
        let mask = Tensor::bool(sides, ones.collect::<Vec<_>>())?;
        let kept = term.value.tape().constant(mask).select(term.value, 0.0);
        let mut without = shape;
        without.remove(second);
        term.value = kept.sum([second]).reshape(without);
        term.labels.remove(second);
    }
    Ok(term)
}

/// Returns the positions of the first label that occurs twice.
fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|second| {
        let first = labels[..second]
            .iter()
            .position(|label| *label == labels[second])?;
        Some((first, second))
    })
}

impl<'t> Labelled<'t> {
    /// Sums over the axes whose labels are not kept.
    fn summed(self, kept: impl Fn(Label) -> bool) -> Self {
        let axes: Vec<usize> = (0..self.labels.len())
            .filter(|&at| !kept(self.labels[at]))
            .collect();
        if axes.is_empty() {
            return self;
        }
        let shape = self.value.shape();
        let left: Vec<usize> = (0..shape.len()).filter(|at| !axes.contains(at)).collect();
        let sides: Vec<Dim> = left.iter().map(|&at| shape[at]).collect();
        Self {
            value: self.value.sum(axes).reshape(sides),
            labels: left.into_iter().map(|at| self.labels[at]).collect(),
        }
    }

    /// Arranges axes in this order; a missing label gets an axis of side 1.
    fn ordered(self, order: &[Label]) -> Self {
        let perm: Vec<usize> = (order.iter())
            .filter_map(|label| self.labels.iter().position(|own| own == label))
            .collect();
        let moved = self.value.transpose(perm);
        let mut sides = moved.shape().into_iter();
        let shape: Vec<Dim> = (order.iter())
            .map(|label| match self.labels.contains(label) {
                true => sides.next().unwrap_or(Dim::Fixed(1)),
                false => Dim::Fixed(1),
            })
            .collect();
        Self {
            value: moved.reshape(shape),
            labels: order.to_vec(),
        }
    }

    fn side(&self, label: Label) -> Dim {
        let at = self.labels.iter().position(|own| *own == label);
        at.map_or(Dim::Fixed(1), |at| self.value.shape()[at])
    }
}

/// Multiplies two terms and sums over the labels that nothing else needs: a matrix product whose batch axes are those
/// that both terms keep.
fn contract<'t>(
    a: Labelled<'t>,
    b: Labelled<'t>,
    needed: &BTreeSet<Label>,
) -> Result<Labelled<'t>> {
    let (left, right) = (a.labels.clone(), b.labels.clone());
    let a = a.summed(|label| needed.contains(&label) || right.contains(&label));
    let b = b.summed(|label| needed.contains(&label) || left.contains(&label));
    let both = |label: &&Label| b.labels.contains(label);
    let shared: Vec<Label> = a.labels.iter().filter(both).copied().collect();
    let (batch, inner): (Vec<Label>, Vec<Label>) =
        shared.iter().partition(|label| needed.contains(label));
    let own = |labels: &[Label]| -> Vec<Label> {
        labels
            .iter()
            .filter(|label| !shared.contains(label))
            .copied()
            .collect()
    };
    let (rows, columns) = (own(&a.labels), own(&b.labels));
    let all = [&batch[..], &rows, &columns].concat();
    if inner.is_empty() {
        let value = a.ordered(&all).value * b.ordered(&all).value;
        return Ok(Labelled { value, labels: all });
    }
    let sides = |of: &Labelled<'t>, labels: &[Label]| -> Vec<Dim> {
        labels.iter().map(|&label| of.side(label)).collect()
    };
    let (row_sides, column_sides) = (sides(&a, &rows), sides(&b, &columns));
    let (inner_a, inner_b) = (joined(&sides(&a, &inner)), joined(&sides(&b, &inner)));
    let shape = |of: &Labelled<'t>, last: [Dim; 2]| [&sides(of, &batch)[..], &last].concat();
    let left = shape(&a, [joined(&row_sides), inner_a]);
    let right = shape(&b, [inner_b, joined(&column_sides)]);
    let left = a
        .ordered(&[&batch[..], &rows, &inner].concat())
        .value
        .reshape(left);
    let right = b
        .ordered(&[&batch[..], &inner, &columns].concat())
        .value
        .reshape(right);
    let product = left.matmul(right);
    let mut shape = product.shape()[..batch.len()].to_vec();
    shape.extend(row_sides.into_iter().chain(column_sides));
    Ok(Labelled {
        value: product.reshape(shape),
        labels: all,
    })
}

/// Merges several axes into one.
fn joined(sides: &[Dim]) -> Dim {
    sides
        .iter()
        .fold(Dim::Fixed(1), |product, side| match (product, *side) {
            (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(a.saturating_mul(b)),
            (Dim::Batch(a), Dim::Fixed(b) | Dim::Batch(b)) | (Dim::Fixed(a), Dim::Batch(b)) => {
                Dim::Batch(a.saturating_mul(b))
            }
        })
}
