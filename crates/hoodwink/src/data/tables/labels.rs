//! The labels of a table and the names of their classes.

use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, Int32Type, Int64Type};
use parquet::schema::types::ColumnDescriptor;

use crate::data::MAX_CLASSES;
use crate::data::class_names::MAX_NAME_CHARS;
use crate::error::{Error, Result};
use crate::parquet_file::{Table, broken, unpanicked};

/// Number of labels read at once.
const AT_ONCE: usize = 4096;

/// Reads the label of every row, in order.
pub(super) fn read(table: &Table, leaf: usize) -> Result<Vec<usize>> {
    let refused = |what: &str| {
        Error::unsupported(format!(
            "{} has labels {what}; expected one integer per picture",
            table.path.display()
        ))
    };
    let mut labels = Vec::new();
    for group in 0..table.groups() {
        let column = table.column(group, leaf)?;
        let rows = table.rows(group);
        match column {
            ColumnReader::Int32ColumnReader(reader) => {
                add::<Int32Type>(table, reader, rows, &mut labels, i64::from)?;
            }
            ColumnReader::Int64ColumnReader(reader) => {
                add::<Int64Type>(table, reader, rows, &mut labels, |label| label)?;
            }
            _ => return Err(refused("that are not integers")),
        }
    }
    Ok(labels)
}

/// Whether a column holds one integer per row.
pub(super) fn is_integer(leaf: &ColumnDescriptor) -> bool {
    use ConvertedType::{INT_8, INT_16, NONE, UINT_8, UINT_16, UINT_32, UINT_64};
    use parquet::basic::Type::{INT32, INT64};
    let converted = leaf.converted_type();
    let plain = match leaf.logical_type_ref() {
        Some(logical) => matches!(logical, LogicalType::Integer(..)),
        None => matches!(
            converted,
            NONE | INT_8
                | INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64
                | UINT_8
                | UINT_16
                | UINT_32
                | UINT_64
        ),
    };
    plain && matches!(leaf.physical_type(), INT32 | INT64) && leaf.max_rep_level() == 0
}

fn add<T: DataType>(
    table: &Table,
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    labels: &mut Vec<usize>,
    integer: impl Fn(T::T) -> i64,
) -> Result<()> {
    let path = &table.path;
    let mut left = rows;
    while left > 0 {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let (read, found, _) = unpanicked(path, || {
            reader.read_records(left.min(AT_ONCE), Some(&mut levels), None, &mut values)
        })?;
        if read == 0 {
            return Err(broken(path, &"it has fewer labels than it declares"));
        }
        if found < read {
            // All rows have the same levels except those without a value.
            let highest = levels.iter().max();
            let at = levels.iter().position(|level| Some(level) != highest);
            return Err(Error::invalid(format!(
                "{}[{}] has no label, but other rows do",
                path.display(),
                labels.len() + at.unwrap_or(0)
            )));
        }
        for value in values {
            let label = integer(value);
            let fitting = usize::try_from(label)
                .ok()
                .filter(|&label| label < MAX_CLASSES);
            labels.push(fitting.ok_or_else(|| {
                Error::invalid(format!(
                    "{}[{}] has the label {label}, which is negative or too large; the test split of some data sets has none \
                     (-1)",
                    path.display(),
                    labels.len()
                ))
            })?);
        }
        left -= read.min(left);
    }
    Ok(())
}

/// Returns the names of a label column's classes from the description that Hugging Face stores in a table.
pub(super) fn class_names(description: &str, label: &str) -> Option<Vec<String>> {
    let description: serde_json::Value = serde_json::from_str(description).ok()?;
    let names = description
        .get("info")?
        .get("features")?
        .get(label)?
        .get("names")?;
    let names = names
        .as_array()
        .filter(|names| names.len() <= MAX_CLASSES)?;
    names
        .iter()
        .map(|name| Some(name.as_str()?.chars().take(MAX_NAME_CHARS).collect()))
        .collect()
}
