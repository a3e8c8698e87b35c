//! A node of a graph, and what names it.

use crate::{dim::Dim, op::Op, tensor::DType};

/// Names a node of one graph and, since a node has one output, its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

impl ValueId {
    /// Position of the node in [`Graph::nodes`](crate::Graph::nodes).
    pub fn index(self) -> usize {
        self.0
    }
}

/// An operator applied to earlier values.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From which values.
    pub inputs: Vec<ValueId>,
    /// Shape of the result.
    pub shape: Vec<Dim>,
    /// Element type of the result.
    pub dtype: DType,
    /// Name for messages: the ONNX node's or value's where there is one, else empty.
    pub name: String,
}
