//! Suggestions when a file does not exist.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use strsim::levenshtein;

/// The maximum number of names to compare with a path.
const COMPARED: usize = 10_000;

/// Returns the end of an error about a missing file: the nearest existing name, or the missing folder.
pub(crate) fn hint(error: &anyhow::Error) -> String {
    let Some(file) = file(error).filter(|file| !file.as_os_str().is_empty() && !file.exists())
    else {
        return String::new();
    };
    // The first part of the path that does not exist.
    let missing = file.ancestors().take_while(|part| !is_there(part)).last();
    let missing = missing.unwrap_or(&file);
    let rest = file.strip_prefix(missing).unwrap_or(Path::new(""));
    match (nearest(missing), missing == file) {
        (Some(there), true) => format!("; did you mean {}?", there.display()),
        (Some(there), false) => format!("; did you mean {}?", there.join(rest).display()),
        (None, true) => String::new(),
        (None, false) => format!("; there is no folder {}", missing.display()),
    }
}

fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

/// Returns the path if the error is about a missing file.
fn file(error: &anyhow::Error) -> Option<PathBuf> {
    let mut outer = None;
    for cause in error.chain() {
        let path = match (cause.downcast_ref(), cause.downcast_ref()) {
            (Some(hoodwink::Error::Io { path, source }), _)
                if source.kind() == ErrorKind::NotFound =>
            {
                Some(path.clone())
            }
            (Some(hoodwink::Error::Graph(onnx_grad::Error::Io { path, .. })), _)
            | (_, Some(onnx_grad::Error::Io { path, .. })) => Some(path.into()),
            _ => None,
        };
        let is_missing = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
        // An I/O error has no path of its own; its context names it.
        let of_context = || {
            outer
                .take()
                .filter(|_| cause.downcast_ref().is_some_and(is_missing))
        };
        if let Some(path) = path.or_else(of_context) {
            return Some(path);
        }
        outer = Some(PathBuf::from(cause.to_string()));
    }
    None
}

/// Returns the file with the most similar name in the same folder, if it differs by only a few letters.
fn nearest(missing: &Path) -> Option<PathBuf> {
    let typed = missing.file_name()?.to_str()?;
    let folder = missing.parent()?;
    let read = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let names = fs::read_dir(read)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let length = typed.chars().count();
    let most = 1 + length / 6;
    let distances = names
        .filter(|name| name.chars().count().abs_diff(length) <= most)
        .take(COMPARED)
        .map(|name| (levenshtein(&name, typed), name));
    // Ties go to the first name in alphabetical order, whatever order the system lists them in.
    let (distance, name) = distances.min()?;
    (distance <= most).then(|| folder.join(name))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir(at("photographs")).unwrap();
        for name in ["photographs/labels.csv", "net.onnx", "net.toml"] {
            fs::write(at(name), "").unwrap();
        }
        let shown = |name: &str| at(name).display().to_string();
        for (typed, expected) in [
            ("ned.onnx", format!("; did you mean {}?", shown("net.onnx"))),
            (
                "photograps/labels.csv",
                format!("; did you mean {}?", shown("photographs/labels.csv")),
            ),
            (
                "elsewhere/a/b.csv",
                format!("; there is no folder {}", shown("elsewhere")),
            ),
            ("something-else.onnx", String::new()),
            ("net.onnx", String::new()),
        ] {
            let gone = || std::io::Error::from(ErrorKind::NotFound);
            let of_library = hoodwink::Error::io(at(typed))(gone());
            assert_eq!(hint(&of_library.into()), expected, "{typed}");
            let of_context = Err::<(), _>(gone()).context(shown(typed)).unwrap_err();
            assert_eq!(hint(&of_context), expected, "{typed}");
            let of_model = onnx_grad::Error::Io {
                path: shown(typed),
                message: "gone".to_owned(),
            };
            assert_eq!(
                hint(&hoodwink::Error::from(of_model).into()),
                expected,
                "{typed}"
            );
        }
        assert_eq!(hint(&anyhow::anyhow!("plain")), "");
    }
}
