//! The one error of the crate.

/// What the crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be read, differentiated or written.
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
    /// A function of this crate was asked for what cannot be; nothing is wrong with the model.
    #[error("{0}")]
    Misuse(String),
    /// A gradient was asked through an operator that has none.
    #[error("no gradient through node {node:?} ({op}): {reason}")]
    NoGradient {
        /// Name of the node, as in the ONNX file where it had one.
        node: String,
        /// Its operator.
        op: &'static str,
        /// Why there is no gradient.
        reason: String,
    },
    /// The model file, or a file of weights beside it, could not be read.
    #[error("{path}: {message}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        message: String,
    },
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// An [`Error::Misuse`].
    pub fn misuse(message: impl Into<String>) -> Self {
        Self::Misuse(message.into())
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }
}
