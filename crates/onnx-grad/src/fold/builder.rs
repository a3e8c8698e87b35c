//! Builds a graph and folds it at the same time.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::evaluate::{MAX_PRODUCTS, evaluate};
use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    node::{Node, ValueId},
    op::Op,
    shape::fixed_from,
    tensor::{DType, Elements, Tensor},
};

/// Maximum number of elements of a value, for a batch of one. Keeps every later product of sides far from overflow.
const MAX_ELEMENTS: usize = 1 << 32;

/// Results of up to this many elements are computed, however small their inputs are.
const SMALL_RESULT: usize = 1 << 18;

/// Larger results may have up to this many times the elements of their inputs.
const MAX_GROWTH: usize = 16;

/// Maximum number of elements of all folded results together: this, plus four times the elements of the given
/// constants.
const FREE_FOLDING: usize = 1 << 24;

/// Maximum number of elements that folding visits in total: sixteen times as many as it may compute. A sum visits far
/// more elements than it returns.
const WALKS: usize = 16;

/// Maximum number of axes of a value: no engine supports more, and every node's shape costs memory.
const MAX_RANK: usize = 64;

/// Maximum number of constants that one is compared with to find its equal.
const MAX_ALIKE: usize = 16;

/// Appends nodes to a graph unless they are not needed because the result is a constant, one of the inputs, or a value
/// that already exists.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    graph: Graph,
    /// Nodes by operator and inputs. Only used for lookups, never iterated.
    nodes: HashMap<String, ValueId>,
    /// Unnamed constants by the hash of their elements. Only used for lookups, never iterated.
    constants: HashMap<u64, Vec<ValueId>>,
    /// Number of elements of the given constants.
    given: usize,
    /// Number of elements of the computed constants.
    folded: usize,
    /// Number of elements visited to compute them.
    walked: usize,
    /// Number of multiplications in the folded matrix products.
    products: usize,
    /// The constants that hold only zeros or only ones. Only used for lookups, never iterated.
    uniform: HashMap<ValueId, i64>,
}

impl Builder {
    /// Returns the graph so far.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the graph, including nodes that turned out to be unneeded.
    pub(crate) fn into_graph(self) -> Graph {
        self.graph
    }

    /// Returns the number of elements of the given constants.
    pub(crate) fn given(&self) -> usize {
        self.given
    }

    /// Appends an input.
    pub(crate) fn input(&mut self, name: String, dtype: DType, shape: Vec<Dim>) -> ValueId {
        self.graph.input(name, dtype, shape)
    }

    /// Adds a constant; equal unnamed constants are shared.
    pub(crate) fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.given = self.given.saturating_add(tensor.len());
        self.shared(name, tensor)
    }

    fn shared(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let neutral = [0, 1].into_iter().find(|&wanted| uniform(&tensor, wanted));
        if !name.is_empty() {
            let id = self.graph.named_constant(name, tensor);
            self.uniform.extend(neutral.map(|value| (id, value)));
            return id;
        }
        let alike = self.constants.entry(digest(&tensor)).or_default();
        let known = alike.iter().copied().find(|&id| {
            self.graph
                .as_constant(id)
                .is_some_and(|known| identical(known, &tensor))
        });
        known.unwrap_or_else(|| {
            let id = self.graph.constant(tensor);
            if alike.len() < MAX_ALIKE {
                alike.push(id);
            }
            self.uniform.extend(neutral.map(|value| (id, value)));
            id
        })
    }

    /// Adds a float scalar.
    pub(crate) fn scalar(&mut self, value: f32) -> ValueId {
        self.constant("", Tensor::scalar(value))
    }

    /// Returns the value of an operator; errors quote `name`.
    pub(crate) fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let node = self.graph.checked(name.to_owned(), op, inputs)?;
        if node.shape.len() > MAX_RANK {
            return Err(Error::unsupported(format!(
                "node {name:?} ({}): has a result of {} axes; the maximum is {MAX_RANK}",
                node.op,
                node.shape.len()
            )));
        }
        let elements = elements(&node.shape)
            .filter(|&elements| elements <= MAX_ELEMENTS)
            .ok_or_else(|| {
                Error::unsupported(format!(
                    "node {name:?} ({}): has a result of more than 2^32 elements",
                    node.op
                ))
            })?;
        if let Some(same) = self.identity(&node) {
            return Ok(same);
        }
        if let Some((op, inputs)) = self.composed(&node) {
            return self.add(name, op, &inputs);
        }
        if let Some((name, tensor)) = self.computed(&node, elements) {
            return Ok(self.shared(&name, tensor));
        }
        let key = format!("{:?}{:?}", node.op, node.inputs);
        if let Some(&known) = self.nodes.get(&key) {
            return Ok(known);
        }
        let id = self.graph.push(node);
        self.nodes.insert(key, id);
        Ok(id)
    }

    /// Appends a whole graph, with these values in place of its inputs. Returns its outputs in order.
    pub(crate) fn inline(
        &mut self,
        name: &str,
        graph: &Graph,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>> {
        let mut given = inputs.iter();
        let mut ids: Vec<ValueId> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let sources: Vec<ValueId> = node.inputs.iter().map(|id| ids[id.index()]).collect();
            ids.push(match &node.op {
                Op::Input => *given
                    .next()
                    .ok_or_else(|| Error::misuse("a graph was given too few inputs"))?,
                Op::Constant(tensor) => self.constant(&node.name, tensor.clone()),
                op => self.add(name, op.clone(), &sources)?,
            });
        }
        Ok((graph.outputs().iter())
            .map(|(_, id)| ids[id.index()])
            .collect())
    }

    /// Returns the input that a node merely repeats.
    fn identity(&self, node: &Node) -> Option<ValueId> {
        let &first = node.inputs.first()?;
        let unchanged = |id: ValueId| {
            let source = self.graph.node(id);
            source.shape == node.shape && source.dtype == node.dtype
        };
        let all_are = |id: ValueId, wanted: i64| self.uniform.get(&id) == Some(&wanted);
        match &node.op {
            Op::Reshape { .. } | Op::Expand { .. } | Op::Cast { .. } | Op::Tile { .. } => {
                unchanged(first).then_some(first)
            }
            Op::Concat { .. } => (node.inputs.len() == 1).then_some(first),
            Op::Pad { .. } => unchanged(first).then_some(first),
            Op::Slice { steps, .. } => {
                let forward = steps.iter().all(|&step| step == 1);
                (forward && unchanged(first)).then_some(first)
            }
            Op::Transpose { perm } => perm.is_sorted().then_some(first),
            Op::Reduce { axes, .. } => axes.is_empty().then_some(first),
            Op::Clip { min, max } => {
                (*min == f32::NEG_INFINITY && *max == f32::INFINITY).then_some(first)
            }
            Op::Add | Op::Mul => {
                let neutral = i64::from(node.op == Op::Mul);
                let &[a, b] = &node.inputs[..] else {
                    return None;
                };
                let keeps = |kept: ValueId, other: ValueId| {
                    (unchanged(kept) && all_are(other, neutral)).then_some(kept)
                };
                keeps(a, b).or_else(|| keeps(b, a))
            }
            Op::Sub | Op::Div | Op::Pow => {
                let neutral = i64::from(node.op != Op::Sub);
                let &other = node.inputs.get(1)?;
                (unchanged(first) && all_are(other, neutral)).then_some(first)
            }
            _ => None,
        }
    }

    /// Merges a node with the one before it.
    fn composed(&self, node: &Node) -> Option<(Op, Vec<ValueId>)> {
        let before = self.graph.node(*node.inputs.first()?);
        match (&node.op, &before.op) {
            (Op::Reshape { shape }, Op::Reshape { .. }) => Some((
                Op::Reshape {
                    shape: shape.clone(),
                },
                before.inputs.clone(),
            )),
            (Op::Transpose { perm }, Op::Transpose { perm: inner }) => Some((
                Op::Transpose {
                    perm: perm.iter().map(|&axis| inner[axis]).collect(),
                },
                before.inputs.clone(),
            )),
            // Exports of `x[:, :, ::2, ::2]` slice one axis after the other.
            (
                Op::Slice {
                    axes,
                    starts,
                    ends,
                    steps,
                },
                Op::Slice {
                    axes: inner_axes,
                    starts: inner_starts,
                    ends: inner_ends,
                    steps: inner_steps,
                },
            ) if axes.iter().all(|axis| !inner_axes.contains(axis)) => Some((
                Op::Slice {
                    axes: [&inner_axes[..], axes].concat(),
                    starts: [&inner_starts[..], starts].concat(),
                    ends: [&inner_ends[..], ends].concat(),
                    steps: [&inner_steps[..], steps].concat(),
                },
                before.inputs.clone(),
            )),
            _ => None,
        }
    }

    /// Computes the result of a node on constants. Returns it with the name of the weight that it is made of.
    fn computed(&mut self, node: &Node, elements: usize) -> Option<(String, Tensor)> {
        if matches!(node.op, Op::Input | Op::Constant(_)) {
            return None;
        }
        let inputs: Option<Vec<&Tensor>> = node
            .inputs
            .iter()
            .map(|&id| self.graph.as_constant(id))
            .collect();
        let inputs = inputs?;
        let source: usize = inputs.iter().map(|tensor| tensor.len()).sum();
        let bounded = elements <= SMALL_RESULT.max(source.saturating_mul(MAX_GROWTH));
        let budget = FREE_FOLDING.saturating_add(self.given.saturating_mul(4));
        let folded = self.folded.saturating_add(elements);
        let walked = self.walked.saturating_add(elements.max(source));
        let products = match (&node.op, inputs[0].shape().last()) {
            (Op::MatMul, Some(&inner)) => {
                self.products.saturating_add(elements.saturating_mul(inner))
            }
            _ => self.products,
        };
        let affordable =
            folded <= budget && walked <= budget.saturating_mul(WALKS) && products <= MAX_PRODUCTS;
        if !bounded || !affordable {
            return None;
        }
        let tensor = evaluate(&node.op, &inputs, &fixed_from(&node.shape, 0).ok()?)?;
        let name = node
            .inputs
            .iter()
            .map(|&id| &self.graph.node(id).name)
            .find(|name| !name.is_empty() && tensor.dtype() == DType::F32);
        let name = name.cloned().unwrap_or_default();
        (self.folded, self.walked, self.products) = (folded, walked, products);
        Some((name, tensor))
    }
}

/// Returns the number of elements for a batch of one. Empty axes count as one so that no partial product overflows.
fn elements(shape: &[Dim]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, dim| {
        let (Dim::Fixed(side) | Dim::Batch(side)) = *dim;
        product.checked_mul(side.max(1))
    })
}

fn uniform(tensor: &Tensor, wanted: i64) -> bool {
    match tensor.elements() {
        Elements::F32(values) => values.iter().all(|&value| value == wanted as f32),
        Elements::I64(values) => values.iter().all(|&value| value == wanted),
        Elements::Bool(_) => false,
    }
}

/// Hashes the shape and the first elements, which suffices to distinguish most constants.
fn digest(tensor: &Tensor) -> u64 {
    const ENOUGH: usize = 1024;
    let mut hasher = DefaultHasher::new();
    tensor.shape().hash(&mut hasher);
    match tensor.elements() {
        Elements::F32(values) => bits(values)
            .take(ENOUGH)
            .for_each(|bits| bits.hash(&mut hasher)),
        Elements::I64(values) => values
            .iter()
            .take(ENOUGH)
            .for_each(|value| value.hash(&mut hasher)),
        Elements::Bool(values) => values
            .iter()
            .take(ENOUGH)
            .for_each(|value| value.hash(&mut hasher)),
    }
    hasher.finish()
}

/// Compares bit by bit: `0.0` and `-0.0` differ, and NaN equals itself.
fn identical(a: &Tensor, b: &Tensor) -> bool {
    match (a.as_f32(), b.as_f32()) {
        (Some(x), Some(y)) => a.shape() == b.shape() && bits(x).eq(bits(y)),
        _ => a == b,
    }
}

fn bits(values: &[f32]) -> impl Iterator<Item = u32> {
    values.iter().map(|value| value.to_bits())
}
