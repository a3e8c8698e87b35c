//! The one error of the library.

use std::path::{Path, PathBuf};

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done. Each message names the file, node or row and, where there is
/// one, the way on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input contradicts itself or its documentation; a correct tool would refuse it too.
    #[error("{0}")]
    Invalid(String),
    /// The input is legitimate, but this version cannot handle it.
    #[error("{0}")]
    Unsupported(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The model could not be read, normalised or differentiated.
    #[error(transparent)]
    Graph(#[from] onnx_grad::Error),
    /// An engine refused a graph or failed while running it.
    #[error("engine {engine}: {message}")]
    Engine {
        /// Name of the engine.
        engine: &'static str,
        /// What it said.
        message: String,
    },
    /// The attacker has used up what the threat model allows for this picture.
    #[error("the budget of {0} is used up")]
    Budget(&'static str),
    /// The user asked to stop (Ctrl-C, or a limit of seconds).
    #[error("stopped on request")]
    Stopped,
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }

    /// Whether the input is legitimate, but beyond this version.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Unsupported(_) | Self::Graph(onnx_grad::Error::Unsupported(_))
        )
    }

    /// An [`Error::Io`] at `path`; for use with `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }
}
