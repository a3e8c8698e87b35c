//! Counts the multiplications and memory of one execution from the graph.

use serde::Serialize;

use crate::{Dim, Graph, Op, ValueId, fold::uses, tensor::DType};

/// The cost of one execution; for one picture if the batch is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Multiply-add operations in convolutions and matrix products; other operators don't count.
    pub multiply_adds: u64,
    /// Maximum number of bytes of values alive at once if nodes run in order and each value is freed after its last
    /// use. Weights don't count, and a `Reshape` shares its input's bytes. Engines need more, for workspaces and copies
    /// in other layouts.
    pub activation_bytes: u64,
}

impl Cost {
    /// Computes the cost of a graph's outputs.
    pub fn of(graph: &Graph) -> Self {
        let uses = uses(graph);
        let live = || graph.ids().filter(|id| uses[id.index()] > 0);
        let multiply_adds = live().map(|id| multiply_adds(graph, id));
        Self {
            multiply_adds: multiply_adds.fold(0, u64::saturating_add),
            activation_bytes: peak(graph, live()),
        }
    }
}

/// Returns the sides of a value for a batch of one.
fn sides(shape: &[Dim]) -> impl Iterator<Item = u64> {
    let side = |dim: &Dim| match *dim {
        Dim::Fixed(side) | Dim::Batch(side) => side as u64,
    };
    shape.iter().map(side)
}

fn product(shape: &[Dim]) -> u64 {
    sides(shape).fold(1, u64::saturating_mul)
}

fn multiply_adds(graph: &Graph, id: ValueId) -> u64 {
    let node = graph.node(id);
    let shape = |at: usize| node.inputs.get(at).map_or(&[][..], |&id| graph.shape(id));
    // Each filter is a row of the weight, whichever axis its channels are on.
    let filter = |weight: &[Dim]| product(weight.get(1..).unwrap_or_default());
    let (times, each) = match &node.op {
        Op::Conv(_) => (product(&node.shape), filter(shape(1))),
        Op::ConvTranspose { .. } => (product(shape(0)), filter(shape(1))),
        Op::ConvWeightGrad { .. } => (product(shape(1)), filter(&node.shape)),
        Op::MatMul => (product(&node.shape), sides(shape(0)).last().unwrap_or(1)),
        Op::Gemm { trans_a, .. } => {
            let inner = sides(shape(0)).nth(usize::from(!trans_a));
            (product(&node.shape), inner.unwrap_or(1))
        }
        _ => (0, 0),
    };
    times.saturating_mul(each)
}

/// Returns the maximum number of bytes alive at once.
fn peak(graph: &Graph, live: impl Iterator<Item = ValueId>) -> u64 {
    let live: Vec<ValueId> = live.collect();
    // The value whose bytes each value shares.
    let mut owner: Vec<usize> = (0..graph.nodes().len()).collect();
    let mut last_use = vec![0; graph.nodes().len()];
    for &id in &live {
        let node = graph.node(id);
        for input in &node.inputs {
            last_use[owner[input.index()]] = id.index();
        }
        if let Op::Reshape { .. } = node.op {
            owner[id.index()] = owner[node.inputs[0].index()];
        }
    }
    for (_, id) in graph.outputs() {
        last_use[owner[id.index()]] = usize::MAX;
    }
    let bytes = |id: ValueId| {
        let node = graph.node(id);
        let width = match node.dtype {
            DType::F32 => 4,
            DType::I64 => 8,
            DType::Bool => 1,
        };
        match node.op {
            Op::Constant(_) => 0,
            _ if owner[id.index()] != id.index() => 0,
            _ => product(&node.shape).saturating_mul(width),
        }
    };
    let mut freed: Vec<Vec<ValueId>> = vec![Vec::new(); graph.nodes().len()];
    for &id in &live {
        if let Some(freed) = freed.get_mut(last_use[id.index()]) {
            freed.push(id);
        }
    }
    let (mut alive, mut most) = (0_u64, 0);
    for &id in &live {
        alive = alive.saturating_add(bytes(id));
        most = most.max(alive);
        for &done in &freed[id.index()] {
            alive = alive.saturating_sub(bytes(done));
        }
    }
    most
}
