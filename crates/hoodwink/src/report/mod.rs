//! The report: one self-contained HTML file, and a page that compares several runs.

mod chart;
mod classes;
mod compare;
mod export;
mod figure;
mod gallery;
mod headline;
mod page;
mod pictures;
mod places;
mod thumbs;
mod training;

use std::path::PathBuf;

use askama::Template;

pub use compare::compare;
pub use export::{export, export_comparison};
pub use pictures::sign_map;
pub(crate) use pictures::{Perturbation, perturbation};
pub use training::training;

use crate::error::{Error, Result};
use crate::results::{Row, RunFolder};

const REPORT: &str = "report.html";

/// Writes `report.html` into the run folder and returns its path. If the run is unfinished, the report says so and
/// shows what exists. If there are more pictures than fit on one page, the rest go to `pictures-2.html` and so on in
/// the same folder.
pub fn write(folder: &RunFolder) -> Result<PathBuf> {
    let (page, beside) = page::Page::of(folder)?;
    for (file, page) in beside {
        folder.write(&file, render(&page)?.as_bytes())?;
    }
    folder.write(REPORT, render(&page)?.as_bytes())?;
    Ok(folder.path().join(REPORT))
}

fn render(page: &impl Template) -> Result<String> {
    page.render()
        .map_err(|e| Error::invalid(format!("the report cannot be written: {e}")))
}

/// Returns the rows whose pictures a run's report shows so far, and the one whose key stages it shows.
pub(crate) fn shown(folder: &RunFolder) -> Result<(Vec<Row>, Option<Row>)> {
    let rows = folder.rows()?;
    let (chosen, staged) = page::chosen(folder.run(), &rows);
    Ok((chosen.into_iter().cloned().collect(), staged.cloned()))
}

#[cfg(test)]
mod tests;
