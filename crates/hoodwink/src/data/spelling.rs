//! Names of files as disks spell them: in several Unicode forms, beside what systems leave behind, and as links to nowhere.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::error::Error;
use crate::legible;

/// Folders and files that operating systems and tools leave in folders of pictures; so do all that begin with a point.
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

/// Whether a file or folder of this name is no part of the data.
pub(super) fn is_left_behind(name: &str) -> bool {
    name.starts_with('.') || (LEFT_BEHIND.iter()).any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether macOS, while packing, left this file beside the one it is about.
pub(super) fn is_of_macos(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => {
            let name = name.to_string_lossy();
            name.starts_with("._") || name == "__MACOSX" || name == ".DS_Store"
        }
        _ => false,
    })
}

/// A text in Unicode's composed form (NFC). macOS may store `ü` as `u` and two dots; both read the same.
pub(super) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// The error about a file whose name is not UTF-8, and perhaps others.
pub(super) fn not_utf8(path: &Path, more: usize) -> Error {
    let bytes = path.as_os_str().as_encoded_bytes();
    Error::unsupported(format!(
        "{}: the name is not UTF-8{}; rename {}",
        legible::name(&bytes.escape_ascii().to_string()),
        and_more(more),
        if more == 0 { "it" } else { "them" }
    ))
}

/// The error about a link to what is not there, if a path is one; `more` others are like it.
pub(super) fn dangling(path: &Path, more: usize) -> Option<Error> {
    let target = fs::read_link(path).ok().filter(|_| !path.exists())?;
    Some(Error::invalid(format!(
        "{} is a link to {}, which is not there{}: put back what is missing, or remove the link",
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

/// Finds files that a list names, also where the disk has the name in another Unicode form.
#[derive(Default)]
pub(super) struct Finder {
    /// Of folders that were looked into: what is there, by its composed name.
    folders: HashMap<PathBuf, HashMap<String, String>>,
}

impl Finder {
    /// The name of a file relative to a folder, as the disk spells it; else a sentence that says what is wrong.
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
        // ASCII has one form.
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
