//! Differentiates ONNX graphs: takes an ONNX model and returns the ONNX model of its gradient.

mod derive;
mod dim;
mod error;
mod export;
mod fold;
mod grad;
mod graph;
mod import;
mod inner;
pub mod inspect;
mod logits;
mod loss;
mod lower;
mod node;
mod objective;
mod op;
mod proto;
mod rules;
mod shape;
mod tape;
mod tensor;
#[cfg(test)]
mod testing;

pub use derive::{gradient_graph, training_graph};
pub use dim::Dim;
pub use error::{Error, Result};
pub use export::to_onnx;
pub use fold::fold;
pub use grad::{gradient, pullback};
pub use graph::Graph;
pub use import::{
    Bytes, LoadOptions, Loaded, Sealed, folder_of, load, load_with, parse, parse_with, read, seal,
    seal_bytes,
};
pub use inner::{inner_values, with_backward};
pub use logits::{Head, logits, scores};
pub use loss::Loss;
pub use lower::Lowering;
pub use node::{Node, ValueId};
pub use objective::{gradient_at, objective_graph, objective_graph_at, ranks};
pub use op::{Convolution, Op, PadMode, Pool, Reduction};
pub use tensor::{DType, Elements, Tensor};
