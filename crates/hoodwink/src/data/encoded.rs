//! Pictures as encoded files inside other files: shards of WebDataset and tables of Hugging Face.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::MAX_CLASSES;
use super::folder::is_picture;
use super::rows::{Rows, read_part};
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::legible;

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
    fn kind(&self) -> &'static str {
        "WebDataset shards"
    }

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
    /// Neighbours are asked for one after the other, so most questions end at what was read last.
    cursor: Mutex<Option<Cursor>>,
}

/// Rows of a group that are read at once. A group may hold all pictures there are.
const ROWS_AT_ONCE: usize = 64;

/// A group as far as it was read, with the rows read last.
struct Cursor {
    group: usize,
    reader: ParquetRecordBatchReader,
    /// The batch read last and the one before, each with its first row: several workers are never far apart.
    batches: [Option<(usize, RecordBatch)>; 2],
    /// The row that is read next.
    next: usize,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, next) = (self.group, self.next);
        f.debug_struct("Cursor")
            .field("group", &group)
            .field("next", &next)
            .finish_non_exhaustive()
    }
}

impl Cursor {
    /// The batch with a row, if it is one of the last two, and the row's number in it.
    fn batch_of(&self, row: usize) -> Option<(RecordBatch, usize)> {
        let mut batches = self.batches.iter().flatten();
        let has_row = |(first, batch): &&(usize, RecordBatch)| {
            (*first..first + batch.num_rows()).contains(&row)
        };
        batches
            .find(has_row)
            .map(|(first, batch)| (batch.clone(), row - first))
    }
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
                let columns = schema.fields().iter().map(|field| field.name());
                Error::invalid(format!(
                    "{} has no column image or img; it has {}",
                    path.display(),
                    legible::names(columns)
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
            cursor: Mutex::default(),
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

    /// Some rows of a group with this one among them, and its number there.
    fn batch(&self, group: usize, row: usize) -> Result<(RecordBatch, usize)> {
        let poisoned = |_| Error::invalid("another worker failed while it read the table");
        let path = &self.groups[group].path;
        let mut kept = self.cursor.lock().map_err(poisoned)?;
        // What is broken is not read on.
        let cursor = kept.take().filter(|cursor| cursor.group == group);
        let known = cursor.filter(|cursor| row >= cursor.next || cursor.batch_of(row).is_some());
        let mut cursor = match known {
            Some(cursor) => cursor,
            None => self.cursor_at(group, row / ROWS_AT_ONCE * ROWS_AT_ONCE)?,
        };
        let found = loop {
            if let Some(found) = cursor.batch_of(row) {
                break found;
            }
            let batch = cursor.reader.next().ok_or_else(|| {
                Error::invalid(format!("{} has fewer rows than it says", path.display()))
            })?;
            let batch =
                batch.map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
            let first = cursor.next;
            cursor.next += batch.num_rows();
            let [last, _] = std::mem::take(&mut cursor.batches);
            cursor.batches = [Some((first, batch)), last];
        };
        *kept = Some(cursor);
        Ok(found)
    }

    /// A group from one of its rows on.
    fn cursor_at(&self, group: usize, row: usize) -> Result<Cursor> {
        let Group { path, number, .. } = &self.groups[group];
        let table = column(path, &self.column)?
            .with_row_groups(vec![*number])
            .with_batch_size(ROWS_AT_ONCE)
            .with_offset(row);
        Ok(Cursor {
            group,
            reader: table.build().map_err(broken(path))?,
            batches: [None, None],
            next: row,
        })
    }
}

/// A file of which only this column is read.
fn column(path: &Path, column: &str) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let table = builder(path)?;
    let schema = table.parquet_schema();
    let leaves =
        (0..schema.num_columns()).filter(|&leaf| schema.get_column_root(leaf).name() == column);
    let mask = ProjectionMask::leaves(schema, leaves);
    Ok(table.with_projection(mask))
}

fn read_labels(path: &Path, column: &str) -> Result<Vec<usize>> {
    let mut labels = Vec::new();
    for batch in self::column(path, column)?.build().map_err(broken(path))? {
        let batch =
            batch.map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
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
    fn kind(&self) -> &'static str {
        "Parquet tables"
    }

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
        let (at, of_group) = self.place(row)?;
        let (batch, row) = self.batch(at, of_group)?;
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
            return Err(refused(&format!(
                "row {of_group} of a group has no picture"
            )));
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

#[cfg(test)]
mod tests {
    use arrow_array::{BinaryArray, Int64Array};
    use arrow_schema::{Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// What stands in place of a picture.
    fn content(row: usize) -> Vec<u8> {
        (0..row % 50 + 1).map(|at| (row + at) as u8).collect()
    }

    fn table(path: &Path, rows: usize, group: usize) {
        let contents: Vec<Vec<u8>> = (0..rows).map(content).collect();
        let bytes = BinaryArray::from_iter_values(&contents);
        let bytes_field = Arc::new(Field::new("bytes", DataType::Binary, true));
        let pictures = StructArray::from(vec![(bytes_field, Arc::new(bytes) as ArrayRef)]);
        let labels = Int64Array::from_iter_values((0..rows as i64).map(|row| row % 7));
        let fields = vec![
            Field::new("image", pictures.data_type().clone(), false),
            Field::new("label", DataType::Int64, false),
        ];
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<ArrayRef> = vec![Arc::new(pictures), Arc::new(labels)];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .set_data_page_row_count_limit(40)
            .build();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn rows_of_long_groups_are_read_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        for group in [1000, 300, 64, 5] {
            table(&path, 700, group);
            let (tables, labels) = Tables::open(std::slice::from_ref(&path)).unwrap();
            assert_eq!(tables.count(), 700);
            let expected: Vec<usize> = (0..700).map(|row| row % 7).collect();
            assert_eq!(labels.labels, Some(expected));
            let forward = 0..700;
            let back_and_forth = (0..700).map(|row| row * 37 % 700);
            for row in forward
                .chain(back_and_forth)
                .chain((0..700).rev().step_by(9))
            {
                assert_eq!(
                    tables.stored(row).unwrap(),
                    content(row),
                    "{row} of {group}"
                );
            }
            // Workers are a little apart.
            std::thread::scope(|scope| {
                for worker in 0..3 {
                    let tables = &tables;
                    scope.spawn(move || {
                        for row in (worker..700).step_by(3) {
                            assert_eq!(tables.stored(row).unwrap(), content(row));
                        }
                    });
                }
            });
            assert!(tables.stored(700).is_err());
        }
    }
}
