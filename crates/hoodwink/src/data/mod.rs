//! Where samples come from.
//!
//! A [`Dataset`] gives prepared pictures with their labels, in a fixed order, one at a time: what
//! lies in files is decoded when it is asked for, so memory does not grow with the data.

pub mod scenes;
mod transform;

use sha2::{Digest, Sha256};

pub use transform::{Resize, Transform};

use crate::error::{Error, Result};
use crate::image::Picture;

/// One picture, prepared for the model, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Position in the data set, from 0.
    pub index: usize,
    /// The first 16 hexadecimal digits of the SHA-256 of the prepared picture: channels, height and
    /// width (unsigned 32-bit, little endian), then its bytes. Equal pictures have equal ids.
    pub id: String,
    /// The picture's file relative to the data set's folder, or `ARRAY[ROW]`.
    pub file: String,
    /// The true class, from 0; `None` where the data has no labels.
    pub label: Option<usize>,
    /// The picture as the model is to see it.
    pub picture: Picture,
}

/// How to read a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataOptions {
    /// What is done to every picture.
    pub transform: Transform,
    /// Leave out this many pictures at the beginning.
    pub skip: usize,
    /// Of the others, take only the first so many.
    pub limit: Option<usize>,
}

/// Pictures in a fixed order.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    pictures: Vec<Picture>,
    labels: Option<Vec<usize>>,
    class_names: Option<Vec<String>>,
    notices: Vec<String>,
    transform: Transform,
}

impl Dataset {
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
        if pictures.is_empty() {
            return Err(Error::invalid(format!("{name} holds no pictures")));
        }
        let (pictures, labels): (Vec<_>, Vec<_>) = pictures.into_iter().unzip();
        if let Some(names) = &class_names
            && let Some((row, label)) = labels
                .iter()
                .enumerate()
                .find(|(_, label)| **label >= names.len())
        {
            return Err(Error::invalid(format!(
                "{name}[{row}] has label {label}, but only {} classes have names",
                names.len()
            )));
        }
        Ok(Self {
            name,
            pictures,
            labels: Some(labels),
            class_names,
            notices: Vec::new(),
            transform: Transform::default(),
        })
    }

    /// Number of samples; never 0.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty data set is refused when it is made"
    )]
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// The sample at `index`, decoded and prepared now.
    pub fn get(&self, index: usize) -> Result<Sample> {
        let picture = self.pictures.get(index).ok_or_else(|| {
            Error::invalid(format!(
                "{} has {} pictures, so there is none at index {index}",
                self.name,
                self.len()
            ))
        })?;
        let picture = self.transform.apply(picture.clone())?;
        Ok(Sample {
            index,
            id: id(&picture),
            file: format!("{}[{index}]", self.name),
            label: self.labels.as_ref().map(|labels| labels[index]),
            picture,
        })
    }

    /// What the data is called: the last part of its path, or the name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the classes by label, where the data has any.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The labels in the order of the samples, or an error that says how to give labels.
    pub fn labels(&self) -> Result<&[usize]> {
        self.labels.as_deref().ok_or_else(|| {
            Error::invalid(format!(
                "{} has no labels: sort the pictures into one folder per class, put a labels.csv \
                 with the columns file,label beside them, or name a file of labels",
                self.name
            ))
        })
    }

    /// What a person should know about the data, in whole sentences: files left out, values
    /// rounded.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

/// See [`Sample::id`].
fn id(picture: &Picture) -> String {
    let mut hash = Sha256::new();
    for side in [picture.channels(), picture.height(), picture.width()] {
        hash.update((side as u32).to_le_bytes());
    }
    hash.update(picture.bytes());
    hex(&hash.finalize()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
