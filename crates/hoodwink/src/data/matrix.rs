//! NumPy arrays that are not pictures: tables of floats, and labels for them.

use std::io::{BufReader, Read as _};
use std::path::Path;

use super::arrays;
use super::npy::{Header, Kind};
use crate::error::{Error, Result};
use crate::files;

/// Floats in rows and columns.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) columns: usize,
    /// In row-major order.
    pub(crate) values: Vec<f64>,
}

/// Reads a `.npy` file of floats with two axes and at most `most` values. `file` names it in errors.
pub(crate) fn read(path: &Path, file: &str, most: usize) -> Result<Matrix> {
    let source = files::open(path)?;
    let length = source.metadata().map_err(Error::io(path))?.len();
    let mut source = BufReader::new(source);
    let header = Header::read(&mut source, file)?;
    header.check_length(length, file)?;
    let [rows, columns] = header.shape[..] else {
        return Err(Error::invalid(format!(
            "{file} has the shape {:?}; expected one row per picture and one column per class, [pictures, classes]",
            header.shape
        )));
    };
    if header.element.kind != Kind::Float {
        return Err(Error::invalid(format!(
            "{file} holds integers; expected floats, the scores of classes"
        )));
    }
    if rows.checked_mul(columns).is_none_or(|values| values > most) {
        return Err(Error::unsupported(format!(
            "{file} holds {rows} x {columns} values, more than the limit of {most}: divide it into parts"
        )));
    }
    let mut value = vec![0; header.element.width];
    let mut values = Vec::new();
    for _ in 0..rows * columns {
        source.read_exact(&mut value).map_err(Error::io(path))?;
        values.push(header.element.float(&value));
    }
    Ok(Matrix { columns, values })
}

/// Reads a `.npy` file of integer labels for the data called `of.0` with `of.1` pictures.
pub(crate) fn read_labels(path: &Path, file: &str, of: (&str, usize)) -> Result<Vec<usize>> {
    arrays::read_labels(path, file, of)
}
