//! The intermediate representation: a list of nodes, each with one output, in topological order.

use crate::{
    Error, Result,
    dim::Dim,
    node::{Node, ValueId},
    op::Op,
    shape::infer,
    tensor::{DType, Tensor},
};

/// A computation. Nodes are only appended, so they stay in topological order and ids stay valid.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<(String, ValueId)>,
    names: Vec<(String, Option<ValueId>)>,
}

impl Graph {
    /// Creates an empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an input of the graph. Its name is the name in the exported file.
    pub fn input(&mut self, name: impl Into<String>, dtype: DType, shape: Vec<Dim>) -> ValueId {
        let id = self.push(Node {
            op: Op::Input,
            inputs: Vec::new(),
            shape,
            dtype,
            name: name.into(),
        });
        self.inputs.push(id);
        id
    }

    /// Appends a constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.named_constant("", tensor)
    }

    /// Appends a constant with a name, such as that of a weight.
    pub fn named_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        self.push(Node {
            shape: tensor
                .shape()
                .iter()
                .map(|&side| Dim::Fixed(side))
                .collect(),
            dtype: tensor.dtype(),
            op: Op::Constant(tensor),
            inputs: Vec::new(),
            name: name.into(),
        })
    }

    /// Appends a float scalar.
    pub fn scalar(&mut self, value: f32) -> ValueId {
        self.constant(Tensor::scalar(value))
    }

    /// Appends an operator. Infers its shape and type, and checks its inputs.
    pub fn add(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        self.add_named("", op, inputs)
    }

    /// Appends an operator with a name for error messages.
    pub fn add_named(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId> {
        let node = self.checked(name.into(), op, inputs)?;
        Ok(self.push(node))
    }

    /// Returns the node that [`Graph::add_named`] would append.
    pub(crate) fn checked(&self, name: String, op: Op, inputs: &[ValueId]) -> Result<Node> {
        let sources: Vec<&Node> = inputs.iter().map(|id| &self.nodes[id.0]).collect();
        let (dtype, shape) = infer(&op, &sources).map_err(|error| match error {
            Error::Invalid(message) => Error::Invalid(format!("node {name:?} ({op}): {message}")),
            Error::Unsupported(message) => {
                Error::Unsupported(format!("node {name:?} ({op}): {message}"))
            }
            other => other,
        })?;
        Ok(Node {
            op,
            inputs: inputs.to_vec(),
            shape,
            dtype,
            name,
        })
    }

    /// Declares a value as an output of the graph, with a name.
    pub fn output(&mut self, name: impl Into<String>, value: ValueId) {
        self.outputs.push((name.into(), value));
    }

    /// Returns all nodes, in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the node that computes a value.
    pub fn node(&self, id: ValueId) -> &Node {
        &self.nodes[id.0]
    }

    /// Returns the shape of a value.
    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.nodes[id.0].shape
    }

    /// Returns the tensor of a value, if it is a constant.
    pub fn as_constant(&self, id: ValueId) -> Option<&Tensor> {
        match &self.nodes[id.0].op {
            Op::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the ids of all nodes, in topological order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = ValueId> + use<> {
        (0..self.nodes.len()).map(ValueId)
    }

    /// Returns the graph's inputs, in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Returns the graph's outputs with their names, in order.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// Gives a value a name for look-ups such as [`inner_values`](crate::inner_values). If several values have the same
    /// name, look-ups find the first.
    pub fn name(&mut self, name: impl Into<String>, value: ValueId) {
        self.names.push((name.into(), Some(value)));
    }

    /// Returns the names of values, in order. After an import these are the names in the file, and
    /// [`fold`](crate::fold) keeps them. `None` marks a value that no longer exists because it became part of another.
    pub fn names(&self) -> &[(String, Option<ValueId>)] {
        &self.names
    }

    /// Copies the names of the graph that this one was built from. `place` maps its values to those of this graph.
    pub(crate) fn take_names(&mut self, from: &Self, place: impl Fn(ValueId) -> Option<ValueId>) {
        let names = from.names.iter();
        self.names
            .extend(names.map(|(name, id)| (name.clone(), id.and_then(&place))));
    }

    /// Removes the declared outputs, so that others can be declared. The values stay.
    pub fn clear_outputs(&mut self) {
        self.outputs.clear();
    }

    /// Appends all of `other`, including names, and connects its inputs to `inputs`. Returns its outputs, in order.
    ///
    /// Shapes are inferred again, so an input may have another shape than in `other`. Fails if the number of inputs
    /// differs or an operator cannot take the inputs.
    pub fn inline(&mut self, other: &Self, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        if inputs.len() != other.inputs.len() {
            return Err(Error::misuse(format!(
                "a graph with {} inputs was given {}",
                other.inputs.len(),
                inputs.len()
            )));
        }
        let mut ids: Vec<ValueId> = Vec::with_capacity(other.nodes.len());
        for (id, node) in other.ids().zip(&other.nodes) {
            ids.push(match &node.op {
                Op::Input => {
                    let position = other.inputs.iter().position(|&input| input == id);
                    inputs[position.expect("every input node is listed as an input")]
                }
                Op::Constant(tensor) => self.named_constant(&*node.name, tensor.clone()),
                op => {
                    let sources: Vec<ValueId> = node.inputs.iter().map(|id| ids[id.0]).collect();
                    self.add_named(&*node.name, op.clone(), &sources)?
                }
            });
        }
        self.take_names(other, |id| Some(ids[id.0]));
        Ok(other.outputs.iter().map(|(_, id)| ids[id.0]).collect())
    }

    /// Replaces a constant by another of the same shape and type, such as a trained weight. Fails if the value is not a
    /// constant, or if shape or type differ.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) -> Result<()> {
        let node = &mut self.nodes[id.0];
        match &mut node.op {
            Op::Constant(old) if old.shape() == tensor.shape() && old.dtype() == tensor.dtype() => {
                *old = tensor;
                Ok(())
            }
            _ => Err(Error::misuse(format!(
                "{:?} is not a constant of this shape and type",
                node.name
            ))),
        }
    }

    /// Renames an input.
    pub(crate) fn rename_input(&mut self, input: ValueId, name: &str) {
        name.clone_into(&mut self.nodes[input.0].name);
    }

    /// Turns a constant into an input of the same name, type and shape, such as a weight to train. Fails if the value
    /// is not a constant.
    pub fn constant_to_input(&mut self, id: ValueId) -> Result<()> {
        let node = &mut self.nodes[id.0];
        if !matches!(node.op, Op::Constant(_)) {
            return Err(Error::misuse(format!("{:?} is not a constant", node.name)));
        }
        node.op = Op::Input;
        self.inputs.push(id);
        Ok(())
    }

    /// Appends a node that [`Graph::checked`] returned.
    pub(crate) fn push(&mut self, node: Node) -> ValueId {
        self.nodes.push(node);
        ValueId(self.nodes.len() - 1)
    }
}
