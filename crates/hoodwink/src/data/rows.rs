//! Pictures by row, the common interface of all kinds of storage.

use std::fmt;
use std::path::{Path, PathBuf};

use super::shape_bytes;
use crate::error::Result;
use crate::files;
use crate::image::Picture;

/// Maximum size of a picture file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// Pictures by row, read on demand.
pub(super) trait Rows: fmt::Debug + Send + Sync {
    /// Returns the kind of storage in a few words.
    fn kind(&self) -> &'static str;

    /// Whether rows are encoded pictures of various sizes, and not arrays or drawings.
    fn are_photographs(&self) -> bool {
        false
    }

    /// Returns the name of a row. `name` is the data set's name.
    fn file(&self, row: usize, name: &str) -> String {
        format!("{name}[{row}]")
    }

    /// Reads the picture in a row. `file` names it in errors.
    fn picture(&self, row: usize, file: &str) -> Result<Picture>;

    /// Returns the stored bytes of a row. Without a file, returns the picture's bytes with its shape.
    fn stored(&self, row: usize) -> Result<Vec<u8>>;

    /// Decodes the picture in a row from the bytes of [`Rows::stored`].
    fn picture_of(&self, row: usize, stored: &[u8], file: &str) -> Result<Picture> {
        match self.is_encoded() {
            true => Picture::decode(stored, file),
            false => self.picture(row, file),
        }
    }

    /// Whether rows are read on demand from files that may change meanwhile. Storage that returns true and is not
    /// encoded must implement [`Rows::picture_of`].
    fn may_change(&self) -> bool {
        self.is_encoded()
    }

    /// Whether pictures are decoded on demand, and so may turn out to be broken.
    fn is_encoded(&self) -> bool {
        false
    }
}

/// Files, relative to a folder.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) files: Vec<String>,
}

impl Rows for Files {
    fn kind(&self) -> &'static str {
        "picture files"
    }

    fn are_photographs(&self) -> bool {
        true
    }

    fn file(&self, row: usize, _: &str) -> String {
        self.files[row].clone()
    }

    fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        Picture::decode(&self.stored(row)?, file)
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        read_file(&self.folder.join(&self.files[row]))
    }

    fn is_encoded(&self) -> bool {
        true
    }
}

/// Pictures in memory, starting with the row `first`.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) pictures: Vec<Picture>,
    pub(super) first: usize,
}

impl Rows for Memory {
    fn kind(&self) -> &'static str {
        "pictures in memory"
    }

    fn picture(&self, row: usize, _: &str) -> Result<Picture> {
        Ok(self.pictures[row - self.first].clone())
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let picture = &self.pictures[row - self.first];
        Ok([&shape_bytes(picture), picture.bytes()].concat())
    }
}

/// Reads a whole file, up to the maximum size of a picture.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    files::read(path, MAX_FILE_BYTES)
}
