//! Finds a classifier's logits.

mod order;
mod row;

use order::{Squash, log_softmax, saturating, squash};
use row::{is_row, matrix};

use crate::{
    Error, Result,
    dim::Dim,
    fold::fold,
    graph::Graph,
    node::ValueId,
    op::{Op, PadMode},
    shape::display,
    tensor::DType,
};

/// Maximum number of nested sigmoids that are looked through.
const MOST_SIGMOIDS: usize = 4;

/// A classifier's logits, and how its output is computed from them.
#[derive(Clone, Debug)]
pub struct Head {
    /// The logits, `[N, C]`.
    pub logits: ValueId,
    /// The softmax or sigmoid that was looked through; the last one if there are several.
    pub through: Option<ValueId>,
    /// Whether the model has one score for two classes: the logits are 0 and that score.
    pub single: bool,
    /// A softmax or sigmoid that the logits are computed from and that was not looked through. If it saturates, the
    /// logits hardly change, and neither do losses.
    pub saturating: Option<ValueId>,
    /// Its input, if it is the only one.
    before: Option<ValueId>,
}

impl Head {
    /// Returns the head of a classifier with this output. Appends the nodes that it needs.
    ///
    /// A final softmax, its logarithm, and sigmoids are looked through, because their gradients vanish where they
    /// saturate. Operators behind them do not matter if they keep the order of the classes: rounding (quantised
    /// outputs), clipping, a logarithm, a positive factor, a change of shape, a selection of some classes. The logits
    /// are the input of the softmax, whatever computes it, so that the softmax of the logits is the model's own. If one
    /// softmax follows another, only the last one is looked through, and [`Head::saturating`] names the first.
    ///
    /// Axes of side 1 are dropped. A single score for each picture is the logit of class 1; class 0 has the logit 0.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the output is not one row of floats for each picture.
    pub fn of(graph: &mut Graph, output: ValueId) -> Result<Self> {
        let node = graph.node(output);
        if node.dtype != DType::F32 {
            return Err(Error::unsupported(format!(
                "its output does not hold floats: node {:?} ({}) computes it; export the scores before that node",
                node.name, node.op
            )));
        }
        let (mut scores, mut through) = (output, None);
        for _ in 0..MOST_SIGMOIDS {
            let Some(found) = squash(graph, scores)? else {
                break;
            };
            scores = found.before;
            through.get_or_insert(found.node);
            if found.kind == Squash::Softmax {
                // The softmax of a log-softmax is that softmax.
                while let Some(before) = log_softmax(graph, scores) {
                    scores = before;
                }
                break;
            }
        }
        let row = matrix(graph, scores)?;
        let single = graph.shape(row)[1] == Dim::Fixed(1);
        if single && through.is_some_and(|id| !matches!(graph.node(id).op, Op::Sigmoid)) {
            return Err(Error::unsupported(
                "its output is one column of a softmax; choose the value before the softmax as the scores",
            ));
        }
        let logits = match single {
            true => beside_zero(graph, row)?,
            false => row,
        };
        let &[_, Dim::Fixed(classes @ 2..)] = graph.shape(logits) else {
            return Err(no_rows(graph.shape(logits)));
        };
        let found = saturating(graph, scores, if single { 1 } else { classes });
        Ok(Self {
            logits,
            through,
            single,
            saturating: found.first().map(|(node, _)| *node),
            before: match found[..] {
                [(_, before)] => Some(before),
                _ => None,
            },
        })
    }

    /// Returns the name of the value before [`Head::saturating`], if it can be chosen as the scores instead.
    pub fn before<'g>(&self, graph: &'g Graph) -> Option<&'g str> {
        let before = self.before?;
        name_of(graph, before).filter(|_| is_row(graph, before))
    }

    /// Returns notes for the user, as sentences. Names are those of [`inner_values`](crate::inner_values).
    pub fn notices(&self, graph: &Graph) -> Vec<String> {
        let mut notices = Vec::new();
        let label = |id: ValueId| format!("{:?} ({})", graph.node(id).name, graph.node(id).op);
        if self.single {
            notices.push(match self.through {
                Some(id) => format!(
                    "one output for two classes: the scores are 0 for class 0 and, for class 1, the input of {}",
                    label(id)
                ),
                None => "one output for two classes: it is taken as the logit of class 1; class 0 has the logit 0".to_owned(),
            });
        } else if let Some(id) = self
            .through
            .filter(|&id| matches!(graph.node(id).op, Op::Sigmoid))
        {
            notices.push(format!(
                "each class has its own sigmoid, {}: the scores are its input, and confidences are their softmax",
                label(id)
            ));
        }
        if let Some(id) = self.saturating {
            notices.push(format!(
                "the scores are computed from {}, which cannot be looked through: where it is sure, scores no longer change and \
                 gradients vanish, so attacks look weaker than they are; {}",
                label(id),
                match self.before(graph) {
                    Some(name) => format!("the value before it, {name:?}, can be chosen as the scores"),
                    None => "export the model with the value before it as its output".to_owned(),
                }
            ));
        }
        notices
    }
}

/// Returns the logits of [`Head::of`] as `[N, C]`.
///
/// # Errors
/// The errors of [`Head::of`].
pub fn logits(graph: &mut Graph, output: ValueId) -> Result<ValueId> {
    Ok(Head::of(graph, output)?.logits)
}

/// Returns the output that holds a classifier's scores: the only one.
///
/// Fails if there is none, or if there are several, since any of them may be the scores.
pub fn scores(graph: &Graph) -> Result<ValueId> {
    match graph.outputs() {
        [] => Err(Error::unsupported("has no output")),
        [(_, output), rest @ ..] if rest.iter().all(|(_, other)| other == output) => Ok(*output),
        several => {
            const LISTED: usize = 16;
            let names = several.iter().take(LISTED);
            let names: Vec<String> = names
                .map(|(name, id)| format!("{name:?} {}", display(graph.shape(*id))))
                .collect();
            Err(Error::unsupported(format!(
                "has {} outputs; choose the one with the scores: {}",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

/// Makes the scores the graph's only output. What [`Head::of`] would look through stays part of them.
///
/// A single probability of class 1 becomes a row of two, so that both classes have a score.
pub(crate) fn keep_softmax(graph: &mut Graph) -> Result<()> {
    let output = scores(graph)?;
    let name = graph.outputs()[0].0.clone();
    if squash(graph, output)?.is_none() {
        return Ok(());
    }
    let mut kept = matrix(graph, output)?;
    if graph.shape(kept)[1] == Dim::Fixed(1) {
        let one = graph.scalar(1.0);
        let other = graph.add(Op::Sub, &[one, kept])?;
        kept = graph.add(Op::Concat { axis: 1 }, &[other, kept])?;
    }
    // Negating twice leaves every value unchanged, and is not looked through.
    for _ in 0..2 {
        kept = graph.add(Op::Neg, &[kept])?;
    }
    graph.clear_outputs();
    graph.output(name, kept);
    *graph = fold(graph)?;
    Ok(())
}

/// Returns the logits 0 and z of two classes, given z as `[N, 1]`.
fn beside_zero(graph: &mut Graph, z: ValueId) -> Result<ValueId> {
    let zero = Op::Pad {
        mode: PadMode::Constant(0.0),
        before: vec![0, 1],
        after: vec![0, 0],
    };
    graph.add(zero, &[z])
}

fn no_rows(shape: &[Dim]) -> Error {
    Error::unsupported(format!(
        "its output has shape {}; a classifier's output is [N, C] with at least two classes",
        display(shape)
    ))
}

/// Returns the name by which a value can be requested.
fn name_of(graph: &Graph, id: ValueId) -> Option<&str> {
    let mut names = graph.names().iter();
    names.find_map(|(name, named)| (*named == Some(id)).then_some(name.as_str()))
}

#[cfg(test)]
mod tests;
