//! Differentiates ONNX graphs: an ONNX model in, the ONNX model of its gradient out.

mod error;

pub use error::{Error, Result};
