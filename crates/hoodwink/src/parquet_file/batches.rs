//! All columns of a table at once, as Arrow record batches.

use arrow_schema::Schema;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{
    FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema,
};
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::footer::{Table, broken, unpanicked};
use super::pages::Pages;
use crate::error::Result;

/// The maximum number of values in a list column. A few bytes can encode any number of equal values.
const MAX_LISTED: u64 = 1 << 25;

/// The maximum unpacked size of a page of these columns: rows may share the text in it, and each row of a batch gets a
/// copy.
const MAX_PAGE_BYTES: u64 = 1 << 22;

/// Rows decoded at once.
const ROWS_AT_ONCE: usize = 8;

/// A table that is read row by row. Every column holds a value or a list for each row.
pub(crate) struct Batches<'a> {
    table: &'a Table,
    levels: FieldLevels,
}

impl<'a> Batches<'a> {
    /// Refuses more than `most` rows, and columns with a different number of values.
    pub(super) fn of(table: &'a Table, most: usize) -> Result<Self> {
        let says = |what: String| broken(&table.path, &what);
        let rows: usize = (0..table.groups()).map(|group| table.rows(group)).sum();
        if rows > most {
            return Err(says(format!(
                "it says that it has {rows} rows, but at most {most} belong there"
            )));
        }
        for (leaf, column) in table.leaves() {
            let mut listed = 0_u64;
            for group in 0..table.groups() {
                let (rows, values) = (table.rows(group) as u64, table.values(group, leaf));
                match column.max_rep_level() > 0 {
                    true => listed = listed.saturating_add(values),
                    false if values != rows => {
                        return Err(says(format!(
                            "row group {group} declares {rows} rows, but {values} values of {}",
                            column.name()
                        )));
                    }
                    false => {}
                }
            }
            if listed > MAX_LISTED {
                return Err(says(format!(
                    "{listed} values of {} are more than the limit of {MAX_LISTED}",
                    column.name()
                )));
            }
        }
        let schema = table.metadata().file_metadata().schema_descr();
        let levels = unpanicked(&table.path, || {
            parquet_to_arrow_field_levels(schema, ProjectionMask::all(), None)
        })?;
        Ok(Self { table, levels })
    }

    /// Returns the columns by name and type.
    pub(crate) fn schema(&self) -> Result<Schema> {
        let schema = self.table.metadata().file_metadata().schema_descr();
        unpanicked(&self.table.path, || parquet_to_arrow_schema(schema, None))
    }

    /// Reads a few rows at a time. An error in a batch is returned when that batch is requested.
    pub(crate) fn read(&self) -> Result<ParquetRecordBatchReader> {
        unpanicked(&self.table.path, || {
            ParquetRecordBatchReader::try_new_with_row_groups(
                &self.levels,
                self,
                ROWS_AT_ONCE,
                None,
            )
        })
    }
}

impl RowGroups for Batches<'_> {
    fn num_rows(&self) -> usize {
        (0..self.table.groups())
            .map(|group| self.table.rows(group))
            .sum()
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let of_group = |group| self.table.pages(group, leaf, MAX_PAGE_BYTES);
        let groups = (0..self.table.groups()).map(of_group);
        let groups = groups
            .collect::<Result<Vec<Pages>>>()
            .map_err(|error| ParquetError::General(error.to_string()))?;
        Ok(Box::new(Chunks(groups.into_iter())))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.table.metadata().row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.table.metadata()
    }
}

/// The pages of a column, group by group.
struct Chunks(std::vec::IntoIter<Pages>);

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pages = self.0.next()?;
        Some(Ok(Box::new(pages)))
    }
}

impl PageIterator for Chunks {}
