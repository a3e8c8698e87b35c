//! Finds what a graph does to the picture before the first layer.

use serde::Serialize;

use crate::{Graph, Op, Tensor, ValueId, fold::uses};

/// Maximum size of a constant that is written out: more than the channels of a picture.
const TOLD: usize = 4;

/// One step of preprocessing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub operator: &'static str,
    /// What it does, such as `minus [0.485, 0.456, 0.406]`.
    pub does: String,
}

/// Returns the steps from the input on: arithmetic with constants, and permutations of axes and channels.
pub(super) fn found(graph: &Graph, input: ValueId) -> Vec<Step> {
    let uses = uses(graph);
    let mut readers = vec![None; graph.nodes().len()];
    for id in graph.ids().filter(|id| uses[id.index()] > 0) {
        for source in &graph.node(id).inputs {
            readers[source.index()] = Some(id);
        }
    }
    let mut steps = Vec::new();
    let mut x = input;
    // The network begins at a value that several nodes read.
    while uses[x.index()] == 1 {
        let reader = readers[x.index()];
        let Some((reader, does)) = reader.and_then(|id| Some((id, step(graph, id, x)?))) else {
            break;
        };
        let node = graph.node(reader);
        steps.push(Step {
            node: node.name.clone(),
            operator: node.op.name(),
            does,
        });
        x = reader;
    }
    // Axis permutations without arithmetic belong to the first layer, as flattening does.
    let is_kept = |step: &Step| step.operator != "Reshape";
    let end = steps.iter().rposition(is_kept).map_or(0, |last| last + 1);
    steps.truncate(end);
    steps
}

/// Describes what a node does to `x`; `None` if it is not preprocessing.
fn step(graph: &Graph, id: ValueId, x: ValueId) -> Option<String> {
    let node = graph.node(id);
    let is_left = node.inputs.first() == Some(&x);
    let other = || {
        let other = node.inputs.iter().find(|&&input| input != x)?;
        graph.as_constant(*other).map(numbers)
    };
    Some(match &node.op {
        Op::Add => format!("plus {}", other()?),
        Op::Mul => format!("times {}", other()?),
        Op::Sub if is_left => format!("minus {}", other()?),
        Op::Sub => format!("subtracted from {}", other()?),
        Op::Div if is_left => format!("divided by {}", other()?),
        Op::Transpose { perm } => format!("axes in the order {perm:?}"),
        Op::Reshape { shape } => format!("as {}", crate::shape::display(shape)),
        Op::Gather { axis } if is_left => {
            let order = graph.as_constant(node.inputs[1])?.as_i64()?.to_vec();
            let side = match graph.shape(x).get(*axis)? {
                crate::Dim::Fixed(side) => *side,
                crate::Dim::Batch(_) => return None,
            };
            let mut sorted = order.clone();
            sorted.sort_unstable();
            let is_permutation = sorted.iter().copied().eq(0..side as i64);
            is_permutation.then(|| format!("channels in the order {order:?}"))?
        }
        Op::Slice { axes, steps, .. }
            if graph.shape(x) == node.shape && steps.iter().all(|&step| step == -1) =>
        {
            format!("axes {axes:?} reversed")
        }
        _ => return None,
    })
}

/// Formats the numbers of a small constant, or the shape of a large one.
fn numbers(tensor: &Tensor) -> String {
    match tensor.as_f32() {
        Some([value]) => value.to_string(),
        Some(values) if values.len() <= TOLD => format!("{values:?}"),
        _ => format!("a constant of shape {:?}", tensor.shape()),
    }
}
