//! Encoded pictures in WebDataset shards.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::MAX_CLASSES;
use super::folder::is_picture;
use super::rows::Rows;
use super::spelling::is_of_macos;
use crate::error::{Error, Result};
use crate::files::{self, read_part};
use crate::image::Picture;

/// Maximum size of a picture inside another file, in bytes.
const MAX_PICTURE_BYTES: u64 = 1 << 28;

/// Maximum number of bytes read between two entries of an archive: headers, including long names, and a label.
const MAX_ENTRY_BYTES: u64 = 1 << 20;

/// Maximum length of an entry's name, in bytes. No file has a longer path.
const MAX_NAME_BYTES: usize = 4096;

/// Number of characters shown of an entry's name.
const SHOWN_CHARACTERS: usize = 100;

/// Maximum size of all names kept in memory, in bytes.
const MAX_NAMES_BYTES: usize = 1 << 28;

/// Maximum size of a label entry, in bytes.
const MAX_LABEL_BYTES: u64 = 64;

/// Pictures in tar archives. The parts of a sample share a name: `0001.jpg`, `0001.cls`.
#[derive(Debug)]
pub(super) struct Shards {
    archives: Vec<PathBuf>,
    pictures: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    archive: usize,
    name: String,
    offset: u64,
    length: usize,
}

/// The contents of one archive.
#[derive(Default)]
struct Content {
    pictures: Vec<Entry>,
    /// By the name that they share with their pictures.
    labels: BTreeMap<String, usize>,
    /// The size of all names, in bytes.
    names: usize,
}

impl Shards {
    /// Reads the headers of all archives. The labels are those of the `.cls` entries, if every picture has one.
    pub(super) fn open(archives: Vec<PathBuf>) -> Result<(Self, Option<Vec<usize>>)> {
        let (mut pictures, mut labels) = (Vec::new(), Vec::new());
        let mut names = 0;
        for (archive, path) in archives.iter().enumerate() {
            let content = Content::of(path, archive)?;
            names += content.names;
            if names > MAX_NAMES_BYTES {
                return Err(Error::unsupported(format!(
                    "{}: the entry names up to this archive take more than {MAX_NAMES_BYTES} bytes: choose fewer \
                     archives",
                    path.display()
                )));
            }
            for entry in &content.pictures {
                labels.push(content.labels.get(key(&entry.name)).copied());
            }
            pictures.extend(content.pictures);
        }
        let unlabelled = labels.iter().position(Option::is_none);
        if let (Some(at), true) = (unlabelled, labels.iter().any(Option::is_some)) {
            return Err(Error::invalid(format!(
                "{}: {} has no .cls entry with its label, but others do",
                archives[pictures[at].archive].display(),
                pictures[at].name
            )));
        }
        Ok((Self { archives, pictures }, labels.into_iter().collect()))
    }

    pub(super) fn count(&self) -> usize {
        self.pictures.len()
    }
}

impl Content {
    /// Reads the headers and labels of an archive, which has the number `archive`, but not its pictures.
    fn of(path: &Path, archive: usize) -> Result<Self> {
        let broken = |error: io::Error| {
            Error::invalid(format!(
                "{} cannot be read as a tar archive: {error}",
                path.display()
            ))
        };
        let file = files::open(path)?;
        let end = file.metadata().map_err(Error::io(path))?.len();
        let left = Rc::new(Cell::new(MAX_ENTRY_BYTES));
        let metered = Metered {
            file,
            left: Rc::clone(&left),
        };
        let mut tar = tar::Archive::new(metered);
        let mut content = Self::default();
        for entry in tar.entries_with_seek().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let kind = entry.header().entry_type();
            let name = entry.path().map_err(broken)?;
            if is_of_macos(&name) {
                continue;
            }
            let name = name.display().to_string();
            if name.len() > MAX_NAME_BYTES {
                return Err(Error::unsupported(format!(
                    "{}: an entry's name has {} bytes, more than a file name may have",
                    path.display(),
                    name.len()
                )));
            }
            let refused = |what: String| {
                let name: String = name.chars().take(SHOWN_CHARACTERS).collect();
                Error::invalid(format!("{}: {name} {what}", path.display()))
            };
            let (offset, length) = (entry.raw_file_position(), entry.size());
            if kind.is_gnu_sparse() && is_picture(&name) {
                return Err(refused(
                    "is a sparse file: create the archive without sparse files".to_owned(),
                ));
            }
            if kind.is_file() && offset.checked_add(length).is_none_or(|to| to > end) {
                return Err(refused(format!(
                    "has {length} bytes from byte {offset} on, but the archive ends at {end}: it is truncated"
                )));
            }
            if kind.is_file() && is_picture(&name) {
                if length > MAX_PICTURE_BYTES {
                    return Err(refused(format!(
                        "has {length} bytes, too large for a picture"
                    )));
                }
                content.names += name.len();
                content.pictures.push(Entry {
                    archive,
                    offset,
                    length: length as usize,
                    name,
                });
            } else if kind.is_file()
                && let Some(key) = name.strip_suffix(".cls")
            {
                let mut text = Vec::new();
                let mut start = (&mut entry).take(MAX_LABEL_BYTES + 1);
                start.read_to_end(&mut text).map_err(broken)?;
                let text = String::from_utf8_lossy(&text);
                let label: Option<usize> = match text.len() as u64 <= MAX_LABEL_BYTES {
                    true => text.trim().parse().ok(),
                    false => None,
                };
                let label = label.filter(|&label| label < MAX_CLASSES);
                let label = label
                    .ok_or_else(|| refused(format!("holds {text:?}, which is not a class")))?;
                content.names += key.len();
                if content.labels.insert(key.to_owned(), label).is_some() {
                    return Err(refused(
                        "is there twice, so it is unclear which label counts".to_owned(),
                    ));
                }
            }
            if content.names > MAX_NAMES_BYTES {
                break;
            }
            left.set(MAX_ENTRY_BYTES);
        }
        Ok(content)
    }
}

/// A file with a limit on the bytes read, which the caller can raise. The `tar` crate reads an entry's headers into
/// memory, however long the archive claims they are.
struct Metered {
    file: File,
    left: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        let left = self.left.get().checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                ErrorKind::FileTooLarge,
                format!("the headers of an entry take more than {MAX_ENTRY_BYTES} bytes"),
            )
        })?;
        self.left.set(left);
        Ok(read)
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Returns the name that the parts of a sample share: up to the first dot after the last slash.
fn key(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name[file..].find('.').map_or(name.len(), |dot| file + dot);
    &name[..dot]
}

impl Rows for Shards {
    fn kind(&self) -> &'static str {
        "WebDataset shards"
    }

    fn are_photographs(&self) -> bool {
        true
    }

    fn file(&self, row: usize, _: &str) -> String {
        let entry = &self.pictures[row];
        let archive = self.archives[entry.archive].file_name().unwrap_or_default();
        format!("{}/{}", archive.to_string_lossy(), entry.name)
    }

    fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        Picture::decode(&self.stored(row)?, file)
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let entry = &self.pictures[row];
        read_part(&self.archives[entry.archive], entry.offset, entry.length)
    }

    fn is_encoded(&self) -> bool {
        true
    }
}
