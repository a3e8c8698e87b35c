//! Losses over logits. They grow as the classifier's error grows.

use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    node::ValueId,
    op::{Op, Reduction},
    tape::{Expr, Tape},
    tensor::DType,
};

/// Keeps the ratio of logits finite if the denominator vanishes; AutoAttack's value.
const DLR_FLOOR: f32 = 1e-12;

/// A loss over logits, with one value per picture. It grows as the classifier errs or approaches the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// `-ln p_y`.
    CrossEntropy,
    /// `ln p_t`: towards the target.
    CrossEntropyTargeted,
    /// `ln p_t - ln p_y`: away from the true class and towards the target.
    TwoTerm,
    /// `max_{j != y} z_j - z_y` (Carlini and Wagner, arXiv 1608.04644).
    Margin,
    /// `z_t - max_{j != t} z_j`.
    MarginTargeted,
    /// Difference of logits ratio (Croce and Hein, arXiv 2003.01690, section 4.1); needs three classes.
    Dlr,
    /// Targeted difference of logits ratio; needs four classes.
    DlrTargeted,
}

impl Loss {
    /// All losses.
    pub const ALL: [Self; 7] = [
        Self::CrossEntropy,
        Self::CrossEntropyTargeted,
        Self::TwoTerm,
        Self::Margin,
        Self::MarginTargeted,
        Self::Dlr,
        Self::DlrTargeted,
    ];

    /// Returns whether the loss depends on a target class.
    pub fn is_targeted(self) -> bool {
        match self {
            Self::CrossEntropy | Self::Margin | Self::Dlr => false,
            Self::CrossEntropyTargeted
            | Self::TwoTerm
            | Self::MarginTargeted
            | Self::DlrTargeted => true,
        }
    }

    /// Returns the minimum number of classes for which the loss is defined.
    pub fn least_classes(self) -> usize {
        match self {
            Self::Dlr => 3,
            Self::DlrTargeted => 4,
            _ => 2,
        }
    }

    /// Appends the loss, of shape `[N]`, of `logits` `[N, C]`. `labels` are the true classes and `targets` the target
    /// classes of a targeted loss (integers `[N]`).
    ///
    /// Fails for other shapes, too few classes, or a targeted loss without targets.
    pub fn append(
        self,
        graph: &mut Graph,
        logits: ValueId,
        labels: ValueId,
        targets: Option<ValueId>,
    ) -> Result<ValueId> {
        let &[batch, Dim::Fixed(classes)] = graph.shape(logits) else {
            return Err(Error::misuse(format!(
                "a loss takes logits of shape [N, C], not {}",
                crate::shape::display(graph.shape(logits))
            )));
        };
        for id in [Some(labels), targets].into_iter().flatten() {
            if graph.shape(id) != [batch] || graph.node(id).dtype != DType::I64 {
                return Err(Error::misuse("a loss takes one integer class per picture"));
            }
        }
        if classes < self.least_classes() {
            return Err(Error::unsupported(format!(
                "{self:?} needs {} classes, the model has {classes}",
                self.least_classes()
            )));
        }
        let targets = match (self.is_targeted(), targets) {
            (true, None) => return Err(Error::misuse(format!("{self:?} needs targets"))),
            (true, Some(targets)) => targets,
            (false, _) => labels,
        };
        Tape::record(graph, |tape| {
            let z = tape.value(logits);
            let [y, t] = [labels, targets].map(|id| one_hot(tape.value(id), classes));
            Ok(self.formula(z, y, t).reshape([batch]).id)
        })
    }

    /// Computes the loss, of shape `[N, 1]`. `y` and `t` mark the true and the target class.
    fn formula<'t>(self, z: Expr<'t>, y: Expr<'t>, t: Expr<'t>) -> Expr<'t> {
        match self {
            Self::CrossEntropy => cross_entropy(z, y),
            Self::CrossEntropyTargeted => -cross_entropy(z, t),
            // The normalisers of both terms cancel.
            Self::TwoTerm => pick(z, t) - pick(z, y),
            Self::Margin => largest_but(z, y) - pick(z, y),
            Self::MarginTargeted => pick(z, t) - largest_but(z, t),
            Self::Dlr => {
                let sorted = descending(z, 3);
                (largest_but(z, y) - pick(z, y)) / (sorted[0] - sorted[2] + DLR_FLOOR)
            }
            Self::DlrTargeted => {
                let sorted = descending(z, 4);
                let spread = sorted[0] - (sorted[2] + sorted[3]) * 0.5;
                (pick(z, t) - pick(z, y)) / (spread + DLR_FLOOR)
            }
        }
    }
}

/// Converts `[N]` classes to `[N, C]` booleans.
fn one_hot(classes: Expr<'_>, count: usize) -> Expr<'_> {
    let column = classes.reshape([classes.shape()[0], Dim::Fixed(1)]);
    column.equal(classes.tape().arange(count, 1, 2))
}

/// Returns the one marked value of each row.
fn pick<'t>(z: Expr<'t>, marked: Expr<'t>) -> Expr<'t> {
    marked.select(z, 0.0).sum([1])
}

/// Computes `ln(1 + sum_{j != y} exp(z_j - z_y))`. The usual `-ln p_y` loses its gradient when a saturated softmax
/// rounds `p_y` to 1; this form keeps it.
fn cross_entropy<'t>(z: Expr<'t>, y: Expr<'t>) -> Expr<'t> {
    let others = without(z, y);
    let largest = first_largest(others);
    let share = pick(others.apply(Op::LogSoftmax { axis: 1 }), largest);
    (pick(z, largest) - share - pick(z, y)).apply(Op::Softplus)
}

/// Masks the marked values of each row.
fn without<'t>(z: Expr<'t>, marked: Expr<'t>) -> Expr<'t> {
    marked.select(f32::MIN, z)
}

fn largest_but<'t>(z: Expr<'t>, marked: Expr<'t>) -> Expr<'t> {
    pick(z, first_largest(without(z, marked)))
}

/// Returns the `count` largest values of each row, largest first.
fn descending(z: Expr<'_>, count: usize) -> Vec<Expr<'_>> {
    let mut rest = z;
    (0..count)
        .map(|_| {
            let largest = first_largest(rest);
            rest = without(rest, largest);
            pick(z, largest)
        })
        .collect()
}

/// Marks the largest value of each row, the first of several equal ones: only one class may receive the gradient.
fn first_largest(z: Expr<'_>) -> Expr<'_> {
    let Dim::Fixed(classes) = z.shape()[1] else {
        return z
            .tape()
            .fail(Error::unsupported("has the batch in an inner axis"));
    };
    let ranks = (1..=classes).rev().map(|rank| rank as f32).collect();
    let ranked = z
        .equal(z.reduce(Reduction::Max, [1]))
        .select(z.tape().floats(vec![1, classes], ranks), 0.0);
    ranked.equal(ranked.reduce(Reduction::Max, [1]))
}

#[cfg(test)]
mod tests;
