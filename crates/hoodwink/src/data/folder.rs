//! Folders of pictures: one sub-folder per class, or a table of labels.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use super::MAX_CLASSES;
use crate::counted;
use crate::error::{Error, Result};
use crate::legible;

/// The table of labels a folder may hold.
pub(super) const LABELS_FILE: &str = "labels.csv";

/// The endings of files that are taken for pictures, in lower case.
const PICTURE_ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif"];

/// The pictures of a folder, in order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Paths relative to the folder, parted by `/`.
    pub(super) files: Vec<String>,
    /// One label per file.
    pub(super) labels: Option<Vec<usize>>,
    pub(super) class_names: Option<Vec<String>>,
    /// Whether a label is only the position of a folder's name among the others.
    pub(super) by_position: bool,
    pub(super) notices: Vec<String>,
}

/// Lists a folder: by `table` if given, else by its `labels.csv`, else by its sub-folders, else all
/// its pictures without labels.
pub(super) fn list(folder: &Path, table: Option<&Path>) -> Result<Listing> {
    let own_table = folder.join(LABELS_FILE);
    match table {
        Some(table) => from_table(folder, table),
        None if own_table.is_file() => from_table(folder, &own_table),
        None => from_tree(folder),
    }
}

/// The entries of a folder that are not hidden: sub-folders, pictures and other files, each sorted.
#[derive(Default)]
struct Entries {
    folders: Vec<String>,
    pictures: Vec<String>,
    others: Vec<String>,
}

impl Entries {
    fn read(folder: &Path) -> Result<Self> {
        let mut entries = Self::default();
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::unsupported(format!(
                    "{}: the name is not UTF-8",
                    path.display()
                )));
            };
            let kind = if name.starts_with('.') {
                continue;
            } else if path.is_dir() {
                &mut entries.folders
            } else if is_picture(name) {
                &mut entries.pictures
            } else {
                &mut entries.others
            };
            kind.push(name.to_owned());
        }
        entries.folders.sort_unstable();
        entries.pictures.sort_unstable();
        entries.others.sort_unstable();
        Ok(entries)
    }
}

pub(super) fn is_picture(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| PICTURE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// The layout of torchvision's `ImageFolder`: a label is the position of the sub-folder's name in
/// sorted order. A folder without sub-folders has no labels.
fn from_tree(folder: &Path) -> Result<Listing> {
    let top = Entries::read(folder)?;
    let mut listing = Listing::default();
    let mut left_out = top.others;
    if top.folders.is_empty() {
        if let Some(first) = top
            .pictures
            .iter()
            .find(|name| name.starts_with("ILSVRC2012_val_"))
        {
            listing.notices.push(format!(
                "These are ImageNet's validation pictures in one folder ({first}, ...), without labels; ImageNet's own list \
                 of labels numbers the classes otherwise than models do, so sort the pictures into folders by WordNet id."
            ));
        }
        listing.files = top.pictures;
    } else if let Some(stray) = top.pictures.first() {
        return Err(Error::invalid(format!(
            "{} holds both pictures ({stray}) and folders ({}): it is either one folder per class \
             or a folder of pictures",
            folder.display(),
            top.folders[0]
        )));
    } else {
        let mut labels = Vec::new();
        for (label, class) in top.folders.iter().enumerate() {
            let entries = Entries::read(&folder.join(class))?;
            if let Some(nested) = entries.folders.first() {
                return Err(Error::unsupported(format!(
                    "{}: a class folder holds pictures, not folders",
                    folder.join(class).join(nested).display()
                )));
            }
            if entries.pictures.is_empty() {
                listing
                    .notices
                    .push(format!("Class {class} has no pictures."));
            }
            let in_class = |name: &String| format!("{class}/{name}");
            labels.extend(entries.pictures.iter().map(|_| label));
            listing.files.extend(entries.pictures.iter().map(in_class));
            left_out.extend(entries.others.iter().map(in_class));
        }
        listing.labels = Some(labels);
        listing.class_names = Some(top.folders);
        listing.by_position = true;
    }
    if let Some(first) = left_out.first() {
        listing.notices.push(format!(
            "Left out: {} not PNG, JPEG, WebP, BMP, TIFF or GIF (the first: {first}).",
            counted(left_out.len(), "file that is", "files that are")
        ));
    }
    Ok(listing)
}

/// The pictures a CSV table lists, in its order: columns `file` (relative to the folder) and
/// `label`, and if there is one `name`, the name of the label's class.
fn from_table(folder: &Path, table: &Path) -> Result<Listing> {
    let invalid = |what: String| Error::invalid(format!("{}: {what}", table.display()));
    let source = fs::File::open(table).map_err(Error::io(table))?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(source);
    let header = reader
        .headers()
        .map_err(|error| invalid(error.to_string()))?
        .clone();
    let column = |name: &str| header.iter().position(|have| have == name);
    let (Some(file_column), Some(label_column)) = (column("file"), column("label")) else {
        return Err(invalid(format!(
            "the columns file and label are needed, the table has {}",
            legible::names(&header)
        )));
    };
    let name_column = column("name");

    let (mut files, mut labels, mut names) = (Vec::new(), Vec::new(), BTreeMap::new());
    for record in reader.records() {
        let record = record.map_err(|error| invalid(error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let (file, label) = (&record[file_column], &record[label_column]);
        if !is_inside(file) || !folder.join(file).is_file() {
            return Err(invalid(format!(
                "line {line}: there is no file {file:?} in {}",
                folder.display()
            )));
        }
        let label = match label.parse() {
            Ok(label) if label < MAX_CLASSES => label,
            _ => {
                return Err(invalid(format!(
                    "line {line}: {label:?} is no label; labels are the numbers of classes, from 0"
                )));
            }
        };
        if let Some(column) = name_column {
            let name = record[column].to_owned();
            let known = names.entry(label).or_insert_with(|| name.clone());
            if *known != name {
                return Err(invalid(format!(
                    "line {line}: label {label} is called {name:?} here and {known:?} before"
                )));
            }
        }
        files.push(file.to_owned());
        labels.push(label);
    }
    let class_names = names.last_key_value().map(|(&last, _)| {
        (0..=last)
            .map(|label| {
                names
                    .get(&label)
                    .cloned()
                    .unwrap_or_else(|| label.to_string())
            })
            .collect()
    });
    Ok(Listing {
        files,
        labels: Some(labels),
        class_names,
        by_position: false,
        notices: Vec::new(),
    })
}

/// Whether a relative path stays in its folder.
fn is_inside(file: &str) -> bool {
    Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
