//! Data sets: pictures with their labels.
//!
//! A [`Dataset`] yields prepared pictures with their labels, one at a time and in a fixed order. Files are decoded on
//! demand, so memory does not grow with the data.

mod arrays;
mod check;
mod class_names;
mod folder;
mod interpolation;
mod known_classes;
mod label_map;
mod label_texts;
mod likeness;
mod lists;
pub(crate) mod matrix;
pub(crate) mod named;
mod neighbours;
mod npy;
mod npz;
mod packed;
mod partition;
mod pickle;
mod rows;
pub mod scenes;
mod shards;
mod source;
mod spelling;
#[cfg(test)]
mod stores;
mod survey;
mod tables;
mod transform;
#[cfg(test)]
mod untrusted;
#[cfg(test)]
mod variants;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use rows::{Memory, Rows};
use source::Opened;

pub use class_names::{class_named, read_class_names, short_name};
pub use interpolation::Interpolation;
pub use known_classes::KnownClasses;
pub use likeness::{Likeness, SMALLEST_SIDE};
pub use partition::Partition;
pub use survey::{Duplicates, Entry, Leak, Survey};
pub use transform::{Crop, HalfPixel, Resize, Transform};

use crate::counted;
use crate::error::{Error, Result};
use crate::files;
use crate::image::Picture;

/// One more than the largest plausible label. A larger label counts as a mistake.
pub const MAX_CLASSES: usize = 1_000_000;

/// Maximum number of pictures at once, because each costs some memory, if only for its label.
const MAX_PICTURES: usize = 100_000_000;

/// A picture prepared for the model, with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Position in the data set, from 0.
    pub index: usize,
    /// The first 16 hexadecimal digits of the SHA-256 of the prepared picture: channels, height and width (unsigned
    /// 32-bit, little endian), then its bytes. Equal pictures have equal ids.
    pub id: String,
    /// The picture's file relative to the data set's folder, or `ARRAY[ROW]` with the row in the whole array.
    pub file: String,
    /// The true class, from 0; `None` if the data has no labels.
    pub label: Option<usize>,
    /// The picture as the model gets it.
    pub picture: Picture,
}

/// How to read a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataOptions {
    /// The labels, if the data does not include them: a `.npy` file of integers for pictures in arrays, or a CSV table
    /// with the columns `file` and `label` for a folder.
    pub labels: Option<PathBuf>,
    /// The steps applied to every picture.
    pub transform: Transform,
    /// The number of pictures to skip at the beginning.
    pub skip: usize,
    /// The maximum number of the remaining pictures to use.
    pub limit: Option<usize>,
}

impl DataOptions {
    /// Returns the rows to use of `total`, at least one.
    fn window(&self, total: usize, name: &str) -> Result<Range<usize>> {
        let start = self.skip.min(total);
        let end = start.saturating_add(self.limit.unwrap_or(total)).min(total);
        if start == end {
            return Err(Error::invalid(match total {
                0 => format!("{name} holds no pictures"),
                _ => {
                    format!(
                        "{name} holds {}, but skip and limit leave none of them",
                        counted::pictures(total)
                    )
                }
            }));
        }
        if end - start > MAX_PICTURES {
            return Err(Error::unsupported(format!(
                "{name} holds {}, more than {MAX_PICTURES}, the maximum at once: set a limit",
                counted::pictures(total)
            )));
        }
        Ok(start..end)
    }
}

/// Refuses a number of labels that differs from the number of pictures, or exceeds the limit.
fn same_number(labels: usize, file: &str, name: &str, pictures: usize) -> Result<()> {
    if labels != pictures {
        return Err(Error::invalid(format!(
            "{file} has {}, but {name} has {}",
            counted(labels, "label", "labels"),
            counted::pictures(pictures)
        )));
    }
    if labels > MAX_PICTURES {
        return Err(Error::unsupported(format!(
            "{file} has {labels} labels, more than the limit of {MAX_PICTURES}: divide the data into parts"
        )));
    }
    Ok(())
}

/// Pictures in a fixed order.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    source: Box<dyn Rows>,
    /// The range of the samples in the source.
    rows: Range<usize>,
    /// One label per sample.
    labels: Option<Vec<usize>>,
    class_names: Option<Vec<String>>,
    /// Whether a label is only the position of a folder's name among the others.
    by_position: bool,
    notices: Vec<String>,
    transform: Transform,
    /// A hash of each sample's bytes at the time of the digest, so that a run never uses a picture that the digest does
    /// not cover.
    marks: OnceLock<Vec<u64>>,
}

impl Dataset {
    /// Opens the data at `path`:
    ///
    /// - a folder with one sub-folder per class (the label is the position of its name in sorted
    ///   order); or a folder with a `labels.csv` that has the columns `file`, `label` and, if it
    ///   likes, `name` (of the class; others are ignored); or a folder of pictures without labels;
    /// - a `.npy` array of pictures, `[N,H,W]`, `[N,H,W,C]` or `[N,C,H,W]` with 1 or 3 channels,
    ///   uint8, or floats in \[0, 1\], which are rounded to the nearest 8-bit level;
    /// - a `.npz` archive with such an array named `x` or `images` and, if it likes, integer labels
    ///   named `y` or `labels`;
    /// - MNIST's files (`t10k-images-idx3-ubyte`, perhaps `.gz`, with the labels in the file beside
    ///   it), CIFAR's binary or pickled batches, Parquet files as Hugging Face keeps pictures
    ///   (`image` with `bytes`, `label`), or WebDataset's tar shards; or a folder of such files, of
    ///   which those for testing are taken;
    /// - a pattern: `shards/{000000..000009}.tar`, `pictures/*.png`;
    /// - a list, `-` for standard input or a `.txt` file: a file's name per line, perhaps with its
    ///   label after a tab;
    /// - a single picture;
    /// - procedural pictures, drawn when a sample is asked for, where `path` begins with `scenes:`
    ///   ([`scenes::SceneSet`]).
    ///
    /// Files and `.npy` rows are read when a sample is asked for; a `.npz` archive is unpacked into
    /// memory, at 8 bits a value. Float arrays are read through once to find values out of range.
    pub fn open(path: &Path, options: &DataOptions) -> Result<Self> {
        files::refuse_url(path)?;
        let name = source::name(path);
        let Opened {
            source,
            rows,
            labels,
            class_names,
            by_position,
            mut notices,
        } = source::open(path, &name, options)?;
        notices.extend(options.transform.notice());
        Ok(Self {
            labels: labels.map(|mut labels| {
                labels.truncate(rows.end);
                labels.drain(..rows.start);
                labels
            }),
            name,
            source,
            rows,
            class_names,
            by_position,
            notices,
            transform: options.transform.clone(),
            marks: OnceLock::new(),
        })
    }

    /// Creates a data set from pictures in memory, each with its label. The pictures are not changed.
    ///
    /// `class_names[label]` names a class. A label without a name is refused, and so is an empty set.
    pub fn from_pictures(
        name: impl Into<String>,
        pictures: Vec<(Picture, usize)>,
        class_names: Option<Vec<String>>,
    ) -> Result<Self> {
        let name = name.into();
        let rows = DataOptions::default().window(pictures.len(), &name)?;
        let (pictures, labels): (Vec<_>, Vec<_>) = pictures.into_iter().unzip();
        if let Some(names) = &class_names
            && let Some(row) = labels.iter().position(|&label| label >= names.len())
        {
            return Err(Error::invalid(format!(
                "{name}[{row}] has label {}, but only {} classes have names",
                labels[row],
                names.len()
            )));
        }
        Ok(Self {
            name,
            source: Box::new(Memory { pictures, first: 0 }),
            rows,
            labels: Some(labels),
            class_names,
            by_position: false,
            notices: Vec::new(),
            transform: Transform::default(),
            marks: OnceLock::new(),
        })
    }

    /// Returns the number of samples, at least 1.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty data set is refused on creation"
    )]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Reads and prepares the sample at `index`. An error names the picture.
    pub fn get(&self, index: usize) -> Result<Sample> {
        let (file, picture) = self.read(index)?;
        let picture = self
            .transform
            .apply(picture)
            .map_err(|error| Error::invalid(format!("{file}: {error}")))?;
        Ok(Sample {
            index,
            id: id(&picture),
            file,
            label: self.labels.as_ref().map(|labels| labels[index]),
            picture,
        })
    }

    /// Scales photographs to a model's pictures, `[channels, height, width]`, in the usual way, and returns how: the
    /// short side becomes 8/7 of the model's side (the same side for models of small pictures), and a square is cropped
    /// from the centre.
    ///
    /// Applies only to colour pictures for models with square pictures, if no size was set. Small arrays are unchanged
    /// and refused later, because another size of them is usually a mistake.
    ///
    /// # Errors
    /// If the first picture cannot be read.
    pub fn fit_to(&mut self, input: [usize; 3]) -> Result<Option<(Resize, usize)>> {
        /// From this side on, models usually see the centre of a larger picture.
        const LARGE: usize = 96;
        let is_said = self.transform.resize.is_some() || self.transform.crop.is_some();
        let (&[channels, side, width], true) = (&input, !is_said) else {
            return Ok(None);
        };
        let are_photographs = self.source.are_photographs();
        let first = self.get(0)?.picture;
        let fits = [first.height(), first.width()] == [side, width];
        if channels != 3 || side != width || fits || !are_photographs {
            return Ok(None);
        }
        let short = match side >= LARGE {
            true => (side * 8 + 3) / 7,
            false => side,
        };
        let resize = Resize::ShortSide(short);
        self.transform.resize = Some(resize);
        self.transform.crop = Some(Crop::square(side));
        Ok(Some((resize, side)))
    }

    /// Returns the picture at `index` as it is stored, before any preparation. An error names it.
    pub fn original(&self, index: usize) -> Result<Picture> {
        let (_, picture) = self.read(index)?;
        Ok(picture)
    }

    fn read(&self, index: usize) -> Result<(String, Picture)> {
        let row = self.row(index)?;
        let file = self.source.file(row, &self.name);
        let picture = match self.source.may_change() {
            true => {
                let stored = self.source.stored(row)?;
                self.check_unchanged(index, &stored, &file)?;
                self.source.picture_of(row, &stored, &file)?
            }
            false => self.source.picture(row, &file)?,
        };
        Ok((file, picture))
    }

    /// Refuses bytes that differ from those of the digest.
    fn check_unchanged(&self, index: usize, stored: &[u8], file: &str) -> Result<()> {
        match self.marks.get() {
            Some(marks) if marks[index] != mark(stored) => Err(Error::invalid(format!(
                "{file} has changed since the run began: restore it, or start a new run"
            ))),
            _ => Ok(()),
        }
    }

    fn row(&self, index: usize) -> Result<usize> {
        self.rows.clone().nth(index).ok_or_else(|| {
            Error::invalid(format!(
                "{} has {}; index {index} is out of range",
                self.name,
                counted::pictures(self.len())
            ))
        })
    }

    /// Returns the name of the data: the last part of its path, `scenes`, or the name it was created with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind of storage in a few words: `picture files`, `a NumPy array`.
    pub fn kind(&self) -> &'static str {
        self.source.kind()
    }

    /// Returns the names of the classes by label, if the data has any. A label without a name gets its number.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// Returns the names of the folders whose positions are the labels, or `None` if labels are something else or
    /// absent.
    pub fn folders(&self) -> Option<&[String]> {
        let folders = self.class_names.as_deref();
        folders.filter(|_| self.by_position && self.labels.is_some())
    }

    /// Returns the name of the picture at `index`, without reading it: [`Sample::file`].
    pub fn file(&self, index: usize) -> Result<String> {
        Ok(self.source.file(self.row(index)?, &self.name))
    }

    /// Replaces the labels by classes of a model, one per picture, or removes them.
    pub(crate) fn relabel(&mut self, labels: Option<Vec<usize>>) {
        self.labels = labels;
        self.by_position = false;
    }

    /// Returns the labels in sample order, or an error that says how to give labels.
    pub fn labels(&self) -> Result<&[usize]> {
        self.labels.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "{} has no labels: sort the pictures into one folder per class, add a labels.csv \
                 with the columns file and label, or give a file of labels",
                self.name
            ))
        })
    }

    /// Maps the positions of folders to the classes of a model: by WordNet ids, by the names of its classes (empty if
    /// unknown), by numbers, or by position if there are as many folders as classes. Labels that are already class
    /// numbers do not change. Fails if the classes are unclear, because every label might be wrong.
    pub fn label_for(&mut self, names: &[String], classes: usize) -> Result<()> {
        let (Some(folders), Some(labels), true) =
            (&self.class_names, &mut self.labels, self.by_position)
        else {
            return Ok(());
        };
        let map = label_map::by_folder(folders, names, classes)?;
        for label in labels {
            *label = map.classes[*label];
        }
        let mut called: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        for (folder, &class) in folders.iter().zip(&map.classes) {
            called[class].clone_from(folder);
        }
        self.class_names = Some(called);
        self.by_position = false;
        self.notices.extend(map.notice);
        Ok(())
    }

    /// Settles the labels and the names of a model's `classes` classes.
    ///
    /// `names` are the names given for the model (empty if none). Otherwise the names of `likely` are used, unless the
    /// data has names that contradict them. Labels by folder or by name become classes ([`Dataset::label_for`]), and
    /// [`Dataset::class_names`] then returns the model's names.
    ///
    /// # Errors
    /// The errors of [`Dataset::label_for`].
    pub fn name_classes(
        &mut self,
        names: &[String],
        likely: Option<KnownClasses>,
        classes: usize,
    ) -> Result<()> {
        if !names.is_empty() {
            self.label_for(names, classes)?;
            self.class_names = Some(names.to_vec());
            return Ok(());
        }
        let known = likely.and_then(|known| Some((known, known.names(classes)?)));
        let is_called = known
            .as_ref()
            .is_some_and(|(_, names)| self.is_called_by(names));
        let called = known.as_ref().filter(|_| is_called);
        self.label_for(called.map_or(&[], |(_, names)| names), classes)?;
        let own = self.class_names.as_deref().unwrap_or_default();
        if let Some((known, names)) = known
            && (is_called || KnownClasses::agrees_with(&names, own))
        {
            self.notices.push(format!(
                "The model has {classes} classes, so the class names of {known} are used; give other names if these are wrong."
            ));
            self.class_names = Some(names);
        }
        Ok(())
    }

    /// Whether some of the folders or names of the labels are among these names, or all are WordNet ids.
    fn is_called_by(&self, names: &[String]) -> bool {
        let own = self.class_names.as_deref().unwrap_or_default();
        self.by_position && label_map::calls_any(own, names)
    }

    /// Gives every picture this label.
    pub fn label_all(&mut self, class: usize) {
        self.labels = Some(vec![class; self.len()]);
        self.by_position = false;
    }

    /// Removes all labels, so that the model's predictions take their place.
    pub fn forget_labels(&mut self) {
        self.labels = None;
        self.by_position = false;
    }

    /// Refuses data that does not fit a model: a first picture of another shape than `[channels, height, width]`, or a
    /// label that is not below `classes`.
    pub fn check_fits(&self, shape: [usize; 3], classes: usize) -> Result<()> {
        let first = self.get(0)?;
        let picture = &first.picture;
        let [channels, height, width] = shape;
        if [picture.channels(), picture.height(), picture.width()] != shape {
            return Err(Error::invalid(format!(
                "{} has {} and {}x{} pixels, but the model takes {} and {height}x{width} pixels; resize or crop the \
                 pictures",
                first.file,
                counted::channels(picture.channels()),
                picture.height(),
                picture.width(),
                counted::channels(channels)
            )));
        }
        let labels = self.labels.as_deref().unwrap_or_default();
        match labels.iter().position(|&label| label >= classes) {
            None => Ok(()),
            Some(index) => Err(Error::invalid(format!(
                "{} has label {}, but the model has {classes} classes, 0 to {}",
                self.source.file(self.row(index)?, &self.name),
                labels[index],
                classes.saturating_sub(1)
            ))),
        }
    }

    /// Returns notices for the user about the data, as sentences: files left out, values rounded.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns the SHA-256 of all samples as they are stored, in hexadecimal: the name, label and bytes of each. It
    /// says whether two runs used the same data, but does not cover the preparation of the pictures. Reads everything
    /// once, one sample at a time.
    pub fn digest(&self) -> Result<String> {
        self.digest_with(&mut |_| {})
    }

    /// Works like [`Dataset::digest`] and calls `done` with the number of samples read.
    pub fn digest_with(&self, done: &mut dyn FnMut(usize)) -> Result<String> {
        let mut hash = Sha256::new();
        let mut marks = Vec::new();
        for (index, row) in self.rows.clone().enumerate() {
            let file = self.source.file(row, &self.name);
            let label = match &self.labels {
                Some(labels) => labels[index] as u64,
                None => u64::MAX,
            };
            let bytes = self.source.stored(row)?;
            if self.source.may_change() {
                self.check_unchanged(index, &bytes, &file)?;
                marks.push(mark(&bytes));
            }
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(file);
            hash.update(label.to_le_bytes());
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
            done(index + 1);
        }
        if self.source.may_change() {
            self.marks.get_or_init(|| marks);
        }
        Ok(hex(&hash.finalize()))
    }
}

/// Returns the first eight bytes of a SHA-256.
fn mark(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(8)
        .fold(0, |mark, &byte| mark << 8 | u64::from(byte))
}

/// Returns the id of a picture, see [`Sample::id`].
fn id(picture: &Picture) -> String {
    let mut hash = Sha256::new();
    hash.update(shape_bytes(picture));
    hash.update(picture.bytes());
    hex(&hash.finalize()[..8])
}

/// Returns channels, height and width, unsigned 32-bit, little endian.
fn shape_bytes(picture: &Picture) -> Vec<u8> {
    [picture.channels(), picture.height(), picture.width()]
        .into_iter()
        .flat_map(|size| (size as u32).to_le_bytes())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
