//! Folders of pictures: one sub-folder per class, or a table of labels.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path};

use super::class_names::{is_too_long, too_long};
use super::label_texts::Labels;
use super::spelling::{self, Finder};
use crate::counted;
use crate::error::{Error, Result};
use crate::files::{self, Bounded};
use crate::legible;

/// The name of the table of labels in a folder.
pub(super) const LABELS_FILE: &str = "labels.csv";

/// Maximum size of a table of labels and of a line, in bytes.
const MAX_TABLE_BYTES: u64 = 1 << 28;
const MAX_LINE_BYTES: u64 = 1 << 16;

/// Picture file extensions, in lower case.
const PICTURE_ENDINGS: [&str; 12] = [
    "png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif", "ppm", "pgm", "pbm", "pnm",
];

/// Names, in lower case, of folders that are not a class but hold the pictures of their parent folder.
const INNER_FOLDERS: [&str; 6] = ["images", "image", "imgs", "img", "pictures", "photos"];

/// Names of the splits of a data set, in lower case.
const SPLITS: [&str; 8] = [
    "train",
    "training",
    "test",
    "testing",
    "val",
    "valid",
    "validation",
    "dev",
];

/// The table of Tiny ImageNet's validation pictures.
const TINY_IMAGENET: &str = "val_annotations.txt";

/// The pictures of a folder, in order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Paths relative to the folder, separated by `/`.
    pub(super) files: Vec<String>,
    /// One label per file.
    pub(super) labels: Option<Vec<usize>>,
    pub(super) class_names: Option<Vec<String>>,
    /// Whether a label is only the position of a folder's name among the others.
    pub(super) by_position: bool,
    pub(super) notices: Vec<String>,
}

/// Lists a folder: by `table` if given, else by its `labels.csv`, else by its sub-folders, else all its pictures
/// without labels.
pub(super) fn list(folder: &Path, table: Option<&Path>) -> Result<Listing> {
    let own_table = folder.join(LABELS_FILE);
    match table {
        Some(table) => from_table(folder, table),
        // A folder of this name is a class.
        None if own_table.exists() && !own_table.is_dir() => from_table(folder, &own_table),
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
        let (mut illegible, mut dangling) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let entry = entry.map_err(Error::io(folder))?;
            let (path, name) = (entry.path(), entry.file_name());
            if spelling::is_left_behind(&name.to_string_lossy()) {
                continue;
            }
            let Some(name) = name.to_str() else {
                illegible.push(path);
                continue;
            };
            let kind = if path.is_symlink() && !path.exists() {
                dangling.push(path);
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
        illegible.sort_unstable();
        dangling.sort_unstable();
        if let Some(first) = illegible.first() {
            return Err(spelling::not_utf8(first, illegible.len() - 1));
        }
        let error = dangling.first();
        match error.and_then(|first| spelling::dangling(first, dangling.len() - 1)) {
            Some(error) => Err(error),
            None => Ok(entries),
        }
    }

    /// Returns the only sub-folder if it is not a class but holds the pictures.
    fn inner(&self) -> Option<&str> {
        match (&self.folders[..], &self.pictures[..]) {
            ([only], []) if INNER_FOLDERS.contains(&&*only.to_lowercase()) => Some(only),
            _ => None,
        }
    }
}

pub(super) fn is_picture(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| PICTURE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// Lists the layout of torchvision's `ImageFolder`: a label is the position of the sub-folder's name in sorted order. A
/// folder without sub-folders has no labels. Pictures may be one level deeper, in `CLASS/images`.
fn from_tree(folder: &Path) -> Result<Listing> {
    let top = Entries::read(folder)?;
    if let (Some(inner), true) = (
        top.inner(),
        top.others.iter().any(|name| name == TINY_IMAGENET),
    ) {
        return tiny_imagenet(folder, inner);
    }
    let mut listing = Listing::default();
    let mut left_out = top.others.clone();
    if top.folders.is_empty() || top.inner().is_some() {
        let mut pictures = top.pictures.clone();
        if let Some(inner) = top.inner() {
            let deeper = Entries::read(&folder.join(inner))?;
            refuse_folders(&folder.join(inner), &deeper)?;
            pictures = in_folder(inner, &deeper.pictures);
            left_out.extend(in_folder(inner, &deeper.others));
        }
        if let Some(first) = pictures
            .iter()
            .find(|name| name.contains("ILSVRC2012_val_"))
        {
            listing.notices.push(format!(
                "These are ImageNet's validation pictures in one folder ({first}, ...), without labels. ImageNet's own list \
                 of labels uses other class numbers than models do, so sort the pictures into folders by WordNet id."
            ));
        }
        listing.files = pictures;
    } else if let Some(stray) = top.pictures.first() {
        return Err(Error::invalid(format!(
            "{} holds both pictures ({stray}) and folders ({}): use either one folder per class \
             or a folder of pictures",
            folder.display(),
            top.folders[0]
        )));
    } else {
        let (mut labels, mut empty) = (Vec::new(), Vec::new());
        for (label, class) in top.folders.iter().enumerate() {
            let own = Entries::read(&folder.join(class))?;
            let (path, entries) = match own.inner() {
                None => (class.clone(), own),
                Some(inner) => {
                    left_out.extend(in_folder(class, &own.others));
                    let path = format!("{class}/{inner}");
                    let entries = Entries::read(&folder.join(&path))?;
                    (path, entries)
                }
            };
            if !entries.folders.is_empty() {
                refuse_splits(folder, &top.folders)?;
            }
            refuse_folders(&folder.join(&path), &entries)?;
            if entries.pictures.is_empty() {
                empty.push(class.as_str());
            }
            labels.extend(entries.pictures.iter().map(|_| label));
            listing.files.extend(in_folder(&path, &entries.pictures));
            left_out.extend(in_folder(&path, &entries.others));
        }
        match empty[..] {
            [] => {}
            [class] => {
                let class = legible::name(class);
                listing
                    .notices
                    .push(format!("Class {class} has no pictures."));
            }
            _ => listing.notices.push(format!(
                "{} have no pictures ({}).",
                counted(empty.len(), "class", "classes"),
                legible::names(empty.iter().copied())
            )),
        }
        listing.labels = Some(labels);
        listing.class_names = Some(top.folders);
        listing.by_position = true;
    }
    if let Some(first) = left_out.first() {
        listing.notices.push(format!(
            "Skipped {} not PNG, JPEG, WebP, BMP, TIFF, GIF or PNM (the first: {first}).",
            counted(left_out.len(), "file that is", "files that are")
        ));
    }
    Ok(listing)
}

/// Returns names relative to the parent folder.
fn in_folder(folder: &str, names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

fn refuse_folders(folder: &Path, entries: &Entries) -> Result<()> {
    match entries.folders.first() {
        None => Ok(()),
        Some(nested) => Err(Error::unsupported(format!(
            "{}: a class folder holds pictures, not folders",
            folder.join(nested).display()
        ))),
    }
}

/// Refuses folders that are splits of a data set.
fn refuse_splits(folder: &Path, names: &[String]) -> Result<()> {
    let mut splits = names.iter().map(|name| name.to_lowercase());
    if !splits.all(|name| SPLITS.contains(&&*name)) {
        return Ok(());
    }
    let preferred = ["val", "valid", "validation", "test"];
    let best = preferred
        .iter()
        .find_map(|wanted| names.iter().find(|name| name == wanted));
    Err(Error::invalid(format!(
        "{} holds splits of a data set ({}): choose one of them, such as {}",
        folder.display(),
        legible::names(names),
        folder.join(best.unwrap_or(&names[0])).display()
    )))
}

/// Lists Tiny ImageNet's validation pictures: one folder, and a tab-separated table of file and WordNet id.
fn tiny_imagenet(folder: &Path, inner: &str) -> Result<Listing> {
    let table = folder.join(TINY_IMAGENET);
    let text = files::read_text(&table, MAX_TABLE_BYTES)?;
    let mut finder = Finder::default();
    let (mut listed, mut classes) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let invalid = |what: &str| {
            Error::invalid(format!("{}, line {}: {what}", table.display(), number + 1))
        };
        let (file, rest) = line
            .split_once('\t')
            .ok_or_else(|| invalid("expected a file name, a tab and its class"))?;
        let class = rest.split('\t').next().unwrap_or_default();
        if class.is_empty() || is_too_long(class) || !is_inside(file) {
            return Err(invalid("the file or the class is missing"));
        }
        let file = finder.file(folder, &format!("{inner}/{file}"));
        listed.push(file.map_err(|what| invalid(&what))?);
        classes.push(class.to_owned());
    }
    let names: Vec<String> = BTreeSet::from_iter(classes.iter().cloned())
        .into_iter()
        .collect();
    let labels = classes
        .iter()
        .filter_map(|class| names.binary_search(class).ok());
    Ok(Listing {
        labels: Some(labels.collect()),
        files: listed,
        class_names: Some(names),
        by_position: true,
        notices: Vec::new(),
    })
}

/// Lists the pictures of a CSV table in its order. Columns: `file` (relative to the folder), `label`, and optionally
/// `name`, the name of the label's class.
fn from_table(folder: &Path, table: &Path) -> Result<Listing> {
    let invalid = |what: String| Error::invalid(format!("{}: {what}", table.display()));
    let since = Cell::new(0);
    let source = Records {
        source: Bounded::new(files::open(table)?, MAX_TABLE_BYTES),
        since: &since,
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(source);
    let header = reader
        .headers()
        .map_err(|error| invalid(csv_error(&error)))?
        .clone();
    since.set(0);
    let column = |name: &str| header.iter().position(|have| have == name);
    let (Some(file_column), Some(label_column)) = (column("file"), column("label")) else {
        return Err(invalid(format!(
            "expected the columns file and label, found {}",
            legible::names(&header)
        )));
    };
    let name_column = column("name");

    let (mut files, mut names) = (Vec::new(), BTreeMap::new());
    let mut labels = Labels::default();
    let mut finder = Finder::default();
    for record in reader.records() {
        let record = record.map_err(|error| invalid(csv_error(&error)))?;
        since.set(0);
        let line = record.position().map_or(0, csv::Position::line);
        let (file, label) = (&record[file_column], &record[label_column]);
        let found = match is_inside(file) {
            true => finder.file(folder, file),
            false => Err(format!("there is no file {:?}", legible::name(file))),
        };
        let file = found
            .map_err(|what| invalid(format!("line {line}: {what} in {}", folder.display())))?;
        let label = (labels.add(label)).map_err(|what| invalid(format!("line {line}: {what}")))?;
        if let (Some(column), Some(label)) = (name_column, label) {
            let name = record[column].to_owned();
            if is_too_long(&name) {
                return Err(invalid(format!("line {line}: {}", too_long(&name))));
            }
            let known = names.entry(label).or_insert_with(|| name.clone());
            if *known != name {
                return Err(invalid(format!(
                    "line {line}: label {label} is called {:?} here and {:?} before",
                    legible::name(&name),
                    legible::name(known)
                )));
            }
        }
        files.push(file);
    }
    let (labels, called) = labels.done();
    if called.is_some() {
        return Ok(Listing {
            files,
            labels: Some(labels),
            class_names: called,
            by_position: true,
            notices: Vec::new(),
        });
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

/// Whether a relative path stays inside its folder.
fn is_inside(file: &str) -> bool {
    Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The bytes of a table with limited record lengths, because the CSV reader keeps a whole record in memory.
struct Records<'a, R> {
    source: R,
    /// Bytes since the end of the last record.
    since: &'a Cell<u64>,
}

impl<R: Read> Read for Records<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.since.get() > MAX_LINE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("a line is longer than {MAX_LINE_BYTES} bytes, or a quote is not closed"),
            ));
        }
        let read = self.source.read(into)?;
        self.since.set(self.since.get() + read as u64);
        Ok(read)
    }
}

/// Describes a CSV error. Its own message may be as long as the record.
fn csv_error(error: &csv::Error) -> String {
    legible::name(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(table: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.png"), b"").unwrap();
        fs::write(folder.path().join(LABELS_FILE), table).unwrap();
        list(folder.path(), None).unwrap_err().to_string()
    }

    #[test]
    fn messages_about_tables_are_short() {
        let long = "a".repeat(8 << 20);
        for (table, says) in [
            (long.clone(), "a line is longer"),
            (",".repeat(8 << 20), "a line is longer"),
            (
                format!("file,label\na.png,0\n{long},0\n"),
                "a line is longer",
            ),
            (
                format!("file,label\n\"{}", "\n".repeat(1 << 20)),
                "a line is longer",
            ),
            (",".repeat(1 << 15), "the columns file and label"),
            (
                format!("file,label\n{},0\n", &long[..1 << 15]),
                "there is no file",
            ),
            (
                format!("file,label\na.png,{}\n", &long[..1 << 15]),
                "more than 1000 characters",
            ),
            (
                format!("file,label,name\na.png,0,{}\n", &long[..1 << 15]),
                "more than 1000 characters",
            ),
        ] {
            let refusal = refusal(&table);
            assert!(refusal.contains(says) && refusal.len() < 700, "{refusal}");
        }
    }

    #[test]
    fn long_tables_of_short_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.png"), b"").unwrap();
        let table = "file,label\n".to_owned() + &"a.png,3\n".repeat(20_000);
        fs::write(folder.path().join(LABELS_FILE), table).unwrap();
        let listing = list(folder.path(), None).unwrap();
        assert_eq!(listing.labels, Some(vec![3; 20_000]));
    }

    #[test]
    fn many_classes_without_pictures_are_one_notice() {
        let folder = tempfile::tempdir().unwrap();
        for class in 0..1000 {
            fs::create_dir(folder.path().join(format!("{class:04}"))).unwrap();
        }
        fs::write(folder.path().join("0500/a.png"), b"").unwrap();
        let notices = list(folder.path(), None).unwrap().notices;
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].starts_with("999 classes have no pictures (0000, 0001,"));
        assert!(notices[0].len() < 200, "{notices:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_table_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join(LABELS_FILE);
        std::os::unix::fs::symlink("/dev/zero", &table).unwrap();
        let refusal = list(folder.path(), None).unwrap_err().to_string();
        assert!(refusal.contains("a device"), "{refusal}");
        fs::remove_file(&table).unwrap();
        fs::create_dir(&table).unwrap();
        fs::write(table.join("a.png"), b"").unwrap();
        let listing = list(folder.path(), None).unwrap();
        assert_eq!(listing.class_names, Some(vec![LABELS_FILE.to_owned()]));
    }
}
