//! Archives of NumPy arrays (`.npz`).

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;

use npyz::npz::NpzArchive;

use super::arrays::{Layout, Rounding, labels};
use super::npy::Header;
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::legible;

/// The most bytes of pictures or labels taken from an archive, which has to be unpacked in memory.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;

/// A `.npz` archive: pictures under the name `x` or `images`, labels under `y` or `labels`.
pub(super) struct Archive {
    archive: NpzArchive<BufReader<File>>,
    file: String,
    /// Names of the arrays, sorted.
    names: Vec<String>,
}

impl Archive {
    /// Opens an archive; `file` names it in errors.
    pub(super) fn open(path: &Path, file: &str) -> Result<Self> {
        let archive = NpzArchive::open(path).map_err(Error::io(path))?;
        let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
        names.sort_unstable();
        Ok(Self {
            archive,
            file: file.to_owned(),
            names,
        })
    }

    /// Which of these names the archive has, the first first.
    fn find(&self, names: [&'static str; 2]) -> Option<&'static str> {
        names
            .into_iter()
            .find(|name| self.names.iter().any(|have| have == name))
    }

    /// Reads one array: checks its header and size, then hands both to `read`.
    fn array<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Header, &mut dyn Read, &str) -> Result<T>,
    ) -> Result<T> {
        let array = format!("{}[{name:?}]", self.file);
        let mut entry = self
            .archive
            .zip_archive()
            .by_name(&npyz::npz::file_name_from_array_name(name))
            .map_err(|error| Error::invalid(format!("{array} cannot be read: {error}")))?;
        let length = entry.size();
        let header = Header::read(&mut entry, &array)?;
        header.check_length(length, &array)?;
        if length > MAX_UNPACKED_BYTES {
            return Err(Error::unsupported(format!(
                "{array} unpacks to {length} bytes, more than the {MAX_UNPACKED_BYTES} an archive \
                 may take in memory: save it as .npy, which is read row by row"
            )));
        }
        read(&header, &mut entry, &array)
    }

    /// The labels, if the archive has any.
    pub(super) fn labels(&mut self) -> Result<Option<Vec<usize>>> {
        self.find(["y", "labels"])
            .map(|name| {
                self.array(name, |header, mut source, file| {
                    labels(header, &mut source, file)
                })
            })
            .transpose()
    }

    /// Calls `rows` with the number of pictures for those to take, and reads them; with a notice if
    /// values were rounded.
    pub(super) fn pictures(
        &mut self,
        rows: impl FnOnce(usize) -> Result<Range<usize>>,
    ) -> Result<(Vec<Picture>, Option<String>)> {
        let name = self.find(["x", "images"]).ok_or_else(|| {
            Error::invalid(format!(
                "{} has no array named x or images; it has {}",
                self.file,
                legible::names(&self.names)
            ))
        })?;
        self.array(name, |header, source, file| {
            let layout = Layout::of(header, file)?;
            let rows = rows(layout.count)?;
            let mut values = vec![0; layout.row_bytes()];
            let mut rounding = Rounding::default();
            let mut pictures = Vec::new();
            for row in 0..rows.end {
                source.read_exact(&mut values).map_err(Error::io(file))?;
                if row >= rows.start {
                    let (picture, distance) = layout.picture(&values, &format!("{file}[{row}]"))?;
                    rounding.add(distance);
                    pictures.push(picture);
                }
            }
            Ok((pictures, rounding.notice(file)))
        })
    }
}
