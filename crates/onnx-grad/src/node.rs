//! The nodes of a graph and their ids.

use crate::{dim::Dim, op::Op, tensor::DType};

/// The id of a node in one graph and, since a node has one output, of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

impl ValueId {
    /// Returns the position of the node in [`Graph::nodes`](crate::Graph::nodes).
    pub fn index(self) -> usize {
        self.0
    }
}

/// An operator applied to earlier values.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator.
    pub op: Op,
    /// The inputs of the operator.
    pub inputs: Vec<ValueId>,
    /// Shape of the result.
    pub shape: Vec<Dim>,
    /// Element type of the result.
    pub dtype: DType,
    /// Name for messages: that of the ONNX node or value if there is one, otherwise empty.
    pub name: String,
}
