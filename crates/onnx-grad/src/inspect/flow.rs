//! Finds where gradients stop on their way back.

use serde::Serialize;

use crate::{
    Graph, Op, Tensor, ValueId,
    rules::{Cotangent, Site, vjp},
    tape::{Expr, Tape},
};

/// A gate steeper than this is almost a step: its gradient is 0 almost everywhere and huge in between.
const STEEP: f32 = 100.0;

/// A node that blocks or nearly blocks gradients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub operator: &'static str,
    /// What happens there: `stops` (an error), `zero` (the gradient is 0) or `steep` (the gradient is almost always 0).
    pub effect: Effect,
    /// The reason.
    pub reason: String,
}

/// The effect on a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Differentiation fails.
    Stops,
    /// The gradient is zero by convention.
    Zero,
    /// The gradient is zero except in a narrow band.
    Steep,
}

/// How far gradients reach.
#[derive(Clone, Debug)]
pub struct Passage {
    /// Whether a gradient reaches the picture.
    pub reaches: bool,
    /// The nodes in the way, in graph order.
    pub obstacles: Vec<Obstacle>,
}

impl Passage {
    /// Follows the gradient of `of` back to `wrt`, past nodes that stop it.
    pub fn of(graph: &Graph, of: ValueId, wrt: ValueId) -> Self {
        let mut on_path = vec![false; graph.nodes().len()];
        for id in graph.ids() {
            let from_input = |input: &ValueId| on_path[input.index()];
            on_path[id.index()] = id == wrt || graph.node(id).inputs.iter().any(from_input);
        }
        let mut reached = vec![false; graph.nodes().len()];
        reached[of.index()] = on_path[of.index()];
        let mut obstacles = Vec::new();
        for id in graph.ids().rev().filter(|&id| id <= of) {
            if !reached[id.index()] {
                continue;
            }
            let node = graph.node(id);
            let mut met = |effect, reason: String| {
                let obstacle = Obstacle {
                    node: node.name.clone(),
                    operator: node.op.name(),
                    effect,
                    reason,
                };
                // Several inputs of a node may report the same obstacle.
                if obstacles.last() != Some(&obstacle) {
                    obstacles.push(obstacle);
                }
            };
            for (position, input) in node.inputs.iter().enumerate() {
                if !on_path[input.index()] {
                    continue;
                }
                match flow(graph, id, position) {
                    Flow::On => reached[input.index()] = true,
                    // A mask or the indices of a table only select; that loses no gradient.
                    Flow::Zero if steers(&node.op, position) => {}
                    Flow::Zero => met(Effect::Zero, "piecewise constant".into()),
                    Flow::Stops(reason) => met(Effect::Stops, reason),
                }
            }
            if let Some(slope) = steepness(graph, id).filter(|&slope| slope >= STEEP) {
                met(
                    Effect::Steep,
                    format!("rises from one limit to the other within 1/{slope}"),
                );
            }
        }
        obstacles.reverse();
        Self {
            reaches: reached[wrt.index()],
            obstacles,
        }
    }
}

enum Flow {
    On,
    Zero,
    Stops(String),
}

/// Returns the effect of one input of a node according to the table of derivatives.
fn flow(graph: &Graph, id: ValueId, position: usize) -> Flow {
    let node = graph.node(id);
    // The rule appends its formula, so it gets a graph with only this node.
    let mut alone = Graph::new();
    let mut copied = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let source = graph.node(*input);
        copied.push(match &source.op {
            Op::Constant(tensor) => alone.constant(tensor.clone()),
            _ => alone.input("", source.dtype, source.shape.clone()),
        });
    }
    let Ok(y) = alone.add(node.op.clone(), &copied) else {
        return Flow::On;
    };
    let found = Tape::record(&mut alone, |tape| {
        let inputs: Vec<Expr<'_>> = copied.iter().map(|&id| tape.value(id)).collect();
        let g = tape
            .constant(Tensor::scalar(1.0))
            .expand(node.shape.clone());
        let site = Site {
            inputs: &inputs,
            y: tape.value(y),
            g,
        };
        let cotangent = vjp(&node.op, &site, position)?;
        tape.failure()?;
        Ok(match cotangent {
            Cotangent::Value(_) => Flow::On,
            Cotangent::Zero => Flow::Zero,
            Cotangent::NotDifferentiable(reason) => Flow::Stops(reason.into()),
        })
    });
    found.unwrap_or_else(|error| Flow::Stops(error.to_string()))
}

/// Returns whether an input selects among others rather than contributing to the result.
fn steers(op: &Op, position: usize) -> bool {
    match op {
        Op::Where => position == 0,
        Op::Gather { .. } | Op::GatherElements { .. } | Op::ScatterAdd { .. } => position == 1,
        _ => false,
    }
}

/// Returns the slope of a gate: how many times the band in which it rises fits into a change of its input by one.
/// `None` for other operators.
fn steepness(graph: &Graph, id: ValueId) -> Option<f32> {
    let node = graph.node(id);
    let slope = match node.op {
        Op::HardSigmoid { alpha, .. } => alpha,
        Op::Clip { min, max } if min.is_finite() && max.is_finite() => 1.0 / (max - min),
        Op::Sigmoid | Op::Tanh => 1.0,
        _ => return None,
    };
    let before = graph.node(*node.inputs.first()?);
    let constant = |at: usize| -> Option<f32> {
        let tensor = graph.as_constant(*before.inputs.get(at)?)?;
        let sizes = tensor.as_f32()?.iter().map(|value| value.abs());
        Some(sizes.fold(f32::INFINITY, f32::min))
    };
    let factor = match before.op {
        Op::Mul => constant(0).or_else(|| constant(1)).unwrap_or(1.0),
        Op::Div => constant(1).map_or(1.0, f32::recip),
        _ => 1.0,
    };
    Some((slope * factor).abs())
}
