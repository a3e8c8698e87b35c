//! The one error of the library.

use std::path::{Path, PathBuf};

use crate::legible;

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
    /// Several things of one kind are wrong, each of which is told in a line.
    #[error("{}", list(said, each))]
    Several {
        /// What is wrong with all of them.
        said: String,
        /// What each is.
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

/// The most lines of an error about several things.
const LINES: usize = 20;

/// The most characters of each.
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
    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// An [`Error::Several`].
    pub fn several(said: impl Into<String>, each: Vec<String>) -> Self {
        let said = said.into();
        Self::Several { said, each }
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
