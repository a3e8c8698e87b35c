//! File names on disk: Unicode forms, files that systems leave behind, and dangling links.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::error::Error;
use crate::legible;

/// Folders and files that operating systems and tools create in folders of pictures, besides those that begin with a
/// dot.
const LEFT_BEHIND: [&str; 8] = [
    "__MACOSX",
    "__pycache__",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "desktop.ini",
    "ehthumbs.db",
    "Thumbs.db",
];

/// Whether a file or folder of this name is not part of the data.
pub(super) fn is_left_behind(name: &str) -> bool {
    name.starts_with('.') || (LEFT_BEHIND.iter()).any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether macOS added this file beside another while packing it.
pub(super) fn is_of_macos(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => {
            let name = name.to_string_lossy();
            name.starts_with("._") || name == "__MACOSX" || name == ".DS_Store"
        }
        _ => false,
    })
}

/// Returns a text in Unicode's composed form (NFC). macOS may store `ü` as `u` and two dots, which looks the same.
pub(super) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Returns the error about a file, and `more` others, whose names are not UTF-8.
pub(super) fn not_utf8(path: &Path, more: usize) -> Error {
    let bytes = path.as_os_str().as_encoded_bytes();
    Error::unsupported(format!(
        "{}: the name is not UTF-8{}; rename {}",
        legible::name(&bytes.escape_ascii().to_string()),
        and_more(more),
        if more == 0 { "it" } else { "them" }
    ))
}

/// Returns the error about a dangling link, if `path` is one. `more` is the number of others like it.
pub(super) fn dangling(path: &Path, more: usize) -> Option<Error> {
    let target = fs::read_link(path).ok().filter(|_| !path.exists())?;
    Some(Error::invalid(format!(
        "{} is a link to {}, which does not exist{}: restore the missing file, or remove the link",
        legible::name(&path.display().to_string()),
        legible::name(&target.display().to_string()),
        and_more(more)
    )))
}

fn and_more(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more like it)"),
    }
}

/// Finds the files of a list, even if the disk spells a name in another Unicode form.
#[derive(Default)]
pub(super) struct Finder {
    /// The names in the folders visited so far, by their composed forms.
    folders: HashMap<PathBuf, HashMap<String, String>>,
}

impl Finder {
    /// Returns the name of a file relative to a folder, as the disk spells it, or a sentence that says what is wrong.
    pub(super) fn file(&mut self, folder: &Path, name: &str) -> Result<String, String> {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(name.to_owned());
        }
        if let Some(error) = dangling(&path, 0) {
            return Err(error.to_string());
        }
        self.respelled(folder, name)
            .filter(|name| folder.join(name).is_file())
            .ok_or_else(|| format!("there is no file {:?}", legible::name(name)))
    }

    fn respelled(&mut self, folder: &Path, name: &str) -> Option<String> {
        // ASCII has only one form.
        if name.is_ascii() {
            return None;
        }
        let mut found = PathBuf::new();
        for part in Path::new(name).components() {
            match part {
                Component::Normal(part) => {
                    let names = self.names(folder.join(&found));
                    found.push(names.get(&composed(part.to_str()?))?);
                }
                other => found.push(other),
            }
        }
        found.into_os_string().into_string().ok()
    }

    fn names(&mut self, folder: PathBuf) -> &HashMap<String, String> {
        self.folders.entry(folder).or_insert_with_key(|folder| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.map(|name| (composed(&name), name)).collect()
        })
    }
}
