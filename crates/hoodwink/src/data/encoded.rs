//! Pictures as encoded files inside other files: shards of WebDataset and tables of Hugging Face.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::MAX_CLASSES;
use super::folder::is_picture;
use super::rows::{Rows, read_part};
use crate::error::{Error, Result};
use crate::image::Picture;

/// The largest picture inside another file.
const MAX_PICTURE_BYTES: u64 = 1 << 28;

/// Pictures in tar archives, with what belongs to each under the same name: `0001.jpg`, `0001.cls`.
#[derive(Debug)]
pub(super) struct Shards {
    archives: Vec<PathBuf>,
    pictures: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    archive: usize,
    name: String,
    offset: u64,
    length: usize,
}

impl Shards {
    /// Goes through all archives once; the labels are those of the `.cls` entries, where every picture has one.
    pub(super) fn open(archives: Vec<PathBuf>) -> Result<(Self, Option<Vec<usize>>)> {
        let (mut pictures, mut labels) = (Vec::new(), Vec::new());
        for (archive, path) in archives.iter().enumerate() {
            let mut found = BTreeMap::new();
            let mut order: Vec<Entry> = Vec::new();
            let mut tar = tar::Archive::new(File::open(path).map_err(Error::io(path))?);
            for entry in tar.entries().map_err(Error::io(path))? {
                let mut entry = entry.map_err(Error::io(path))?;
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                let name = entry.path().map_err(Error::io(path))?.display().to_string();
                let length = entry.size();
                if is_picture(&name) {
                    if length > MAX_PICTURE_BYTES {
                        return Err(Error::unsupported(format!(
                            "{}: {name} has {length} bytes, too large for a picture",
                            path.display()
                        )));
                    }
                    order.push(Entry {
                        archive,
                        offset: entry.raw_file_position(),
                        length: length as usize,
                        name,
                    });
                } else if let Some(key) = name.strip_suffix(".cls") {
                    let mut text = String::new();
                    std::io::Read::read_to_string(
                        &mut std::io::Read::take(&mut entry, 64),
                        &mut text,
                    )
                    .map_err(Error::io(path))?;
                    let label = text
                        .trim()
                        .parse()
                        .ok()
                        .filter(|&label: &usize| label < MAX_CLASSES);
                    let label = label.ok_or_else(|| {
                        Error::invalid(format!(
                            "{}: {name} holds {text:?}, which is no class",
                            path.display()
                        ))
                    })?;
                    found.insert(key.to_owned(), label);
                }
            }
            for entry in &order {
                labels.push(found.get(key(&entry.name)).copied());
            }
            pictures.extend(order);
        }
        let unlabelled = labels.iter().position(Option::is_none);
        if let (Some(at), true) = (unlabelled, labels.iter().any(Option::is_some)) {
            return Err(Error::invalid(format!(
                "{}: {} has no .cls entry with its label, others have",
                archives[pictures[at].archive].display(),
                pictures[at].name
            )));
        }
        Ok((Self { archives, pictures }, labels.into_iter().collect()))
    }

    pub(super) fn count(&self) -> usize {
        self.pictures.len()
    }
}

/// What an entry shares with those that belong to it: the name up to the first dot after the last slash.
fn key(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name[file..].find('.').map_or(name.len(), |dot| file + dot);
    &name[..dot]
}

impl Rows for Shards {
    fn file(&self, row: usize, _: &str) -> String {
        let entry = &self.pictures[row];
        let archive = self.archives[entry.archive].file_name().unwrap_or_default();
        format!("{}/{}", archive.to_string_lossy(), entry.name)
    }

    fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        Picture::decode(&self.stored(row)?, file)
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let entry = &self.pictures[row];
        read_part(&self.archives[entry.archive], entry.offset, entry.length)
    }

    fn is_encoded(&self) -> bool {
        true
    }
}

/// A table of encoded pictures in Parquet files, as Hugging Face keeps image data sets: a column `image` (or `img`) of
/// structures with `bytes`.
#[derive(Debug)]
pub(super) struct Tables {
    groups: Vec<Group>,
    column: String,
    /// The rows read last. Neighbours are asked for one after the other, so most questions end here.
    last: Mutex<Option<(usize, RecordBatch)>>,
}

/// A row group: what is read at once.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    /// Number among the file's groups, and rows in it.
    number: usize,
    rows: usize,
}

/// What a table holds besides its pictures.
pub(super) struct Labels {
    pub(super) labels: Option<Vec<usize>>,
    pub(super) names: Option<Vec<String>>,
}

fn broken(path: &Path) -> impl Fn(parquet::errors::ParquetError) -> Error {
    let path = path.display().to_string();
    move |error| Error::invalid(format!("{path}: {error}"))
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(Error::io(path))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken(path))
}

impl Tables {
    pub(super) fn open(paths: &[PathBuf]) -> Result<(Self, Labels)> {
        let (mut groups, mut labels) = (Vec::new(), Vec::new());
        let mut found = None;
        let mut names = None;
        for path in paths {
            let table = builder(path)?;
            let schema = table.schema().clone();
            let of = |candidates: &[&str]| {
                let known = candidates
                    .iter()
                    .find(|name| schema.field_with_name(name).is_ok());
                known.map(|name| (*name).to_owned())
            };
            let pictures = of(&["image", "img", "picture"]).ok_or_else(|| {
                let columns: Vec<&str> = schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect();
                Error::invalid(format!(
                    "{} has no column image or img; it has {}",
                    path.display(),
                    columns.join(", ")
                ))
            })?;
            let label = of(&["label", "labels", "fine_label"]);
            for number in 0..table.metadata().num_row_groups() {
                let rows = table.metadata().row_group(number).num_rows();
                groups.push(Group {
                    path: path.clone(),
                    number,
                    rows: usize::try_from(rows).unwrap_or(0),
                });
            }
            names = names
                .or_else(|| class_names(schema.metadata().get("huggingface")?, label.as_deref()?));
            if let Some(label) = &label {
                labels.extend(read_labels(path, label)?);
            }
            found.get_or_insert(pictures);
        }
        let column = found.ok_or_else(|| Error::invalid("there is no Parquet file"))?;
        let tables = Self {
            groups,
            column,
            last: Mutex::default(),
        };
        let complete = labels.len() == tables.count();
        if !complete && !labels.is_empty() {
            return Err(Error::invalid(format!(
                "{} has labels for some pictures only",
                paths[0].display()
            )));
        }
        let labels = Labels {
            labels: complete.then_some(labels),
            names,
        };
        Ok((tables, labels))
    }

    pub(super) fn count(&self) -> usize {
        self.groups.iter().map(|group| group.rows).sum()
    }

    /// The group of a row, and the row's number in it.
    fn place(&self, row: usize) -> Result<(usize, usize)> {
        let mut left = row;
        for (at, group) in self.groups.iter().enumerate() {
            if left < group.rows {
                return Ok((at, left));
            }
            left -= group.rows;
        }
        Err(Error::invalid(format!("there is no row {row}")))
    }

    fn group(&self, at: usize) -> Result<RecordBatch> {
        let poisoned = |_| Error::invalid("another worker failed while it read the table");
        if let Some((known, batch)) = &*self.last.lock().map_err(poisoned)?
            && *known == at
        {
            return Ok(batch.clone());
        }
        let batch = read_columns(
            &self.groups[at].path,
            &self.column,
            Some(self.groups[at].number),
        )?;
        let batch = batch.into_iter().next().ok_or_else(|| {
            Error::invalid(format!(
                "{} has an empty row group",
                self.groups[at].path.display()
            ))
        })?;
        *self.last.lock().map_err(poisoned)? = Some((at, batch.clone()));
        Ok(batch)
    }
}

/// A column of a file, or of one of its groups, each group as one batch.
fn read_columns(path: &Path, column: &str, group: Option<usize>) -> Result<Vec<RecordBatch>> {
    let mut table = builder(path)?;
    let schema = table.parquet_schema();
    let leaves =
        (0..schema.num_columns()).filter(|&leaf| schema.get_column_root(leaf).name() == column);
    let mask = ProjectionMask::leaves(schema, leaves);
    if let Some(group) = group {
        table = table.with_row_groups(vec![group]);
    }
    let reader = table
        .with_projection(mask)
        .with_batch_size(usize::MAX >> 1)
        .build()
        .map_err(broken(path))?;
    reader
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

fn read_labels(path: &Path, column: &str) -> Result<Vec<usize>> {
    let mut labels = Vec::new();
    for batch in read_columns(path, column, None)? {
        let values = arrow_array::cast::as_primitive_array::<arrow_array::types::Int64Type>;
        let column: &ArrayRef = batch.column(0);
        if column.data_type() != &DataType::Int64 || column.null_count() > 0 {
            return Err(Error::unsupported(format!(
                "{} has labels of type {}, and {} of them are missing; 64-bit integers are read",
                path.display(),
                column.data_type(),
                column.null_count()
            )));
        }
        for &label in values(column).values() {
            let label = usize::try_from(label)
                .ok()
                .filter(|&label| label < MAX_CLASSES);
            labels.push(label.ok_or_else(|| {
                Error::invalid(format!(
                    "{}: a label is negative or too large; the test split of some data sets has none (-1)",
                    path.display()
                ))
            })?);
        }
    }
    Ok(labels)
}

/// The names of a label column's classes in the description that Hugging Face stores with a table.
fn class_names(description: &str, label: &str) -> Option<Vec<String>> {
    let description: serde_json::Value = serde_json::from_str(description).ok()?;
    let names = description
        .pointer(&format!("/info/features/{label}/names"))?
        .as_array()?;
    names
        .iter()
        .map(|name| Some(name.as_str()?.to_owned()))
        .collect()
}

impl Rows for Tables {
    fn file(&self, row: usize, name: &str) -> String {
        match self.place(row) {
            Ok((at, _)) => {
                let file = self.groups[at].path.file_name().unwrap_or_default();
                format!("{}[{row}]", file.to_string_lossy())
            }
            Err(_) => format!("{name}[{row}]"),
        }
    }

    fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        Picture::decode(&self.stored(row)?, file)
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let (at, row) = self.place(row)?;
        let batch = self.group(at)?;
        let refused =
            |what: &str| Error::unsupported(format!("{}: {what}", self.groups[at].path.display()));
        let column = Arc::clone(batch.column(0));
        let bytes = match column.data_type() {
            DataType::Struct(_) => {
                let column: &StructArray = column.as_struct();
                let bytes = column.column_by_name("bytes").cloned();
                bytes.ok_or_else(|| {
                    refused("its pictures have no bytes; they may lie in other files")
                })?
            }
            _ => column,
        };
        if bytes.len() <= row || bytes.is_null(row) {
            return Err(refused(&format!("row {row} of a group has no picture")));
        }
        match bytes.data_type() {
            DataType::Binary => Ok(bytes.as_binary::<i32>().value(row).to_vec()),
            DataType::LargeBinary => Ok(bytes.as_binary::<i64>().value(row).to_vec()),
            other => Err(refused(&format!("its pictures are of type {other}"))),
        }
    }

    fn is_encoded(&self) -> bool {
        true
    }
}
