//! The error type of the crate.

/// The result type of the crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a model could not be read, differentiated or written.
///
/// *Invalid* means the file contradicts itself or the ONNX specification; *unsupported* means it
/// is legitimate but beyond this version. The two are never mixed up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model breaks the ONNX specification or contradicts itself.
    #[error("invalid model: {0}")]
    Invalid(String),
    /// The model is legitimate, but this version cannot read it.
    #[error("unsupported model: {0}")]
    Unsupported(String),
    /// A function of this crate was called with impossible arguments; the model is fine.
    #[error("{0}")]
    Misuse(String),
    /// A gradient was requested through an operator that has none.
    #[error("no gradient through node {node:?} ({op}): {reason}")]
    NoGradient {
        /// Name of the node, as in the ONNX file if it has one.
        node: String,
        /// Its operator.
        op: &'static str,
        /// The reason why there is no gradient.
        reason: String,
    },
    /// The model file, or an external weights file, could not be read.
    #[error("{path}: {message}")]
    Io {
        /// The file.
        path: String,
        /// The operating system's message.
        message: String,
    },
}

impl Error {
    /// Creates an [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// Creates an [`Error::Misuse`].
    pub fn misuse(message: impl Into<String>) -> Self {
        Self::Misuse(message.into())
    }

    /// Creates an [`Error::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }
}
