//! Operators behind a softmax that keep the order of the classes.

use super::row::{self, is_row};
use crate::{
    Result,
    dim::Dim,
    graph::Graph,
    node::{Node, ValueId},
    op::{Op, PadMode, Reduction},
    tensor::DType,
};

/// An operator that turns scores into probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Squash {
    /// A softmax over the classes, or its logarithm.
    Softmax,
    /// A sigmoid for each class.
    Sigmoid,
}

/// A [`Squash`] behind which the order of the classes does not change.
pub(super) struct Found {
    pub(super) kind: Squash,
    /// The node.
    pub(super) node: ValueId,
    /// Its input, with the classes of the value it was found behind, but possibly different axes of side 1.
    pub(super) before: ValueId,
}

/// Returns the last softmax or sigmoids that a value is computed from, if the operators since then keep the class
/// order.
pub(super) fn squash(graph: &mut Graph, value: ValueId) -> Result<Option<Found>> {
    let mut moves = Vec::new();
    let mut id = value;
    let (kind, before) = loop {
        if let Some(found) = squashed(graph, id) {
            break found;
        }
        if let Some((axis, z, at)) = complements(graph, id) {
            let rank = graph.shape(z).len();
            let [mut before, mut after] = [vec![0; rank], vec![0; rank]];
            match at {
                0 => after[axis] = 1,
                _ => before[axis] = 1,
            }
            let mode = PadMode::Constant(0.0);
            let beside_zero = Op::Pad {
                mode,
                before,
                after,
            };
            break (Squash::Softmax, graph.add(beside_zero, &[z])?);
        }
        let node = graph.node(id);
        id = if moves_values(graph, node) {
            moves.push(id);
            node.inputs[0]
        } else if let Some(input) = increasing(graph, node) {
            input
        } else {
            return Ok(None);
        };
    };
    let node = id;
    let mut before = before;
    // Axes of side 1 do not matter.
    let picks = |id: &ValueId| matches!(graph.node(*id).op, Op::Slice { .. } | Op::Gather { .. });
    if !moves.iter().any(picks) {
        moves.clear();
    }
    for id in moves.into_iter().rev() {
        let Node { op, inputs, .. } = graph.node(id).clone();
        let inputs: Vec<ValueId> = std::iter::once(before)
            .chain(inputs.into_iter().skip(1))
            .collect();
        before = graph.add(op, &inputs)?;
    }
    Ok(Some(Found { kind, node, before }))
}

/// Returns the input of a log-softmax that a value equals, up to a constant added to all classes, which a softmax
/// ignores.
pub(super) fn log_softmax(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let mut id = value;
    loop {
        let node = graph.node(id);
        id = match node.op {
            Op::LogSoftmax { axis } if row::is_over_classes(graph, &node.shape, axis) => {
                return same_shape(graph, node.inputs[0], value);
            }
            Op::Log => {
                let (kind, before) = squashed(graph, node.inputs[0])?;
                return (kind == Squash::Softmax)
                    .then_some(before)
                    .and_then(|before| same_shape(graph, before, value));
            }
            Op::Reshape { .. } if moves_values(graph, node) => node.inputs[0],
            Op::Add | Op::Sub => increasing(graph, node)?,
            _ => return None,
        };
    }
}

fn same_shape(graph: &Graph, id: ValueId, other: ValueId) -> Option<ValueId> {
    (graph.shape(id) == graph.shape(other)).then_some(id)
}

/// Returns the softmaxes and sigmoids that the scores of this number of classes are computed from, through operators
/// that keep classes separate or average them, each with its input. If there are many, returns the first ones.
pub(super) fn saturating(
    graph: &Graph,
    scores: ValueId,
    classes: usize,
) -> Vec<(ValueId, ValueId)> {
    let has_classes = |id: ValueId| graph.shape(id).contains(&Dim::Fixed(classes));
    let mut found = Vec::new();
    let mut seen = vec![false; scores.index() + 1];
    let mut open = vec![scores];
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.index()], true) || found.len() > 1 {
            continue;
        }
        let node = graph.node(id);
        match node.op {
            // The logarithm of a softmax is unbounded.
            Op::LogSoftmax { .. } => {}
            Op::Softmax { .. } if has_classes(id) => found.push((id, node.inputs[0])),
            _ if has_classes(id) && squashed(graph, id).is_some() => {
                found.extend(squashed(graph, id).map(|(_, before)| (id, before)));
            }
            Op::Abs
            | Op::Ceil
            | Op::Clip { .. }
            | Op::Exp
            | Op::Floor
            | Op::Log
            | Op::Relu
            | Op::Round
            | Op::Sqrt
            | Op::StraightThrough
            | Op::Add
            | Op::Sub
            | Op::Max
            | Op::Min
            | Op::Reduce { .. }
            | Op::Reshape { .. }
            | Op::Expand { .. }
            | Op::Transpose { .. }
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Gather { .. } => open.extend(&node.inputs),
            // Multiplication by a constant. If two values are multiplied, one may act as a weight of the other.
            Op::Mul | Op::Div | Op::Pow => {
                let made = node.inputs.iter().copied();
                let made: Vec<ValueId> =
                    made.filter(|&id| graph.as_constant(id).is_none()).collect();
                open.extend(made.first().filter(|_| made.len() == 1));
            }
            _ => {}
        }
    }
    found
}

/// Returns the input of a node that computes probabilities, including a softmax written as exponentials over their sum.
fn squashed(graph: &Graph, id: ValueId) -> Option<(Squash, ValueId)> {
    let node = graph.node(id);
    match node.op {
        Op::Softmax { axis } | Op::LogSoftmax { axis }
            if row::is_over_classes(graph, &node.shape, axis) =>
        {
            Some((Squash::Softmax, node.inputs[0]))
        }
        Op::Sigmoid => Some((Squash::Sigmoid, node.inputs[0])),
        Op::Div => {
            let [powers, sum] = node.inputs[..] else {
                return None;
            };
            let (made, total) = (graph.node(powers), graph.node(sum));
            let is_total = match &total.op {
                Op::Reduce {
                    kind: Reduction::Sum,
                    axes,
                    ..
                } => {
                    total.inputs == [powers]
                        && matches!(axes[..], [axis] if row::is_over_classes(graph, &made.shape, axis))
                }
                _ => false,
            };
            (is_total && made.op == Op::Exp && made.shape == node.shape)
                .then(|| (Squash::Softmax, made.inputs[0]))
        }
        _ => None,
    }
}

/// Returns the axis along which the sigmoid `p` of a single score and `1 - p` are concatenated, that score, and the
/// position of `p`. The result equals the softmax of the score and 0.
fn complements(graph: &Graph, id: ValueId) -> Option<(usize, ValueId, usize)> {
    let node = graph.node(id);
    let (&Op::Concat { axis }, [a, b]) = (&node.op, &node.inputs[..]) else {
        return None;
    };
    let is_other = |other: ValueId, p: ValueId| {
        let other = graph.node(other);
        other.op == Op::Sub && other.inputs[1] == p && uniform(graph, other.inputs[0]) == Some(1.0)
    };
    let (p, at) = match () {
        () if is_other(*b, *a) => (*a, 0),
        () if is_other(*a, *b) => (*b, 1),
        () => return None,
    };
    let sigmoid = graph.node(p);
    (sigmoid.op == Op::Sigmoid
        && row::is_over_classes(graph, &node.shape, axis)
        && sigmoid.shape.get(axis) == Some(&Dim::Fixed(1)))
    .then(|| (axis, sigmoid.inputs[0], at))
}

/// Returns whether a node permutes or selects elements of its first input's rows, in the same way for all pictures.
fn moves_values(graph: &Graph, node: &Node) -> bool {
    let Some(&input) = node.inputs.first() else {
        return false;
    };
    match &node.op {
        Op::Reshape { .. } => same_sides(&node.shape, graph.shape(input)),
        Op::Transpose { perm } => perm.first() == Some(&0) && is_row(graph, input),
        Op::Slice { axes, .. } => !axes.contains(&0) && is_row(graph, input),
        Op::Gather { axis } => {
            *axis > 0 && is_row(graph, input) && graph.as_constant(node.inputs[1]).is_some()
        }
        _ => false,
    }
}

/// Returns the input that a node's result increases with, by the same function for each class. If the function is
/// constant in places, the class order before it is finer than behind it.
fn increasing(graph: &Graph, node: &Node) -> Option<ValueId> {
    let grows = match node.op {
        Op::Atan
        | Op::Ceil
        | Op::Clip { .. }
        | Op::Erf
        | Op::Exp
        | Op::Floor
        | Op::Log
        | Op::Relu
        | Op::Round
        | Op::Softplus
        | Op::Sqrt
        | Op::StraightThrough
        | Op::Tanh => Some(0),
        Op::HardSigmoid { alpha, .. } | Op::LeakyRelu { alpha } | Op::Elu { alpha } => {
            (alpha > 0.0).then_some(0)
        }
        Op::Cast { to } => (to == DType::F32).then_some(0),
        Op::Add | Op::Max | Op::Min => {
            (0..2).find(|&at| is_alike(graph, node.inputs[1 - at], node))
        }
        Op::Sub => is_alike(graph, node.inputs[1], node).then_some(0),
        Op::Mul => (0..2).find(|&at| is_positive(graph, node.inputs[1 - at])),
        Op::Div => is_positive(graph, node.inputs[1]).then_some(0),
        _ => None,
    };
    let input = *node.inputs.get(grows?)?;
    let source = graph.node(input);
    (source.dtype == DType::F32 && source.shape == node.shape).then_some(input)
}

/// Returns whether a value is the same for all classes of a picture.
fn is_alike(graph: &Graph, id: ValueId, node: &Node) -> bool {
    if uniform(graph, id).is_some() {
        return true;
    }
    let shape = graph.shape(id);
    let is_one = |shape: &[Dim]| shape.iter().skip(1).all(|&side| side == Dim::Fixed(1));
    shape.len() == node.shape.len() && is_one(shape) && !is_one(&node.shape)
}

fn is_positive(graph: &Graph, id: ValueId) -> bool {
    uniform(graph, id).is_some_and(|value| value > 0.0)
}

/// Returns the number that all elements of a constant equal.
fn uniform(graph: &Graph, id: ValueId) -> Option<f32> {
    let values = graph.as_constant(id)?.as_f32()?;
    let (&first, rest) = values.split_first()?;
    rest.iter().all(|&value| value == first).then_some(first)
}

/// Returns whether two shapes differ only in axes of side 1.
fn same_sides(a: &[Dim], b: &[Dim]) -> bool {
    let long = |shape: &[Dim]| -> Vec<Dim> {
        shape
            .iter()
            .copied()
            .filter(|&dim| dim != Dim::Fixed(1))
            .collect()
    };
    long(a) == long(b)
}
