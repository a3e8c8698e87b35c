//! Finds the pictures of a data set.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::arrays::{PictureArray, read_labels};
use super::lists::{self, Listed};
use super::npz::Archive;
use super::packed::{
    MAX_NAMES_BYTES, MAX_UNPACKED_BYTES, Packed, cifar_count, cifar_in_memory, cifar_names, is_idx,
    open_cifar, open_idx,
};
use super::pickle;
use super::rows::{Files, Rows, read_file};
use super::scenes::set::{SceneSet, class_names};
use super::shards::Shards;
use super::tables::Tables;
use super::{DataOptions, MAX_CLASSES, folder, same_number, spelling};
use crate::error::{Error, Result};
use crate::files;

/// The result of opening a path.
pub(super) struct Opened {
    pub(super) source: Box<dyn Rows>,
    /// The requested rows.
    pub(super) rows: Range<usize>,
    /// The labels of all rows, requested or not.
    pub(super) labels: Option<Vec<usize>>,
    pub(super) class_names: Option<Vec<String>>,
    /// Whether a label is only the position of a folder's name among the others.
    pub(super) by_position: bool,
    pub(super) notices: Vec<String>,
}

/// Returns the name of the data at `path`.
pub(super) fn name(path: &Path) -> String {
    match (SceneSet::named(path), path.file_name()) {
        (Some(_), _) => "scenes".to_owned(),
        (None, Some(name)) => name.to_string_lossy().into(),
        (None, None) => path.display().to_string(),
    }
}

/// Finds the pictures at `path`. `name` names them in errors.
pub(super) fn open(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    if let Some(scenes) = SceneSet::named(path) {
        return open_scenes(scenes?, name, options);
    }
    if let Some(error) = spelling::dangling(path, 0) {
        return Err(error);
    }
    if let Some(listed) = lists::named(path)? {
        return open_listed(listed, path, name, options);
    }
    if path.is_dir() {
        return match Kept::in_folder(path)? {
            Some((kind, files, notice)) => {
                let mut opened = open_files(kind, files, name, options)?;
                opened.notices.extend(notice);
                Ok(opened)
            }
            None => open_folder(path, name, options),
        };
    }
    match Kept::of(path) {
        Some(kind) => open_files(kind, vec![path.to_owned()], name, options),
        None => match ending(path) {
            "npy" => open_array(path, name, options),
            "npz" => open_archive(path, name, options),
            _ => open_picture(path, name, options),
        },
    }
}

fn ending(path: &Path) -> &str {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.unwrap_or_default()
}

/// Files of one format, with a notice if others were left out.
type Found = (Kept, Vec<PathBuf>, Option<String>);

/// Formats that hold many pictures in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// MNIST's.
    Idx,
    /// CIFAR's binary batches.
    CifarBinary,
    /// CIFAR's Python batches.
    CifarPickle,
    /// Hugging Face's tables.
    Parquet,
    /// WebDataset's shards.
    Tar,
}

impl Kept {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let batch = ["data_batch_", "test_batch", "train", "test"]
            .iter()
            .any(|start| name.starts_with(start));
        match ending(path) {
            _ if is_idx(path) => Some(Self::Idx),
            "parquet" => Some(Self::Parquet),
            "tar" => Some(Self::Tar),
            "bin" if batch => Some(Self::CifarBinary),
            "" if batch && path.is_file() => {
                let head = files::read_part(path, 0, 2).ok()?;
                pickle::is_pickle(&head).then_some(Self::CifarPickle)
            }
            _ => None,
        }
    }

    /// Returns the files of one such format in a folder that holds nothing else, or in its sub-folder `data`. Of
    /// several splits, takes the one for testing.
    fn in_folder(top: &Path) -> Result<Option<Found>> {
        for folder in [top.to_owned(), top.join("data")] {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            let mut files = Vec::new();
            for entry in entries {
                let path = entry.map_err(Error::io(&folder))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if spelling::is_left_behind(&name) {
                    continue;
                }
                let is_class = path.is_dir() && name != "data";
                if is_class || folder::is_picture(&name) || name == folder::LABELS_FILE {
                    return Ok(None);
                }
                files.extend(Self::of(&path).map(|kind| (kind, path)));
            }
            files.sort_by(|a, b| a.1.cmp(&b.1));
            let Some(&(kind, _)) = files.first() else {
                continue;
            };
            files.retain(|(other, _)| *other == kind);
            let all: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
            let starts = |starts: &'static [&'static str]| {
                let fits = move |path: &&PathBuf| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    starts.iter().any(|start| name.starts_with(start))
                };
                all.iter().filter(fits).cloned().collect::<Vec<_>>()
            };
            let of_test = [starts(&["test", "t10k"]), starts(&["val"])];
            let chosen = of_test.into_iter().find(|files| !files.is_empty());
            return Ok(Some(match chosen {
                Some(chosen) if chosen.len() < all.len() => {
                    let notice = format!(
                        "Of the {} files in {}, those for testing are used ({}); choose others with a pattern.",
                        all.len(),
                        folder.display(),
                        lists::names(&chosen)
                    );
                    (kind, chosen, Some(notice))
                }
                _ => (kind, all, None),
            }));
        }
        Ok(None)
    }
}

/// Opens files that hold many pictures.
fn open_files(
    kind: Kept,
    files: Vec<PathBuf>,
    name: &str,
    options: &DataOptions,
) -> Result<Opened> {
    let first = files[0].clone();
    let (source, count, own_labels, class_names): (Box<dyn Rows>, _, _, _) = match kind {
        Kept::Idx => {
            if let [_, second, ..] = &files[..] {
                return Err(Error::invalid(format!(
                    "{name} means {} and {}; choose one of them",
                    first.display(),
                    second.display()
                )));
            }
            let (packed, labels) = open_idx(&first, name)?;
            let count = packed.count();
            (Box::new(packed), count, labels, None)
        }
        Kept::CifarBinary => {
            let (packed, labels) = open_cifar(&files, name)?;
            let (count, names) = (packed.count(), cifar_names(&first));
            (Box::new(packed), count, Some(labels), names)
        }
        Kept::CifarPickle => {
            let (packed, labels, names) = open_pickles(&files, name)?;
            let count = packed.count();
            (Box::new(packed), count, Some(labels), names)
        }
        Kept::Parquet => {
            let (tables, labels) = Tables::open(&files)?;
            let count = tables.count();
            (Box::new(tables), count, labels.labels, labels.names)
        }
        Kept::Tar => {
            let (shards, labels) = Shards::open(files)?;
            let count = shards.count();
            (Box::new(shards), count, labels, None)
        }
    };
    let given = labels_beside(options, name, count)?;
    Ok(Opened {
        rows: options.window(count, name)?,
        source,
        labels: given.or(own_labels),
        class_names,
        by_position: false,
        notices: Vec::new(),
    })
}

/// Opens CIFAR's Python batches: pixels, labels, and the class names in the file `batches.meta` or `meta` beside them.
fn open_pickles(
    files: &[PathBuf],
    name: &str,
) -> Result<(Packed, Vec<usize>, Option<Vec<String>>)> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in files {
        let file = path.display().to_string();
        let bytes = read_file(path)?;
        let batch = pickle::read(&bytes, &file)?;
        let data = batch.get("data").and_then(|data| batch.elements(data));
        let data = data.ok_or_else(|| {
            Error::invalid(format!(
                "{file} holds no pixels under \"data\", an array of bytes"
            ))
        })?;
        if (pixels.len() + data.len()) as u64 > MAX_UNPACKED_BYTES {
            return Err(Error::unsupported(format!(
                "{name} has more than {MAX_UNPACKED_BYTES} bytes of pixels, the limit in memory: choose fewer batches"
            )));
        }
        let own = batch.get("fine_labels").or_else(|| batch.get("labels"));
        let own = own.and_then(|own| batch.integers(own)).unwrap_or_default();
        same_number(own.len(), &file, &file, cifar_count(data.len(), &file)?)?;
        for label in own {
            let known = usize::try_from(label)
                .ok()
                .filter(|&label| label < MAX_CLASSES);
            labels.push(known.ok_or_else(|| {
                Error::invalid(format!(
                    "{file} holds the label {label}, which is not a class"
                ))
            })?);
        }
        pixels.extend_from_slice(&data);
    }
    let packed = cifar_in_memory(pixels, name)?;
    Ok((packed, labels, pickled_names(&files[0])))
}

fn pickled_names(batch: &Path) -> Option<Vec<String>> {
    let beside = ["batches.meta", "meta"].map(|name| batch.with_file_name(name));
    let path = beside.into_iter().find(|path| path.is_file())?;
    let bytes = files::read(&path, MAX_NAMES_BYTES).ok()?;
    let meta = pickle::read(&bytes, "meta").ok()?;
    let names = meta
        .get("label_names")
        .or_else(|| meta.get("fine_label_names"))?;
    meta.texts(names, MAX_NAMES_BYTES as usize)
}

/// Opens the files of a pattern or a list: files of one format, or pictures.
fn open_listed(listed: Listed, path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let kinds: Vec<Option<Kept>> = listed
        .files
        .iter()
        .map(|file| Kept::of(Path::new(file)))
        .collect();
    if let Some(&Some(kind)) = kinds.first()
        && kinds.iter().all(|other| *other == Some(kind))
    {
        let files = listed
            .files
            .iter()
            .map(|file| listed.folder.join(file))
            .collect();
        return open_files(kind, files, name, options);
    }
    if let Some(labels) = &options.labels {
        return Err(Error::invalid(format!(
            "the pictures of {} cannot use the labels of {}: put a tab and the label after each name in a list",
            path.display(),
            labels.display()
        )));
    }
    Ok(Opened {
        rows: options.window(listed.files.len(), name)?,
        source: Box::new(Files {
            folder: listed.folder,
            files: listed.files,
        }),
        labels: listed.labels,
        by_position: listed.names.is_some(),
        class_names: listed.names,
        notices: Vec::new(),
    })
}

fn open_scenes(scenes: SceneSet, name: &str, options: &DataOptions) -> Result<Opened> {
    if let Some(labels) = &options.labels {
        return Err(Error::invalid(format!(
            "scenes have their own labels; remove {}",
            labels.display()
        )));
    }
    Ok(Opened {
        rows: options.window(scenes.count(), name)?,
        labels: Some(scenes.labels()),
        source: Box::new(scenes),
        class_names: Some(class_names()),
        by_position: false,
        notices: Vec::new(),
    })
}

fn open_folder(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let listing = folder::list(path, options.labels.as_deref())?;
    Ok(Opened {
        rows: options.window(listing.files.len(), name)?,
        source: Box::new(Files {
            folder: path.to_owned(),
            files: listing.files,
        }),
        labels: listing.labels,
        class_names: listing.class_names,
        by_position: listing.by_position,
        notices: listing.notices,
    })
}

fn open_array(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let array = PictureArray::open(path, name)?;
    let labels = labels_beside(options, name, array.count())?;
    let rows = options.window(array.count(), name)?;
    let notice = array.check(rows.clone())?;
    Ok(Opened {
        source: Box::new(array),
        rows,
        labels,
        class_names: None,
        by_position: false,
        notices: Vec::from_iter(notice),
    })
}

fn open_archive(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    let archive = Archive::open(path, name)?;
    let count = archive.count()?;
    let rows = options.window(count, name)?;
    let labels = match labels_beside(options, name, count)? {
        None => archive.labels(count)?,
        given => given,
    };
    let (pictures, notice) = archive.pictures(rows.clone())?;
    let notices = archive.notice().into_iter().chain(notice);
    Ok(Opened {
        rows,
        source: Box::new(pictures),
        labels,
        class_names: None,
        by_position: false,
        notices: notices.collect(),
    })
}

fn open_picture(path: &Path, name: &str, options: &DataOptions) -> Result<Opened> {
    std::fs::metadata(path).map_err(Error::io(path))?;
    if path.file_name().is_some_and(|name| name.to_str().is_none()) {
        return Err(spelling::not_utf8(path, 0));
    }
    if let Some(labels) = &options.labels {
        return Err(Error::invalid(format!(
            "{name} is a single picture, so it cannot have the labels of {}: choose the folder or \
             the array instead",
            labels.display()
        )));
    }
    Ok(Opened {
        source: Box::new(Files {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            files: vec![name.to_owned()],
        }),
        rows: options.window(1, name)?,
        labels: None,
        class_names: None,
        by_position: false,
        notices: Vec::new(),
    })
}

/// Reads the labels from the options for an array of `count` pictures.
fn labels_beside(options: &DataOptions, name: &str, count: usize) -> Result<Option<Vec<usize>>> {
    options
        .labels
        .as_deref()
        .map(|path| read_labels(path, &path.display().to_string(), (name, count)))
        .transpose()
}
