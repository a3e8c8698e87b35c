//! Tables of encoded pictures, the format of Hugging Face's image data sets.
//!
//! They are Parquet files and are not trusted ([`crate::parquet_file`]).

mod labels;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::ByteArrayType;
use parquet::schema::types::ColumnDescriptor;

use super::rows::Rows;
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::legible;
use crate::parquet_file::{Table, broken, damaged, unpanicked};

/// Number of recently read rows to keep, because several workers read neighbouring rows.
const KEPT_ROWS: usize = 128;

/// Maximum size of the kept rows, in bytes, not counting the last two.
const KEPT_BYTES: usize = 1 << 25;

/// Maximum size of a picture in a table, in bytes.
const MAX_PICTURE_BYTES: usize = 1 << 28;

/// A table of encoded pictures in Parquet files: a column `image` (or `img`) of binary values or of structures with
/// `bytes`.
#[derive(Debug)]
pub(super) struct Tables {
    groups: Vec<Group>,
    count: usize,
    /// Rows are usually requested in order, so most requests are near the row that was read last.
    cursor: Mutex<Option<Cursor>>,
}

/// A row group.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    /// Its number in the file, and its number of rows.
    number: usize,
    rows: usize,
    /// Its first row in its file, and among all rows.
    of_file: usize,
    start: usize,
}

/// The contents of a table besides its pictures.
pub(super) struct Labels {
    pub(super) labels: Option<Vec<usize>>,
    pub(super) names: Option<Vec<String>>,
}

/// A partly read group.
struct Cursor {
    group: usize,
    /// Its file. The footer is long if there are many groups.
    table: Arc<Table>,
    reader: ColumnReaderImpl<ByteArrayType>,
    /// The next row to read.
    next: usize,
    /// The rows before it, the latest at the end.
    kept: VecDeque<Option<Vec<u8>>>,
    kept_bytes: usize,
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
    /// Whether a row is kept or still ahead.
    fn reaches(&self, row: usize) -> bool {
        row + self.kept.len() >= self.next
    }

    /// Skips rows, most of them without unpacking their pages.
    fn skip(&mut self, path: &Path, rows: usize) -> Result<()> {
        let skipped = unpanicked(path, || self.reader.skip_records(rows))?;
        if skipped < rows {
            return Err(fewer_rows(path));
        }
        self.next += rows;
        self.kept.clear();
        self.kept_bytes = 0;
        Ok(())
    }

    /// Reads up to a row and returns it.
    fn row(&mut self, path: &Path, row: usize) -> Result<Option<Vec<u8>>> {
        if row >= self.next + KEPT_ROWS {
            self.skip(path, row - self.next)?;
        }
        while self.next <= row {
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            let (read, value) = unpanicked(path, || {
                let levels = Some(&mut levels);
                let (read, _, _) = self.reader.read_records(1, levels, None, &mut values)?;
                let value = values.first().map(|value| value.data());
                if value.is_some_and(|value| value.len() > MAX_PICTURE_BYTES) {
                    return Err(damaged("a picture is larger than 256 MiB"));
                }
                Ok((read, value.map(<[u8]>::to_vec)))
            })?;
            if read == 0 {
                return Err(fewer_rows(path));
            }
            self.kept_bytes += value.as_ref().map_or(0, Vec::len);
            self.kept.push_back(value);
            self.next += 1;
            while self.kept.len() > KEPT_ROWS || self.kept.len() > 2 && self.kept_bytes > KEPT_BYTES
            {
                let passed = self.kept.pop_front().flatten();
                self.kept_bytes -= passed.map_or(0, |value| value.len());
            }
        }
        let first = self.next - self.kept.len();
        Ok(self.kept.get(row - first).cloned().flatten())
    }
}

impl Tables {
    pub(super) fn open(paths: &[PathBuf]) -> Result<(Self, Labels)> {
        let (mut groups, mut found) = (Vec::new(), Vec::new());
        let (mut names, mut count) = (None, 0);
        for path in paths {
            let table = Table::open(path)?;
            table.check_rows(picture_column(&table)?)?;
            let mut of_file = 0;
            for number in 0..table.groups() {
                let rows = table.rows(number);
                groups.push(Group {
                    path: path.clone(),
                    number,
                    rows,
                    of_file,
                    start: count,
                });
                of_file += rows;
                count += rows;
            }
            if let Some(leaf) = label_column(&table)? {
                let called = table.leaves().nth(leaf).map(|(_, column)| column.name());
                names = names.or_else(|| labels::class_names(table.note("huggingface")?, called?));
                found.extend(labels::read(&table, leaf)?);
            }
        }
        let tables = Self {
            groups,
            count,
            cursor: Mutex::default(),
        };
        let complete = found.len() == tables.count();
        if !complete && !found.is_empty() {
            return Err(Error::invalid(format!(
                "{} has labels for only some of the pictures",
                paths[0].display()
            )));
        }
        let labels = Labels {
            labels: complete.then_some(found),
            names,
        };
        Ok((tables, labels))
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the group of a row, and the row's number in it.
    fn place(&self, row: usize) -> Result<(usize, usize)> {
        let at = self.groups.partition_point(|group| group.start <= row);
        match at.checked_sub(1).filter(|_| row < self.count) {
            Some(at) => Ok((at, row - self.groups[at].start)),
            None => Err(Error::invalid(format!("there is no row {row}"))),
        }
    }

    /// Returns the picture in a row of a group.
    fn value(&self, group: usize, row: usize) -> Result<Option<Vec<u8>>> {
        let poisoned = |_| Error::invalid("another thread failed while reading the table");
        let path = &self.groups[group].path;
        let mut kept = self.cursor.lock().map_err(poisoned)?;
        // After an error the group is not read further.
        let last = kept.take();
        let mut cursor = match last {
            Some(cursor) if cursor.group == group && cursor.reaches(row) => cursor,
            Some(cursor) if cursor.table.path == *path => {
                self.cursor_at(group, row, cursor.table)?
            }
            _ => self.cursor_at(group, row, Arc::new(Table::open(path)?))?,
        };
        let value = cursor.row(path, row)?;
        *kept = Some(cursor);
        Ok(value)
    }

    /// Opens a group a little before one of its rows.
    fn cursor_at(&self, group: usize, row: usize, table: Arc<Table>) -> Result<Cursor> {
        let Group {
            path, number, rows, ..
        } = &self.groups[group];
        if *number >= table.groups() || table.rows(*number) != *rows {
            return Err(broken(path, &"it has changed since it was opened"));
        }
        let column = table.column(*number, picture_column(&table)?)?;
        let ColumnReader::ByteArrayColumnReader(reader) = column else {
            return Err(broken(path, &"its pictures are not binary"));
        };
        let mut cursor = Cursor {
            group,
            table,
            reader,
            next: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
        };
        // Another worker may request a row just before this one.
        cursor.skip(path, row.saturating_sub(KEPT_ROWS / 2))?;
        Ok(cursor)
    }
}

fn fewer_rows(path: &Path) -> Error {
    broken(path, &"it has fewer rows than it declares")
}

/// Returns the first of these columns that a table has.
fn known<'a>(table: &Table, names: &[&'a str]) -> Option<&'a str> {
    let has = |name: &&&str| table.leaves().any(|(_, leaf)| root(leaf) == **name);
    names.iter().find(has).copied()
}

fn root(leaf: &ColumnDescriptor) -> &str {
    leaf.path().parts().first().map_or("", String::as_str)
}

/// Returns the column of the pictures' bytes.
fn picture_column(table: &Table) -> Result<usize> {
    let path = table.path.display();
    let name = known(table, &["image", "img", "picture"]).ok_or_else(|| {
        let mut columns: Vec<&str> = table.leaves().map(|(_, leaf)| root(leaf)).collect();
        columns.dedup();
        Error::invalid(format!(
            "{path} has no column image or img; found {}",
            legible::names(columns)
        ))
    })?;
    let is_value = |leaf: &ColumnDescriptor| {
        let parts: Vec<&str> = leaf.path().parts().iter().map(String::as_str).collect();
        parts == [name] || parts == [name, "bytes"]
    };
    let (at, leaf) = table
        .leaves()
        .find(|(_, leaf)| is_value(leaf))
        .ok_or_else(|| {
            Error::unsupported(format!(
                "{path}: its pictures have no bytes; they may be in other files"
            ))
        })?;
    let is_text = matches!(
        leaf.converted_type(),
        ConvertedType::UTF8 | ConvertedType::JSON
    ) || matches!(leaf.logical_type_ref(), Some(LogicalType::String));
    if leaf.physical_type() != Type::BYTE_ARRAY || leaf.max_rep_level() > 0 || is_text {
        let what = match (leaf.max_rep_level(), is_text) {
            (0, true) => "text".to_owned(),
            (0, false) => leaf.physical_type().to_string(),
            _ => "lists".to_owned(),
        };
        return Err(Error::unsupported(format!(
            "{path}: its pictures are of type {what}; expected binary values"
        )));
    }
    Ok(at)
}

/// Returns the column of the labels, if there is one.
fn label_column(table: &Table) -> Result<Option<usize>> {
    let Some(name) = known(table, &["label", "labels", "fine_label"]) else {
        return Ok(None);
    };
    let mut leaves = table.leaves().filter(|(_, leaf)| root(leaf) == name);
    match leaves.next() {
        Some((at, leaf)) if labels::is_integer(leaf) && leaf.path().parts().len() == 1 => {
            Ok(Some(at))
        }
        _ => Err(Error::unsupported(format!(
            "{} has labels in the column {name} that are not integers; expected one integer per picture",
            table.path.display()
        ))),
    }
}

impl Rows for Tables {
    fn kind(&self) -> &'static str {
        "Parquet tables"
    }

    fn are_photographs(&self) -> bool {
        true
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
        let group = &self.groups[at];
        self.value(at, of_group)?.ok_or_else(|| {
            Error::unsupported(format!(
                "{}: row {} has no picture; it may be in another file",
                group.path.display(),
                group.of_file + of_group
            ))
        })
    }

    fn is_encoded(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
