//! The footer of a Parquet file, checked for consistency.

use std::path::{Path, PathBuf};

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use parquet::schema::types::ColumnDescriptor;

use super::batches::Batches;
use super::compact::{Compact, LIST, STRUCT};
use super::pages::{Pages, Shape};
use crate::error::{Error, Result};
use crate::files;
use crate::legible;
use crate::panics::caught;

/// The maximum size of a footer.
const MAX_FOOTER_BYTES: u64 = 1 << 24;

/// The maximum number of columns of a table, including structures, and the maximum depth.
const MAX_COLUMNS: u64 = 10_000;
const MAX_DEPTH: usize = 64;

/// The maximum number of columns over all row groups.
const MAX_CHUNKS: u64 = 1 << 18;

/// Any file may declare this many rows. Beyond that, each row must take some bytes on disk, as every picture does.
const FREE_ROWS: u64 = 1 << 18;
const MIN_ROW_BYTES: u64 = 16;

/// A Parquet file whose footer has been read.
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    length: u64,
    metadata: ParquetMetaData,
}

/// Creates the error for a damaged file.
pub(crate) fn broken(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let what = error.to_string();
    let what = what.strip_prefix("Parquet error: ").unwrap_or(&what);
    Error::invalid(format!(
        "{} cannot be read as a Parquet file: {}",
        path.display(),
        legible::name(what)
    ))
}

/// Turns a panic of the decoder on a damaged file into an error.
pub(crate) fn unpanicked<T>(
    path: &Path,
    read: impl FnOnce() -> std::result::Result<T, ParquetError>,
) -> Result<T> {
    caught(read)
        .map_err(|_| broken(path, &"it is damaged"))?
        .map_err(|error| broken(path, &error))
}

impl Table {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let says = |what: String| broken(path, &what);
        let magic = match length {
            12.. => files::read_part(path, length - 8, 8)?,
            _ => return Err(says("it is too short".into())),
        };
        let (size, magic) = magic.split_at(4);
        match magic {
            b"PAR1" => {}
            b"PARE" => return Err(says("it is encrypted".into())),
            _ => {
                return Err(says(
                    "it does not end with the Parquet marker; it may be truncated".into(),
                ));
            }
        }
        let size = size
            .iter()
            .rev()
            .fold(0, |size, &byte| size << 8 | u64::from(byte));
        if size > MAX_FOOTER_BYTES || size > length - 12 {
            return Err(says(format!(
                "its footer has {size} bytes, but the limit is {}",
                MAX_FOOTER_BYTES.min(length - 12)
            )));
        }
        let footer = files::read_part(path, length - 8 - size, size as usize)?;
        let skipped = || ParquetStatisticsPolicy::SkipAll;
        let options = ParquetMetaDataOptions::new()
            .with_column_stats_policy(skipped())
            .with_size_stats_policy(skipped())
            .with_encoding_stats_policy(skipped());
        let metadata = unpanicked(path, || {
            check_footer(&footer)?;
            ParquetMetaDataReader::decode_metadata_with_options(&footer, Some(&options))
        })?;
        Ok(Self {
            path: path.to_owned(),
            length,
            metadata,
        })
    }

    /// Returns the leaves of the table: the columns that hold values.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (usize, &ColumnDescriptor)> {
        let schema = self.metadata.file_metadata().schema_descr();
        schema.columns().iter().map(|leaf| &**leaf).enumerate()
    }

    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Returns the number of rows of a group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or(0)
    }

    /// Returns the text that a writer stored under `key` in the metadata.
    pub(crate) fn note(&self, key: &str) -> Option<&str> {
        let notes = self.metadata.file_metadata().key_value_metadata()?;
        let note = notes.iter().find(|note| note.key == key)?;
        note.value.as_deref()
    }

    /// Refuses row counts that contradict each other or the size of the column that holds the pictures.
    pub(crate) fn check_rows(&self, leaf: usize) -> Result<()> {
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        let says = |what: String| broken(&self.path, &what);
        for (number, group) in self.metadata.row_groups().iter().enumerate() {
            let (of_group, of_column) = (group.num_rows(), group.column(leaf).num_values());
            let of_group = u64::try_from(of_group)
                .ok()
                .filter(|_| of_group == of_column)
                .ok_or_else(|| {
                    says(format!(
                        "row group {number} declares {of_group} rows, but {of_column} pictures"
                    ))
                })?;
            rows = rows.saturating_add(of_group);
            let range = self.range(number, leaf)?;
            bytes = bytes.saturating_add(range.end - range.start);
        }
        let all = self.metadata.file_metadata().num_rows();
        if u64::try_from(all) != Ok(rows) {
            return Err(says(format!(
                "it declares {all} rows, but its row groups have {rows}"
            )));
        }
        if bytes > self.length {
            return Err(says("its row groups overlap".into()));
        }
        if rows > FREE_ROWS && rows > bytes / MIN_ROW_BYTES {
            return Err(says(format!(
                "it declares {rows} rows, but {bytes} bytes of pictures cannot hold that many"
            )));
        }
        Ok(())
    }

    /// Returns the byte range of a column of a group.
    fn range(&self, group: usize, leaf: usize) -> Result<std::ops::Range<u64>> {
        let column = self.metadata.row_group(group).column(leaf);
        let data = column.data_page_offset();
        // Some writers store 0 if there is no dictionary.
        let dictionary = column.dictionary_page_offset().filter(|&at| at > 0);
        let start = u64::try_from(dictionary.map_or(data, |at| at.min(data))).ok();
        let length = u64::try_from(column.compressed_size()).ok();
        let end = start
            .zip(length)
            .and_then(|(start, length)| start.checked_add(length));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.length && column.file_path().is_none() => {
                Ok(start..end)
            }
            _ => Err(broken(
                &self.path,
                &format!("row group {group} lies outside the file; it may be truncated"),
            )),
        }
    }

    /// Returns the number of values in a column of a group, including missing ones.
    pub(super) fn values(&self, group: usize, leaf: usize) -> u64 {
        let values = self.metadata.row_group(group).column(leaf).num_values();
        u64::try_from(values).unwrap_or(0)
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Returns the pages of one column of a group. No page may unpack to more than `most` bytes.
    pub(super) fn pages(&self, group: usize, leaf: usize, most: u64) -> Result<Pages> {
        let column = self.metadata.row_group(group).column(leaf);
        let descriptor = column.column_descr();
        let shape = Shape {
            values: match descriptor.max_rep_level() > 0 {
                true => self.values(group, leaf),
                false => self.rows(group) as u64,
            },
            width: match descriptor.physical_type() {
                Type::INT64 | Type::DOUBLE => 8,
                _ => 4,
            },
            is_nullable: descriptor.max_def_level() > 0,
            is_repeated: descriptor.max_rep_level() > 0,
            page_bytes: most,
        };
        let range = self.range(group, leaf)?;
        let file = files::open(&self.path)?;
        Ok(Pages::new(file, range, column.compression(), shape))
    }

    /// Returns a reader of one column of a group.
    pub(crate) fn column(&self, group: usize, leaf: usize) -> Result<ColumnReader> {
        let descriptor = self
            .metadata
            .row_group(group)
            .column(leaf)
            .column_descr_ptr();
        let pages = self.pages(group, leaf, u64::MAX)?;
        unpanicked(&self.path, || {
            Ok(get_column_reader(descriptor, Box::new(pages)))
        })
    }

    /// Reads all columns at once, up to `most` rows.
    pub(crate) fn batches(&self, most: usize) -> Result<Batches<'_>> {
        Batches::of(self, most)
    }
}

/// Refuses a footer that would take more memory than its size justifies, or that nests its columns too deeply.
fn check_footer(footer: &[u8]) -> std::result::Result<(), ParquetError> {
    let (mut columns, mut chunks) = (0, 0);
    // The number of children still to come, for each column that encloses the next one.
    let mut open: Vec<i64> = Vec::new();
    let refused = |what: &str| Err(ParquetError::General(what.into()));
    let elements = |compact: &mut Compact<&[u8]>| match compact.list()? {
        (STRUCT, count) if count <= MAX_COLUMNS => Ok(count),
        (_, 0) => Ok(0),
        _ => Err(ParquetError::General("it has too many columns".into())),
    };
    Compact::new(footer).fields(&mut |compact, number, kind| match (number, kind) {
        (2, LIST) => {
            for _ in 0..elements(compact)? {
                let mut children = 0;
                compact.fields(&mut |compact, number, kind| {
                    let counts = (number, kind) == (5, 5);
                    if counts {
                        children = compact.integer()?;
                    }
                    Ok(counts)
                })?;
                columns += 1;
                if let Some(left) = open.last_mut() {
                    *left -= 1;
                }
                open.push(children);
                while open.last().is_some_and(|&left| left <= 0) {
                    open.pop();
                }
                if open.len() > MAX_DEPTH {
                    return refused("its columns are nested too deeply");
                }
            }
            Ok(true)
        }
        (4, LIST) => {
            let (kind, groups) = compact.list()?;
            if kind != STRUCT && groups > 0 {
                return refused("its row groups are not a list of structures");
            }
            for _ in 0..groups {
                compact.fields(&mut |compact, number, kind| {
                    if (number, kind) != (1, LIST) {
                        return Ok(false);
                    }
                    for _ in 0..elements(compact)? {
                        chunks += 1;
                        if chunks > MAX_CHUNKS {
                            return refused("it has too many row groups and columns");
                        }
                        compact.fields(&mut |_, _, _| Ok(false))?;
                    }
                    Ok(true)
                })?;
            }
            Ok(true)
        }
        _ => Ok(false),
    })?;
    match columns {
        0 => Err(ParquetError::General("it has no columns".into())),
        _ => Ok(()),
    }
}
