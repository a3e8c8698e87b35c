//! Where the pictures of a data set lie, and how they are found.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::arrays::{PictureArray, read_labels};
use super::npz::Archive;
use super::scenes::set::{SceneSet, class_names};
use super::{DataOptions, folder, shape_bytes};
use crate::error::{Error, Result};
use crate::image::Picture;

/// The largest picture file that is read.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// Pictures by row.
#[derive(Debug)]
pub(super) enum Source {
    /// Files relative to a folder.
    Files { folder: PathBuf, files: Vec<String> },
    /// A `.npy` file.
    Array(PictureArray),
    /// Pictures in memory; the first of them has the row `first`.
    Memory {
        pictures: Vec<Picture>,
        first: usize,
    },
    /// Scenes, drawn when they are asked for.
    Scenes(SceneSet),
}

impl Source {
    /// What a row is called; `name` is the data set's name.
    pub(super) fn file(&self, row: usize, name: &str) -> String {
        match self {
            Self::Files { files, .. } => files[row].clone(),
            Self::Array(_) | Self::Memory { .. } | Self::Scenes(_) => format!("{name}[{row}]"),
        }
    }

    /// The picture in a row; `file` names it in errors.
    pub(super) fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        match self {
            Self::Files { folder, files } => {
                Picture::decode(&read_file(&folder.join(&files[row]))?, file)
            }
            Self::Array(array) => array.picture(row),
            Self::Memory { pictures, first } => Ok(pictures[row - first].clone()),
            Self::Scenes(scenes) => Ok(scenes.picture(row)),
        }
    }

    /// The bytes of a row as they are stored; those of a picture that has no file with its shape.
    pub(super) fn stored(&self, row: usize) -> Result<Vec<u8>> {
        match self {
            Self::Files { folder, files } => read_file(&folder.join(&files[row])),
            Self::Array(array) => array.row(row),
            Self::Memory { pictures, first } => {
                let picture = &pictures[row - first];
                Ok([&shape_bytes(picture), picture.bytes()].concat())
            }
            Self::Scenes(scenes) => {
                let picture = scenes.picture(row);
                Ok([&shape_bytes(&picture), picture.bytes()].concat())
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::unsupported(format!(
            "{} is larger than {MAX_FILE_BYTES} bytes, too large for a picture",
            path.display()
        )));
    }
    Ok(bytes)
}

/// What was found at a path.
pub(super) struct Opened {
    pub(super) source: Source,
    /// The rows that were asked for.
    pub(super) rows: Range<usize>,
    /// The labels of all rows, asked for or not.
    pub(super) labels: Option<Vec<usize>>,
    pub(super) class_names: Option<Vec<String>>,
    pub(super) notices: Vec<String>,
}

/// What the data at `path` is called.
pub(super) fn name(path: &Path) -> String {
    match (SceneSet::named(path), path.file_name()) {
        (Some(_), _) => "scenes".to_owned(),
        (None, Some(name)) => name.to_string_lossy().into(),
        (None, None) => path.display().to_string(),
    }
}

/// Finds the pictures at `path`; `name` names them in errors.
pub(super) fn open(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    if let Some(scenes) = SceneSet::named(path) {
        return open_scenes(scenes?, name, options);
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    if path.is_dir() {
        open_folder(path, name, options)
    } else if ending == Some("npy") {
        open_array(path, name, options)
    } else if ending == Some("npz") {
        open_archive(path, name, options)
    } else {
        open_picture(path, name, options)
    }
}

fn open_scenes(scenes: SceneSet, name: &str, options: &DataOptions) -> Result<Opened> {
    if let Some(labels) = &options.labels {
        return Err(Error::invalid(format!(
            "scenes have labels of their own: leave out {}",
            labels.display()
        )));
    }
    Ok(Opened {
        rows: options.window(scenes.count(), name)?,
        labels: Some(scenes.labels()),
        source: Source::Scenes(scenes),
        class_names: Some(class_names()),
        notices: Vec::new(),
    })
}

fn open_folder(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let listing = folder::list(path, options.labels.as_deref())?;
    Ok(Opened {
        rows: options.window(listing.files.len(), name)?,
        source: Source::Files {
            folder: path.to_owned(),
            files: listing.files,
        },
        labels: listing.labels,
        class_names: listing.class_names,
        notices: listing.notices,
    })
}

fn open_array(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let array = PictureArray::open(path, name)?;
    let labels = labels_beside(options, name, array.count())?;
    let rows = options.window(array.count(), name)?;
    let notice = array.check(rows.clone())?;
    Ok(Opened {
        source: Source::Array(array),
        rows,
        labels,
        class_names: None,
        notices: Vec::from_iter(notice),
    })
}

fn open_archive(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let mut archive = Archive::open(path, name)?;
    let own_labels = archive.labels()?;
    let mut count = 0;
    let (pictures, notice) = archive.pictures(|total| {
        count = total;
        options.window(total, name)
    })?;
    let labels = match (labels_beside(options, name, count)?, own_labels) {
        (None, Some(own)) => Some(same_length(own, name, name, count)?),
        (given, _) => given,
    };
    let first = options.skip;
    Ok(Opened {
        rows: first..first + pictures.len(),
        source: Source::Memory { pictures, first },
        labels,
        class_names: None,
        notices: Vec::from_iter(notice),
    })
}

fn open_picture(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    if let Some(labels) = &options.labels {
        return Err(Error::invalid(format!(
            "{name} is a single picture, so it cannot have the labels of {}: name the folder or \
             the array instead",
            labels.display()
        )));
    }
    std::fs::metadata(path).map_err(Error::io(path))?;
    Ok(Opened {
        source: Source::Files {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            files: vec![name.to_owned()],
        },
        rows: options.window(1, name)?,
        labels: None,
        class_names: None,
        notices: Vec::new(),
    })
}

/// The labels that the options name for an array of `count` pictures.
fn labels_beside(options: &DataOptions, name: &str, count: usize) -> Result<Option<Vec<usize>>> {
    options
        .labels
        .as_deref()
        .map(|path| {
            let file = path.display().to_string();
            same_length(read_labels(path, &file)?, &file, name, count)
        })
        .transpose()
}

fn same_length(labels: Vec<usize>, file: &str, name: &str, count: usize) -> Result<Vec<usize>> {
    if labels.len() == count {
        return Ok(labels);
    }
    Err(Error::invalid(format!(
        "{file} has {} labels, but {name} has {count} pictures",
        labels.len()
    )))
}
