//! Checks that the pictures of a batch stay independent.

use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    node::{Node, ValueId},
    op::Op,
    shape::display,
};

/// Fails if a node lets one picture of a batch influence another, or if an output has no batch axis. A graph whose
/// batch isn't symbolic passes.
pub(super) fn check(graph: &Graph) -> Result<()> {
    let is_batched = |id: &ValueId| graph.shape(*id).iter().any(is_batch);
    if !graph.inputs().iter().any(is_batched) {
        return Ok(());
    }
    for node in graph.nodes() {
        if mixes(graph, node) {
            return Err(Error::unsupported(format!(
                "node {:?} ({}): mixes the pictures of a batch",
                node.name, node.op
            )));
        }
    }
    for (name, id) in graph.outputs() {
        let mut batches = graph.shape(*id).iter().filter(|dim| is_batch(dim));
        if (batches.next(), batches.next()) != (Some(&Dim::Batch(1)), None) {
            return Err(Error::unsupported(format!(
                "output {name:?} has the shape {}, without a batch axis",
                display(graph.shape(*id))
            )));
        }
    }
    Ok(())
}

fn is_batch(dim: &Dim) -> bool {
    matches!(dim, Dim::Batch(_))
}

fn mixes(graph: &Graph, node: &Node) -> bool {
    let shapes: Vec<&[Dim]> = node.inputs.iter().map(|&id| graph.shape(id)).collect();
    let on_batch = |input: usize, axis: usize| shapes[input].get(axis).is_some_and(is_batch);
    let two_batches = node.shape.iter().filter(|dim| is_batch(dim)).count() > 1;
    two_batches
        || match &node.op {
            Op::Reduce { axes, .. } => axes.iter().any(|&axis| on_batch(0, axis)),
            Op::ArgMax { axis, .. }
            | Op::Softmax { axis }
            | Op::LogSoftmax { axis }
            | Op::Gather { axis }
            | Op::GatherElements { axis }
            | Op::ScatterAdd { axis } => on_batch(0, *axis),
            Op::Concat { axis } => (0..shapes.len()).any(|input| on_batch(input, *axis)),
            Op::LayerNormalization { axis, .. } => shapes[0][*axis..].iter().any(is_batch),
            Op::Tile { repeats } => {
                (0..repeats.len()).any(|axis| repeats[axis] > 1 && on_batch(0, axis))
            }
            Op::MatMul => shapes[0].last().is_some_and(is_batch),
            Op::Gemm { trans_a, .. } => on_batch(0, usize::from(!trans_a)),
            _ => false,
        }
}
