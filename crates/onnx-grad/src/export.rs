//! Graphs as ONNX files.

use crate::{Error, Graph, Lowering, Result};

/// The graph as the bytes of an ONNX file.
pub fn to_onnx(_graph: &Graph, _lowering: Lowering) -> Result<Vec<u8>> {
    Err(Error::unsupported("export is not there yet"))
}
