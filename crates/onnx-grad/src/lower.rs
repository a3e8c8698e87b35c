//! Composite operators in plain ONNX.

/// For which engine composite operators are spelled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lowering {
    /// Any engine.
    Portable,
    /// ONNX Runtime, which is faster with other spellings.
    OnnxRuntime,
}
