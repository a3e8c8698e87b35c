//! Rebuilds a graph with constants computed, identities removed and duplicates shared.

mod builder;
mod evaluate;

use std::collections::BTreeMap;

pub(crate) use builder::Builder;
pub(crate) use evaluate::broadcast_offsets;

use crate::{
    Result,
    graph::Graph,
    node::{Node, ValueId},
    op::Op,
    tensor::Tensor,
};

/// Returns an equivalent, smaller graph. Values that depend only on constants are computed. Identities (a `Reshape` to
/// the same shape, `x * 1`, …) are removed, and equal nodes are shared. A `BatchNormalization` with constant parameters
/// is merged into the convolution before it, or becomes a multiplication and an addition. Nodes that no output needs
/// are dropped.
///
/// Inputs are kept even if nothing reads them. Named constants are weights: they are never shared, and a constant
/// computed from a weight takes its name. A constant is not computed if it would be far larger than its inputs (a
/// broadcast scalar, for example). Fails only on invalid graphs.
pub fn fold(graph: &Graph) -> Result<Graph> {
    let uses = uses(graph);
    let mut builder = Builder::default();
    let mut rebuilt: Vec<Option<ValueId>> = vec![None; graph.nodes().len()];
    for &id in graph.inputs() {
        let Node {
            name, dtype, shape, ..
        } = graph.node(id);
        rebuilt[id.index()] = Some(builder.input(name.clone(), *dtype, shape.clone()));
    }
    for id in graph.ids().filter(|id| uses[id.index()] > 0) {
        let node = graph.node(id);
        let inputs: Vec<ValueId> = node
            .inputs
            .iter()
            .map(|input| rebuilt[input.index()].expect("a live node's inputs are live and earlier"))
            .collect();
        rebuilt[id.index()] = Some(match &node.op {
            Op::Input => continue,
            Op::Constant(tensor) => builder.constant(&node.name, tensor.clone()),
            Op::BatchNormalization { epsilon } => {
                // Merging would copy a weight that several convolutions share.
                let producer = graph.node(node.inputs[0]);
                let weight = producer.inputs.get(1).unwrap_or(&node.inputs[0]);
                let alone = [node.inputs[0], *weight]
                    .iter()
                    .all(|id| uses[id.index()] == 1);
                batch_normalization(&mut builder, node, &inputs, *epsilon, alone)?
            }
            op => builder.add(&node.name, op.clone(), &inputs)?,
        });
    }
    let mut folded = builder.into_graph();
    folded.take_names(graph, |id| rebuilt[id.index()]);
    for (name, id) in graph.outputs() {
        let id = rebuilt[id.index()].expect("outputs are live");
        folded.output(name.clone(), id);
    }
    prune(&folded)
}

/// Returns the number of nodes and outputs that read each value; nodes that nothing reads don't count.
pub(crate) fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes().len()];
    for (_, id) in graph.outputs() {
        uses[id.index()] += 1;
    }
    for id in graph.ids().rev() {
        if uses[id.index()] > 0 {
            for input in &graph.node(id).inputs {
                uses[input.index()] += 1;
            }
        }
    }
    uses
}

/// Copies a graph without unread nodes, and gives constants unique names.
fn prune(graph: &Graph) -> Result<Graph> {
    let uses = uses(graph);
    let mut pruned = Graph::new();
    let mut copies: Vec<Option<ValueId>> = vec![None; graph.nodes().len()];
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let inputs: Vec<ValueId> = node
            .inputs
            .iter()
            .filter_map(|input| copies[input.index()])
            .collect();
        copies[id.index()] = match &node.op {
            Op::Input => {
                taken.insert(node.name.clone(), 2);
                Some(pruned.input(node.name.clone(), node.dtype, node.shape.clone()))
            }
            _ if uses[id.index()] == 0 => None,
            Op::Constant(tensor) => {
                let name = unique(&node.name, &mut taken);
                Some(pruned.named_constant(name, tensor.clone()))
            }
            op => Some(pruned.add_named(node.name.clone(), op.clone(), &inputs)?),
        };
    }
    for (name, id) in graph.outputs() {
        let id = copies[id.index()].expect("outputs are live");
        pruned.output(name.clone(), id);
    }
    pruned.take_names(graph, |id| copies[id.index()]);
    Ok(pruned)
}

/// Returns an unused name; `taken` has the next number to try for each name in use.
fn unique(name: &str, taken: &mut BTreeMap<String, usize>) -> String {
    if name.is_empty() {
        return String::new();
    }
    let mut candidate = name.to_owned();
    if let Some(&next) = taken.get(name) {
        let mut number = next;
        while taken.contains_key(&candidate) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        taken.insert(name.to_owned(), number);
    }
    taken.insert(candidate.clone(), 2);
    candidate
}

/// Expresses `gamma * (x - mean) / sqrt(variance + epsilon) + beta` as `x * scale + shift`, inside the convolution that
/// computes `x` if there is one and nothing else reads its result.
fn batch_normalization(
    builder: &mut Builder,
    node: &Node,
    inputs: &[ValueId],
    epsilon: f32,
    alone: bool,
) -> Result<ValueId> {
    let graph = builder.graph();
    let parameters: Option<Vec<&[f32]>> = inputs[1..]
        .iter()
        .map(|&id| graph.as_constant(id).and_then(Tensor::as_f32))
        .collect();
    let Some(&[gamma, beta, mean, variance]) = parameters.as_deref() else {
        return builder.add(&node.name, node.op.clone(), inputs);
    };
    let scale: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| f64::from(gamma) / f64::from(variance + epsilon).sqrt())
        .collect();
    let shift: Vec<f64> = (0..scale.len())
        .map(|channel| f64::from(beta[channel]) - f64::from(mean[channel]) * scale[channel])
        .collect();
    let [gamma_name, beta_name] = [1, 2].map(|at| graph.node(inputs[at]).name.clone());

    let producer = graph.node(inputs[0]).clone();
    if let (Op::Conv(_), true, Some(weight)) = (
        &producer.op,
        alone,
        producer.inputs.get(1).and_then(|&id| graph.as_constant(id)),
    ) {
        let bias = match producer.inputs.get(2) {
            None => Some(None),
            Some(&id) => graph.as_constant(id).map(|bias| Some((id, bias))),
        };
        if let (Some(bias), Some(weights)) = (bias, weight.as_f32()) {
            let channel_size = weights.len() / scale.len().max(1);
            let scaled: Vec<f32> = weights
                .iter()
                .enumerate()
                .map(|(at, &value)| (f64::from(value) * scale[at / channel_size]) as f32)
                .collect();
            let old = bias.and_then(|(_, bias)| bias.as_f32());
            let shifted: Vec<f32> = (0..scale.len())
                .map(|channel| {
                    let old = old.map_or(0.0, |bias| f64::from(bias[channel]));
                    (old * scale[channel] + shift[channel]) as f32
                })
                .collect();
            let bias_name = bias.map_or(beta_name, |(id, _)| graph.node(id).name.clone());
            let weight_name = graph.node(producer.inputs[1]).name.clone();
            let weight = Tensor::f32(weight.shape(), scaled)?;
            let weight = builder.constant(&weight_name, weight);
            let bias = builder.constant(&bias_name, Tensor::f32([scale.len()], shifted)?);
            return builder.add(
                &producer.name,
                producer.op,
                &[producer.inputs[0], weight, bias],
            );
        }
    }

    let mut sides = vec![scale.len()];
    sides.resize(node.shape.len().saturating_sub(1), 1);
    let mut constant = |name: &str, values: &[f64]| -> Result<ValueId> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        Ok(builder.constant(name, Tensor::f32(sides.clone(), values)?))
    };
    let (scale, shift) = (
        constant(&gamma_name, &scale)?,
        constant(&beta_name, &shift)?,
    );
    let product = builder.add(&node.name, Op::Mul, &[inputs[0], scale])?;
    builder.add(&node.name, Op::Add, &[product, shift])
}

#[cfg(test)]
mod tests;
