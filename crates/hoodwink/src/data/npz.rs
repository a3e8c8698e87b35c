//! Archives of NumPy arrays (`.npz`).
//!
//! The archive's directory is read once, and only the needed arrays are kept. The claims of an entry are checked
//! against its size before memory is allocated, and its checksum is verified at its end.

use std::fmt::Display;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use flate2::bufread::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive,
    ZipArchiveEntryWayfinder,
};

use super::arrays::{Layout, Rounding, labels};
use super::npy::Header;
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::files;
use crate::image::Picture;
use crate::legible;

/// Maximum size of the pictures or labels of an archive, in bytes, because they are unpacked in memory.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;

/// Maximum number of entries to search for the arrays.
const MAX_ENTRIES: usize = 10_000;

/// Number of other arrays that a message names, and maximum length of each name in characters.
const NAMED: usize = 5;
const NAMED_CHARACTERS: usize = 30;

/// Names of picture arrays, the preferred first, each with the names of its labels. Capitals do not matter.
const NAMES: [(&str, &[&str]); 20] = [
    ("x", &["y", "labels"]),
    ("images", &["labels", "y", "targets"]),
    ("x_test", &["y_test"]),
    ("test_x", &["test_y"]),
    ("test_images", &["test_labels"]),
    ("images_test", &["labels_test"]),
    ("test_data", &["test_labels", "test_targets"]),
    ("data", &["targets", "labels", "target", "label", "y"]),
    ("image", &["label", "labels"]),
    ("imgs", &["labels", "targets"]),
    ("pictures", &["labels"]),
    ("inputs", &["targets", "labels", "outputs"]),
    ("features", &["labels", "targets"]),
    ("x_val", &["y_val"]),
    ("val_x", &["val_y"]),
    ("val_images", &["val_labels"]),
    ("x_train", &["y_train"]),
    ("train_x", &["train_y"]),
    ("train_images", &["train_labels"]),
    ("arr_0", &["arr_1"]),
];

/// Names that need no notice.
const USUAL: [&str; 2] = ["x", "images"];

/// Maximum number of bytes that deflate can make of one byte.
pub(super) const MAX_DEFLATED: u64 = 1032;

/// A `.npz` archive: pictures named `x` or `images`, labels named `y` or `labels`, or other pairs of [`NAMES`].
pub(super) struct Archive {
    archive: ZipArchive<FileReader>,
    file: String,
    /// The arrays with known names: the name in lower case, the name in the archive, and the entry.
    arrays: Vec<(&'static str, String, Packed)>,
    /// The first few other names, and the number of other names.
    others: Vec<String>,
    count: usize,
}

/// The name of an array, and its entry.
type Found<'a> = (&'a str, Packed);

/// The entry of an array.
#[derive(Clone, Copy)]
struct Packed {
    place: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
    encrypted: bool,
}

impl Archive {
    /// Opens an archive; `file` names it in errors.
    pub(super) fn open(path: &Path, file: &str) -> Result<Self> {
        let broken = |error: rawzip::Error| {
            Error::invalid(format!(
                "{file} cannot be read as an archive of arrays: {error}"
            ))
        };
        let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let archive = ZipArchive::from_file(files::open(path)?, &mut buffer).map_err(broken)?;
        let mut arrays: Vec<(&str, String, Packed)> = Vec::new();
        let mut others = Vec::new();
        let mut count = 0;
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(broken)? {
            count += 1;
            if count > MAX_ENTRIES {
                return Err(Error::unsupported(format!(
                    "{file} has more than {MAX_ENTRIES} entries: save the pictures as one array named x"
                )));
            }
            let path = entry.file_path();
            let Some(name) = path.as_ref().strip_suffix(b".npy") else {
                continue;
            };
            let mut known = NAMES
                .iter()
                .flat_map(|(pictures, labels)| std::iter::once(pictures).chain(*labels));
            let Some(&known) = known.find(|known| known.as_bytes().eq_ignore_ascii_case(name))
            else {
                let name = String::from_utf8_lossy(name);
                others.push(name.chars().take(NAMED_CHARACTERS).collect());
                continue;
            };
            if arrays.iter().any(|(other, ..)| *other == known) {
                return Err(Error::invalid(format!(
                    "{file} has two arrays named {known}: save it with only one"
                )));
            }
            let packed = Packed {
                place: entry.wayfinder(),
                method: entry.compression_method(),
                encrypted: entry.flags().is_encrypted(),
            };
            arrays.push((known, String::from_utf8_lossy(name).into_owned(), packed));
        }
        others.sort_unstable();
        let count = others.len();
        others.truncate(NAMED);
        Ok(Self {
            archive,
            file: file.to_owned(),
            arrays,
            others,
            count,
        })
    }

    /// Finds the array with this name in lower case.
    fn find(&self, name: &str) -> Option<Found<'_>> {
        let (_, called, packed) = self.arrays.iter().find(|(own, ..)| *own == name)?;
        Some((called, *packed))
    }

    /// Returns the arrays of pictures and labels, and prefers complete pairs.
    fn pair(&self) -> Option<(Found<'_>, Option<Found<'_>>)> {
        let mut pairs = NAMES.iter().filter_map(|(pictures, labels)| {
            let labels = labels.iter().find_map(|name| self.find(name));
            Some((self.find(pictures)?, labels))
        });
        let first = pairs.next()?;
        let whole = match first.1 {
            Some(_) => None,
            None => pairs.find(|(_, labels)| labels.is_some()),
        };
        Some(whole.unwrap_or(first))
    }

    /// Returns which arrays are used, if their names are ambiguous.
    pub(super) fn notice(&self) -> Option<String> {
        let ((pictures, _), labels) = self.pair()?;
        let usual = USUAL.contains(&pictures);
        let labels = labels.map_or(String::new(), |(labels, _)| {
            format!(" and {labels} for the labels")
        });
        (!usual).then(|| {
            format!(
                "Of the arrays in {}, {pictures} is used for the pictures{labels}.",
                self.file
            )
        })
    }

    /// Reads the header of an array and returns it with a reader of the values.
    fn array(&self, (name, packed): (&str, Packed)) -> Result<Array<'_>> {
        let array = format!("{}[{name:?}]", self.file);
        let broken =
            |error: &dyn Display| Error::invalid(format!("{array} cannot be read: {error}"));
        if packed.encrypted {
            return Err(Error::unsupported(format!(
                "{array} is encrypted: save it without a password"
            )));
        }
        let entry = self.archive.get_entry(packed.place);
        let entry = entry.map_err(|error| broken(&error))?;
        let length = packed.place.uncompressed_size_hint();
        let stored = packed.place.compressed_size_hint();
        if length > MAX_UNPACKED_BYTES {
            return Err(Error::unsupported(format!(
                "{array} unpacks to {length} bytes, more than {MAX_UNPACKED_BYTES}, the limit in \
                 memory: save it as .npy, which is read row by row"
            )));
        }
        let source = BufReader::new(entry.reader());
        let (source, most): (Box<dyn Read>, _) = match packed.method {
            CompressionMethod::STORE => (Box::new(source), stored),
            CompressionMethod::DEFLATE => (
                Box::new(DeflateDecoder::new(source)),
                stored.saturating_mul(MAX_DEFLATED),
            ),
            method => {
                return Err(Error::unsupported(format!(
                    "{array} is compressed with {method}; save it with numpy.savez_compressed"
                )));
            }
        };
        if length > most {
            return Err(broken(&format!(
                "its {stored} bytes cannot unpack to the {length} that the archive claims"
            )));
        }
        // One extra byte is enough to detect a longer entry.
        let source = entry.verifying_reader(source.take(length.saturating_add(1)));
        let mut source = Box::new(source);
        let header = Header::read(&mut source, &array)?;
        header.check_length(length, &array)?;
        Ok(Array {
            name: array,
            header,
            values: source,
        })
    }

    fn array_of_pictures(&self) -> Result<Array<'_>> {
        let (found, _) = self.pair().ok_or_else(|| {
            let more = match self.count - self.others.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let names = match self.others.is_empty() {
                true => "no other".to_owned(),
                false => legible::names(&self.others),
            };
            Error::invalid(format!(
                "{} has no array named x, images, x_test, test_images, data, arr_0 or the like; found {names}{more}",
                self.file
            ))
        })?;
        self.array(found)
    }

    /// Returns the number of pictures.
    pub(super) fn count(&self) -> Result<usize> {
        let array = self.array_of_pictures()?;
        Ok(Layout::of(&array.header, &array.name)?.count)
    }

    /// Returns the labels of that many pictures, if the archive has labels.
    pub(super) fn labels(&self, count: usize) -> Result<Option<Vec<usize>>> {
        let Some((_, Some(found))) = self.pair() else {
            return Ok(None);
        };
        let mut array = self.array(found)?;
        let of = (self.file.as_str(), count);
        let labels = labels(&array.header, &mut array.values, &array.name, of)?;
        array.end()?;
        Ok(Some(labels))
    }

    /// Reads some rows of the pictures, with a notice if values were rounded.
    pub(super) fn pictures(&self, rows: Range<usize>) -> Result<(Unpacked, Option<String>)> {
        let mut array = self.array_of_pictures()?;
        let layout = Layout::of(&array.header, &array.name)?;
        let mut levels = Vec::new();
        let all = rows.len() * layout.shape.iter().product::<usize>();
        levels.try_reserve_exact(all).map_err(|_| {
            Error::unsupported(format!(
                "{} takes {all} bytes, which do not fit into memory: save it as .npy, which is read row by row",
                array.name
            ))
        })?;
        let mut values = vec![0; layout.row_bytes()];
        let mut rounding = Rounding::default();
        for row in 0..rows.end {
            array
                .values
                .read_exact(&mut values)
                .map_err(|error| array.damaged(&error))?;
            if row >= rows.start {
                let name = format!("{}[{row}]", array.name);
                let (picture, distance) = layout.picture(&values, &name)?;
                rounding.add(distance);
                levels.extend_from_slice(picture.bytes());
            }
        }
        array.end()?;
        let unpacked = Unpacked {
            levels,
            shape: layout.shape,
            first: rows.start,
        };
        Ok((unpacked, rounding.notice(&array.name)))
    }
}

/// A partly read array of an archive.
struct Array<'a> {
    /// Its name in errors.
    name: String,
    header: Header,
    values: Box<dyn Read + 'a>,
}

impl Array<'_> {
    /// Reads the rest, so that the checksum is verified.
    fn end(&mut self) -> Result<()> {
        let rest = io::copy(&mut self.values, &mut io::sink());
        rest.map_err(|error| self.damaged(&error))?;
        Ok(())
    }

    fn damaged(&self, error: &dyn Display) -> Error {
        Error::invalid(format!(
            "{} is damaged ({error}): copy or save it again",
            self.name
        ))
    }
}

/// Pictures of one shape in memory, starting with the row `first`.
#[derive(Debug)]
pub(super) struct Unpacked {
    levels: Vec<u8>,
    /// Channels, height, width.
    shape: [usize; 3],
    first: usize,
}

impl Rows for Unpacked {
    fn kind(&self) -> &'static str {
        "pictures in memory"
    }

    fn picture(&self, row: usize, _: &str) -> Result<Picture> {
        let [channels, height, width] = self.shape;
        let length = self.shape.iter().product::<usize>();
        let levels = &self.levels[(row - self.first) * length..][..length];
        Picture::new(channels, height, width, levels.to_vec())
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let picture = self.picture(row, "")?;
        Ok([&super::shape_bytes(&picture), picture.bytes()].concat())
    }
}
