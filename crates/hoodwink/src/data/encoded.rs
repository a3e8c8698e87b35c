//! Pictures as encoded files inside other files: shards of WebDataset.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use super::MAX_CLASSES;
use super::folder::is_picture;
use super::rows::{Rows, read_part};
use crate::error::{Error, Result};
use crate::image::Picture;

/// The largest picture inside another file.
const MAX_PICTURE_BYTES: u64 = 1 << 28;

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

impl Shards {
    /// Goes through all archives once; the labels are those of the `.cls` entries, where every picture has one.
    pub(super) fn open(archives: Vec<PathBuf>) -> Result<(Self, Option<Vec<usize>>)> {
        let (mut pictures, mut labels) = (Vec::new(), Vec::new());
        for (archive, path) in archives.iter().enumerate() {
            let mut found = BTreeMap::new();
            let mut order: Vec<Entry> = Vec::new();
            let mut tar = tar::Archive::new(File::open(path).map_err(Error::io(path))?);
            for entry in tar.entries().map_err(Error::io(path))? {
                let mut entry = entry.map_err(Error::io(path))?;
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                let name = entry.path().map_err(Error::io(path))?.display().to_string();
                let length = entry.size();
                if is_picture(&name) {
                    if length > MAX_PICTURE_BYTES {
                        return Err(Error::unsupported(format!(
                            "{}: {name} has {length} bytes, too large for a picture",
                            path.display()
                        )));
                    }
                    order.push(Entry {
                        archive,
                        offset: entry.raw_file_position(),
                        length: length as usize,
                        name,
                    });
                } else if let Some(key) = name.strip_suffix(".cls") {
                    let mut text = String::new();
                    std::io::Read::read_to_string(
                        &mut std::io::Read::take(&mut entry, 64),
                        &mut text,
                    )
                    .map_err(Error::io(path))?;
                    let label = text
                        .trim()
                        .parse()
                        .ok()
                        .filter(|&label: &usize| label < MAX_CLASSES);
                    let label = label.ok_or_else(|| {
                        Error::invalid(format!(
                            "{}: {name} holds {text:?}, which is no class",
                            path.display()
                        ))
                    })?;
                    found.insert(key.to_owned(), label);
                }
            }
            for entry in &order {
                labels.push(found.get(key(&entry.name)).copied());
            }
            pictures.extend(order);
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
