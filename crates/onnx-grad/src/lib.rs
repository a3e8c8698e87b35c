//! Differentiates ONNX graphs: an ONNX model in, the ONNX model of its gradient out.

mod error;
mod graph;
mod op;
mod proto;
mod shape;
mod tensor;

pub use error::{Error, Result};
pub use graph::{Dim, Graph, Node, ValueId};
pub use op::{Convolution, Op, PadMode, Pool, Reduction};
pub use tensor::{DType, Elements, Tensor};
