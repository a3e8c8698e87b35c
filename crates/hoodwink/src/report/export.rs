//! Writes the charts and panels of a report as files, for papers and slides.

use std::fs;
use std::path::{Path, PathBuf};

use super::chart::{Chart, Curves};
use super::compare;
use super::figure::{Anchor, Figure, INK, RIGHT, SOFT, WRONG};
use super::gallery::{self, Example, Stories, Term};
use super::page;
use crate::error::{Error, Result};
use crate::files;
use crate::results::RunFolder;

/// PNG pixels per pixel of a figure.
const SCALE: f32 = 2.0;

/// Writes the charts of a run's report, and a panel for each of its examples, into a folder, each as SVG and as PNG.
/// Returns their paths.
///
/// The curve is named `accuracy` or `distance`, the losses `loss-1` and so on in the order of the attacks, and the
/// panels `panel-000012` with the sample's number. Existing files with these names are replaced.
pub fn export(folder: &RunFolder, into: &Path) -> Result<Vec<PathBuf>> {
    let run = folder.run();
    let rows = folder.rows()?;
    let charts = page::charts(run, &rows);
    let mut files = Files::new(into)?;
    files.curves(&charts.curves)?;
    for (n, chart) in charts.losses.iter().enumerate() {
        files.write(&format!("loss-{}", n + 1), &chart.figure())?;
    }
    let (chosen, _) = page::chosen(run, &rows);
    let stories = Stories::of(&rows);
    let noise = folder.noise()?.unwrap_or_default();
    for row in chosen {
        if let Some(example) = gallery::example(folder, &stories, row, &noise)? {
            files.write(&format!("panel-{:06}", example.index), &panel(&example))?;
        }
    }
    Ok(files.written)
}

/// Writes the curves of a comparison into a folder, as SVG and as PNG, and returns their paths; see [`super::compare`].
pub fn export_comparison(runs: &[(String, RunFolder)], into: &Path) -> Result<Vec<PathBuf>> {
    let curves = compare::curves(runs)?;
    let mut files = Files::new(into)?;
    files.curves(&curves)?;
    Ok(files.written)
}

/// Files written into one folder.
struct Files<'a> {
    into: &'a Path,
    written: Vec<PathBuf>,
}

impl<'a> Files<'a> {
    fn new(into: &'a Path) -> Result<Self> {
        fs::create_dir_all(into).map_err(Error::io(into))?;
        Ok(Self {
            into,
            written: Vec::new(),
        })
    }

    fn curves(&mut self, curves: &Curves) -> Result<()> {
        match curves.legend.is_empty() {
            true => Ok(()),
            false => self.write(curves.chart.name(), &curves.figure()),
        }
    }

    fn write(&mut self, name: &str, figure: &Figure) -> Result<()> {
        for (ending, bytes) in [
            ("svg", figure.svg().into_bytes()),
            ("png", figure.png(SCALE)?),
        ] {
            let path = self.into.join(format!("{name}.{ending}"));
            files::write(&path, &bytes)?;
            self.written.push(path);
        }
        Ok(())
    }
}

/// Height and width of the largest picture in a panel.
const SIDE: f64 = 180.0;
/// Margin around everything.
const MARGIN: f64 = 16.0;
/// Width of the column of an operator.
const OPERATOR: f64 = 76.0;

/// *Original + size × perturbation = adversarial picture*, with the model's answer to each.
fn panel(example: &Example) -> Figure {
    let pixels = &example.original.exact;
    let longer = pixels.height().max(pixels.width()) as f64;
    let (width, height) = (
        SIDE * pixels.width() as f64 / longer,
        SIDE * pixels.height() as f64 / longer,
    );
    // A narrow picture also has text below it.
    let column = width.max(110.0);
    let terms = [&example.original, &example.noise, &example.adversarial];
    let whole = 2.0 * MARGIN + 3.0 * column + 2.0 * OPERATOR;
    let mut figure = Figure::new(whole, MARGIN + height + 78.0);
    let middle = MARGIN + height / 2.0;
    let mut left = MARGIN;
    for (at, term) in terms.into_iter().enumerate() {
        draw(&mut figure, term, (left, column), (width, height));
        left += column;
        let centre = left + OPERATOR / 2.0;
        match at {
            0 => {
                figure.text((centre, middle - 4.0), Anchor::Middle, 24.0, SOFT, "+");
                let factor = format!("{} ×", example.size);
                figure.text((centre, middle + 16.0), Anchor::Middle, 12.0, SOFT, factor);
            }
            1 => figure.text((centre, middle + 6.0), Anchor::Middle, 24.0, SOFT, "="),
            _ => {}
        }
        left += OPERATOR;
    }
    let at = example.eps.as_ref();
    let said = format!(
        "Sample {}, {}; {}{}; L∞ {}, L2 {}",
        example.index,
        example.truth,
        example.attack,
        at.map_or(String::new(), |eps| format!(" at eps {eps}")),
        example.norms[0].1,
        example.norms[1].1
    );
    let bottom = MARGIN + height + 62.0;
    let room = whole - 2.0 * MARGIN;
    figure.fitted((MARGIN, bottom), Anchor::Start, 11.0, SOFT, (&said, room));
    figure
}

/// Draws a picture with the answer below it, in a column that begins at `left`.
fn draw(figure: &mut Figure, term: &Term, (left, column): (f64, f64), size: (f64, f64)) {
    let aside = (column - size.0) / 2.0;
    figure.picture((left + aside, MARGIN), size, &term.exact);
    let colour = match term.colour {
        "right" => RIGHT,
        "wrong" => WRONG,
        _ => INK,
    };
    let (centre, below) = (left + column / 2.0, MARGIN + size.1);
    let label = (&*term.label, column);
    figure.fitted((centre, below + 20.0), Anchor::Middle, 14.0, colour, label);
    let confidence = (&*term.confidence, column);
    figure.fitted(
        (centre, below + 37.0),
        Anchor::Middle,
        11.0,
        SOFT,
        confidence,
    );
}

impl Chart {
    /// The chart as it is exported, without a legend.
    fn figure(&self) -> Figure {
        self.figure_with(&[])
    }
}

impl Curves {
    /// The chart with its legend below.
    fn figure(&self) -> Figure {
        self.chart.figure_with(&self.legend)
    }
}
