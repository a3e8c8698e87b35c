//! Pictures as encoded files inside shards of WebDataset.

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

/// The largest picture inside another file.
const MAX_PICTURE_BYTES: u64 = 1 << 28;

/// The most bytes that are read of an archive from one entry to the next: headers, among them long names, and a label.
const MAX_ENTRY_BYTES: u64 = 1 << 20;

/// The longest name of an entry; no file has a longer path.
const MAX_NAME_BYTES: usize = 4096;

/// As much of the name of an entry is shown.
const SHOWN_CHARACTERS: usize = 100;

/// The most bytes of names that are kept in memory.
const MAX_NAMES_BYTES: usize = 1 << 28;

/// The most bytes of an entry that holds a label.
const MAX_LABEL_BYTES: u64 = 64;

/// Pictures in tar archives, with what belongs to each under the same name: `0001.jpg`, `0001.cls`.
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

/// What one archive holds.
#[derive(Default)]
struct Content {
    pictures: Vec<Entry>,
    /// By what they share with their pictures.
    labels: BTreeMap<String, usize>,
    /// Bytes of all names.
    names: usize,
}

impl Shards {
    /// Goes through all archives once; the labels are those of the `.cls` entries, where every picture has one.
    pub(super) fn open(archives: Vec<PathBuf>) -> Result<(Self, Option<Vec<usize>>)> {
        let (mut pictures, mut labels) = (Vec::new(), Vec::new());
        let mut names = 0;
        for (archive, path) in archives.iter().enumerate() {
            let content = Content::of(path, archive)?;
            names += content.names;
            if names > MAX_NAMES_BYTES {
                return Err(Error::unsupported(format!(
                    "{}: the names of its entries and of those before it take more than {MAX_NAMES_BYTES} bytes: name fewer \
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
                "{}: {} has no .cls entry with its label, others have",
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
    /// Reads the headers of an archive, the one with this number, and its labels, and nothing of its pictures.
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
                    "{}: the name of an entry has {} bytes, more than a file's may have",
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
                    "is stored without its zeros (sparse): make the archive without that"
                        .to_owned(),
                ));
            }
            if kind.is_file() && offset.checked_add(length).is_none_or(|to| to > end) {
                return Err(refused(format!(
                    "has {length} bytes from byte {offset} on, and the archive ends at {end}: it is truncated"
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
                let label =
                    label.ok_or_else(|| refused(format!("holds {text:?}, which is no class")))?;
                content.names += key.len();
                if content.labels.insert(key.to_owned(), label).is_some() {
                    return Err(refused(
                        "is there twice: which label counts cannot be told".to_owned(),
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

/// A file of which only so many bytes are read before somebody allows more. What `tar` needs of an entry it reads into memory,
/// however long the archive says that it is.
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

/// What an entry shares with those that belong to it: the name up to the first dot after the last slash.
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
