//! Where samples come from.
//!
//! A [`Dataset`] gives prepared pictures with their labels, in a fixed order, one at a time: what
//! lies in files is decoded when it is asked for, so memory does not grow with the data.

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

/// One more than the largest label that is believed: beyond it a label is taken for a mistake.
pub const MAX_CLASSES: usize = 1_000_000;

/// The most pictures that are taken at once; each costs memory, be it only for its label.
const MAX_PICTURES: usize = 100_000_000;

/// One picture, prepared for the model, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Position in the data set, from 0.
    pub index: usize,
    /// The first 16 hexadecimal digits of the SHA-256 of the prepared picture: channels, height and
    /// width (unsigned 32-bit, little endian), then its bytes. Equal pictures have equal ids.
    pub id: String,
    /// The picture's file relative to the data set's folder, or `ARRAY[ROW]` with the row in the
    /// whole array.
    pub file: String,
    /// The true class, from 0; `None` where the data has no labels.
    pub label: Option<usize>,
    /// The picture as the model is to see it.
    pub picture: Picture,
}

/// How to read a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataOptions {
    /// The labels, where the data does not hold them: a `.npy` file of integers for pictures in
    /// arrays, a CSV table with the columns `file` and `label` for a folder.
    pub labels: Option<PathBuf>,
    /// What is done to every picture.
    pub transform: Transform,
    /// Leave out this many pictures at the beginning.
    pub skip: usize,
    /// Of the others, take only the first so many.
    pub limit: Option<usize>,
}

impl DataOptions {
    /// The rows to take of `total`; never none.
    fn window(&self, total: usize, name: &str) -> Result<Range<usize>> {
        let start = self.skip.min(total);
        let end = start.saturating_add(self.limit.unwrap_or(total)).min(total);
        if start == end {
            return Err(Error::invalid(match total {
                0 => format!("{name} holds no pictures"),
                _ => {
                    format!(
                        "{name} holds {}, and skip and limit leave none of them",
                        counted::pictures(total)
                    )
                }
            }));
        }
        if end - start > MAX_PICTURES {
            return Err(Error::unsupported(format!(
                "{name} holds {}, and at most {MAX_PICTURES} are taken at once: set a limit",
                counted::pictures(total)
            )));
        }
        Ok(start..end)
    }
}

/// Refuses labels that are not as many as the pictures they are for, and more of them than memory is taken for.
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
            "{file} has {labels} labels, and at most {MAX_PICTURES} are read: divide the data into parts"
        )));
    }
    Ok(())
}

/// Pictures in a fixed order.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    source: Box<dyn Rows>,
    /// Where the samples lie in the source's numbering.
    rows: Range<usize>,
    /// One label per sample.
    labels: Option<Vec<usize>>,
    class_names: Option<Vec<String>>,
    /// Whether a label is only the position of a folder's name among the others.
    by_position: bool,
    notices: Vec<String>,
    transform: Transform,
    /// A mark of each sample's bytes at the time of the digest; a run must not hold pictures that it does not cover.
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

    /// A data set from pictures in memory, each with its label; none is changed.
    ///
    /// `class_names[label]` names a class; a label beyond the names is refused, and so is an empty
    /// set.
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

    /// Number of samples; never 0.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty data set is refused when it is made"
    )]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The sample at `index`, read and prepared now. An error names the picture.
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

    /// Has photographs of another size than a model's pictures, `[channels, height, width]`, scaled as is usual, and answers how:
    /// the short side to 8/7 of the model's (to the same for models of small pictures), and a square cut from the centre.
    ///
    /// Only for colour pictures of square shape, and where nothing was said about size; small arrays stay as they are and are
    /// refused later, as another size of them is most often a mistake.
    ///
    /// # Errors
    /// If the first picture cannot be read.
    pub fn fit_to(&mut self, input: [usize; 3]) -> Result<Option<(Resize, usize)>> {
        /// From this side on models see a centre of what was scaled.
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

    /// The picture at `index` as it is stored, before anything is done to it. An error names it.
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

    /// Refuses bytes that are not those of the digest.
    fn check_unchanged(&self, index: usize, stored: &[u8], file: &str) -> Result<()> {
        match self.marks.get() {
            Some(marks) if marks[index] != mark(stored) => Err(Error::invalid(format!(
                "{file} has changed since the run began: put back what it was, or begin anew with what it is now"
            ))),
            _ => Ok(()),
        }
    }

    fn row(&self, index: usize) -> Result<usize> {
        self.rows.clone().nth(index).ok_or_else(|| {
            Error::invalid(format!(
                "{} has {}, so there is none at index {index}",
                self.name,
                counted::pictures(self.len())
            ))
        })
    }

    /// What the data is called: the last part of its path, `scenes`, or the name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the pictures are kept in, in a few words: `picture files`, `a NumPy array`.
    pub fn kind(&self) -> &'static str {
        self.source.kind()
    }

    /// The names of the classes by label, where the data has any. A label that a table does not
    /// name is called by its number.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The names of the folders whose positions the labels are; `None` where labels are something else, or there are none.
    pub fn folders(&self) -> Option<&[String]> {
        let folders = self.class_names.as_deref();
        folders.filter(|_| self.by_position && self.labels.is_some())
    }

    /// What the picture at `index` is called, without reading it: [`Sample::file`].
    pub fn file(&self, index: usize) -> Result<String> {
        Ok(self.source.file(self.row(index)?, &self.name))
    }

    /// Gives the pictures other labels: classes of a model, one for each, or none at all.
    pub(crate) fn relabel(&mut self, labels: Option<Vec<usize>>) {
        self.labels = labels;
        self.by_position = false;
    }

    /// The labels in the order of the samples, or an error that says how to give labels.
    pub fn labels(&self) -> Result<&[usize]> {
        self.labels.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "{} has no labels: sort the pictures into one folder per class, put a labels.csv \
                 with the columns file and label beside them, or name a file of labels",
                self.name
            ))
        })
    }

    /// Turns the positions of folders into the classes of a model that they mean: by WordNet ids, by the names of its
    /// classes (empty if nobody said), by numbers, or by position if there are as many folders as classes. Labels that are
    /// numbers of classes already stay as they are. Fails where it cannot be told, since every label might be wrong.
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

    /// Settles what the labels and the names of a model's `classes` classes are.
    ///
    /// `names` are those that were given for the model (empty if nobody gave any), `likely` the data set whose names are taken
    /// otherwise, unless the data has names that contradict. Labels by folder or by name become classes
    /// ([`Dataset::label_for`]), and [`Dataset::class_names`] are then the model's.
    ///
    /// # Errors
    /// Those of [`Dataset::label_for`].
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
                "The model has {classes} classes, so they are called by the names of {known}'s; give other names if these are wrong."
            ));
            self.class_names = Some(names);
        }
        Ok(())
    }

    /// Whether labels stand for folders or names of which some are among these names, or all are WordNet ids.
    fn is_called_by(&self, names: &[String]) -> bool {
        let own = self.class_names.as_deref().unwrap_or_default();
        self.by_position && label_map::calls_any(own, names)
    }

    /// Has every picture labelled with this class, whatever label it had.
    pub fn label_all(&mut self, class: usize) {
        self.labels = Some(vec![class; self.len()]);
        self.by_position = false;
    }

    /// Forgets all labels, so that the predictions of the model take their place.
    pub fn forget_labels(&mut self) {
        self.labels = None;
        self.by_position = false;
    }

    /// Refuses data that does not fit a model: a first picture of another shape than `[channels, height, width]`, and a
    /// label that one of this many classes does not have.
    pub fn check_fits(&self, shape: [usize; 3], classes: usize) -> Result<()> {
        let first = self.get(0)?;
        let picture = &first.picture;
        let [channels, height, width] = shape;
        if [picture.channels(), picture.height(), picture.width()] != shape {
            return Err(Error::invalid(format!(
                "{} has {} and {}x{} pixels, and the model takes {} and {height}x{width} pixels; resize or crop the \
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
                "{} has label {}, and the model has {classes} classes, 0 to {}",
                self.source.file(self.row(index)?, &self.name),
                labels[index],
                classes.saturating_sub(1)
            ))),
        }
    }

    /// What a person should know about the data, in whole sentences: files left out, values
    /// rounded.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The SHA-256 of all samples as they are stored, in hexadecimal: of each its name, its label
    /// and its bytes. It says whether two runs saw the same data; what was done to the pictures is
    /// not in it. Reads everything once, one sample at a time.
    pub fn digest(&self) -> Result<String> {
        self.digest_with(&mut |_| {})
    }

    /// As [`Dataset::digest`]; `done` is called with how many samples are read.
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

/// The first eight bytes of a SHA-256.
fn mark(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(8)
        .fold(0, |mark, &byte| mark << 8 | u64::from(byte))
}

/// See [`Sample::id`].
fn id(picture: &Picture) -> String {
    let mut hash = Sha256::new();
    hash.update(shape_bytes(picture));
    hash.update(picture.bytes());
    hex(&hash.finalize()[..8])
}

/// Channels, height and width, unsigned 32-bit, little endian.
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
