//! Pictures by row: what a data set is made of, whatever it is stored in.

use std::fmt;
use std::path::{Path, PathBuf};

use super::shape_bytes;
use crate::error::Result;
use crate::files;
use crate::image::Picture;

/// The largest picture file that is read.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// Pictures by row, read when they are asked for.
pub(super) trait Rows: fmt::Debug + Send + Sync {
    /// What they are kept in, in a few words.
    fn kind(&self) -> &'static str;

    /// Whether they are encoded pictures, each of its own size, and not arrays or drawings.
    fn are_photographs(&self) -> bool {
        false
    }

    /// What a row is called; `name` is the data set's name.
    fn file(&self, row: usize, name: &str) -> String {
        format!("{name}[{row}]")
    }

    /// The picture in a row; `file` names it in errors.
    fn picture(&self, row: usize, file: &str) -> Result<Picture>;

    /// The bytes of a row as they are stored; those of a picture that has no file with its shape.
    fn stored(&self, row: usize) -> Result<Vec<u8>>;

    /// The picture in a row whose bytes, from [`Rows::stored`], are these.
    fn picture_of(&self, row: usize, stored: &[u8], file: &str) -> Result<Picture> {
        match self.is_encoded() {
            true => Picture::decode(stored, file),
            false => self.picture(row, file),
        }
    }

    /// Whether rows are read from files when they are asked for, which others may change meanwhile. What is not encoded
    /// and answers yes has a [`Rows::picture_of`] of its own.
    fn may_change(&self) -> bool {
        self.is_encoded()
    }

    /// Whether pictures are decoded when they are asked for, and so may turn out to be broken.
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

/// Pictures in memory; the first of them has the row `first`.
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

/// A whole file of the size that a picture may have.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    files::read(path, MAX_FILE_BYTES)
}
