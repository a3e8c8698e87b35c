//! Quotients that are rounded to integers. A difference in the last place can select another integer.
//!
//! rten 0.27 multiplies by the reciprocal if the divisor is a single number.

use crate::{dim::Dim, graph::Graph, op::Op, tape::Expr, tensor::DType};

/// Returns for each node whether it is a quotient of floats that reaches a step through operators that keep steps
/// separate.
pub(super) fn felt(graph: &Graph) -> Vec<bool> {
    let mut felt = vec![false; graph.nodes().len()];
    for id in graph.ids().rev() {
        let node = graph.node(id);
        let passes = match &node.op {
            Op::Ceil | Op::Floor | Op::Round => true,
            Op::Cast { to } => *to != DType::F32 || felt[id.index()],
            Op::Add
            | Op::Clip { .. }
            | Op::Max
            | Op::Min
            | Op::Reshape { .. }
            | Op::Slice { .. }
            | Op::StraightThrough
            | Op::Sub
            | Op::Transpose { .. } => felt[id.index()],
            _ => false,
        };
        if passes {
            node.inputs
                .iter()
                .for_each(|input| felt[input.index()] = true);
        }
    }
    for id in graph.ids() {
        let node = graph.node(id);
        felt[id.index()] &= node.op == Op::Div && node.dtype == DType::F32;
    }
    felt
}

/// Computes `a / b`; a divisor that is a single number becomes a row of that number.
pub(super) fn exact<'t>(a: Expr<'t>, b: Expr<'t>) -> Expr<'t> {
    let is_single = b.shape().iter().all(|&side| side == Dim::Fixed(1));
    if !is_single || b.rank() > a.rank() {
        return a / b;
    }
    let shape = a.shape();
    let several = |side: &Dim| matches!(side, Dim::Fixed(2..));
    match shape.iter().rposition(several) {
        Some(axis) => {
            let mut row = vec![Dim::Fixed(1); shape.len() - axis];
            let single = row.clone();
            row[0] = shape[axis];
            a / b.reshape(single).expand(row)
        }
        // Of a single number too: it is divided twice.
        None => {
            let rank = shape.len();
            let with = |side: usize| [&shape[..], &[Dim::Fixed(side)]].concat();
            let twice = a.reshape(with(1)).expand(with(2));
            let row = b.reshape([Dim::Fixed(1)]).expand([Dim::Fixed(2)]);
            (twice / row).slice(rank, 0, 1).reshape(shape)
        }
    }
}
