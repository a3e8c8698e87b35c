//! The report: one HTML file that opens from disk, with everything in it; and a page that compares several runs.

mod chart;
mod classes;
mod compare;
mod gallery;
mod page;
mod pictures;
mod training;

use std::path::PathBuf;

use askama::Template;

pub use compare::compare;
pub use pictures::sign_map;
pub use training::training;

use crate::error::{Error, Result};
use crate::results::{Row, RunFolder};

const REPORT: &str = "report.html";

/// Writes `report.html` into the run folder and returns its path. The run may be unfinished: the report then
/// says so, and shows what is there.
pub fn write(folder: &RunFolder) -> Result<PathBuf> {
    let page = page::Page::of(folder)?;
    let html = page
        .render()
        .map_err(|e| Error::invalid(format!("the report cannot be written: {e}")))?;
    folder.write(REPORT, html.as_bytes())?;
    Ok(folder.path().join(REPORT))
}

/// The rows whose pictures the report of a run shows, as far as it has got.
pub fn shown(folder: &RunFolder) -> Result<Vec<Row>> {
    let rows = folder.rows()?;
    let chosen = page::chosen(folder.run(), &rows);
    Ok(chosen.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests;
