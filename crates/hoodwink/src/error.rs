//! The error type of the library.

use std::path::{Path, PathBuf};

use crate::legible;

/// The result type of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason for a failure. Each message names the file, node or row, and says what to do if there is a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input contradicts itself or its documentation. A correct tool would refuse it too.
    #[error("{0}")]
    Invalid(String),
    /// Several errors of the same kind, one per line.
    #[error("{}", list(said, each))]
    Several {
        /// What all entries have in common.
        said: String,
        /// One entry per line.
        each: Vec<String>,
    },
    /// The input is legitimate, but this version cannot handle it.
    #[error("{0}")]
    Unsupported(String),
    /// A file could not be read or written.
    #[error("{}: {source}", legible::name(&path.display().to_string()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
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
        /// The message of the engine.
        message: String,
    },
    /// The attacker has used up the query or gradient budget for this picture.
    #[error("the budget of {0} is used up")]
    Budget(&'static str),
    /// The user asked to stop, by Ctrl-C or a time limit.
    #[error("stopped on request")]
    Stopped,
}

/// The maximum number of entries in the message.
const LINES: usize = 20;

/// The maximum number of characters of an entry.
const LINE: usize = 400;

fn list(said: &str, each: &[String]) -> String {
    let mut all = legible::line(said) + ":";
    for one in each.iter().take(LINES) {
        all += &format!("\n  {}", legible::within(one, LINE));
    }
    if let Some(more @ 1..) = each.len().checked_sub(LINES) {
        all += &format!("\n  and {more} more");
    }
    all
}

impl Error {
    /// Creates an [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// Creates an [`Error::Several`].
    pub fn several(said: impl Into<String>, each: Vec<String>) -> Self {
        let said = said.into();
        Self::Several { said, each }
    }

    /// Creates an [`Error::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }

    /// Tells whether the input is legitimate but not supported by this version.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Unsupported(_) | Self::Graph(onnx_grad::Error::Unsupported(_))
        )
    }

    /// Returns a function that creates an [`Error::Io`] at `path`, for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_make_no_lines() {
        let gone = || std::io::Error::other("gone");
        let error = Error::io("a\nerror: b")(gone());
        assert_eq!(error.to_string(), "a\\nerror: b: gone");
        let error = Error::io("a".repeat(9_999))(gone());
        assert!(error.to_string().ends_with("a (9999 characters): gone"));
        let each = (0..1_000).map(|at| format!("{at}\nerror: b"));
        let error = Error::several("all are wrong", each.collect()).to_string();
        assert_eq!(error.lines().count(), 2 + LINES);
        assert!(
            error.starts_with("all are wrong:\n  0\\nerror: b\n  1"),
            "{error}"
        );
        assert!(error.ends_with("\n  and 980 more"), "{error}");
        let error = Error::several("one is wrong", vec!["0".to_owned()]);
        assert_eq!(error.to_string(), "one is wrong:\n  0");
    }
}
