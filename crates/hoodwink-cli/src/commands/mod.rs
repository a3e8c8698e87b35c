//! One file per sub-command, one function each.

pub(crate) mod attack;
pub(crate) mod attacks;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod grad;
pub(crate) mod inspect;
pub(crate) mod merge;
pub(crate) mod natural;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod rerun;
pub(crate) mod shell;
pub(crate) mod train;

use std::{io::Write as _, path::Path};

use anyhow::Result;
use clap::ValueEnum;
use hoodwink::{
    counted, legible,
    lint::Finding,
    results::{Summary, text::plain},
    stats::Interval,
};
use serde::Serialize;

use crate::{
    args::text,
    command_line::quoted,
    terminal::{self, complain},
};

/// How results are printed on stdout.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[value(alias = "text")]
    Table,
    /// One object
    Json,
}

/// One object on one line of stdout.
fn print_json(object: &impl Serialize) -> Result<()> {
    let mut out = terminal::out();
    serde_json::to_writer(&mut out, object)?;
    writeln!(out)?;
    Ok(())
}

/// The figures of a run on stdout.
fn print_summary(summary: &Summary, report: &Path, format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(summary)?,
        Format::Table => {
            let mut out = terminal::out();
            write!(out, "{}", plain(summary))?;
            writeln!(out, "{}", where_it_is(report))?;
        }
    }
    Ok(())
}

/// Where a page is, and what opens it.
fn where_it_is(report: &Path) -> String {
    let path = text(report);
    let run = report.parent().filter(|_| report.ends_with("report.html"));
    let opens = match run.filter(|run| *run != Path::new("")) {
        Some(run) => format!("hoodwink report {} --open", quoted(&text(run))),
        None => return format!("report: {}", legible::line(&path)),
    };
    legible::line(&format!("report: {path} (to open it: {opens})"))
}

/// A finding as a warning.
pub(crate) fn warning(finding: &Finding) -> String {
    let Finding {
        saw,
        matters,
        remedy,
        ..
    } = finding;
    format!("warning: {saw}; {matters}. Try: {remedy}")
}

/// Says so if an accuracy may be that of guessing: then most often the preprocessing is not what the model was trained
/// with, or the labels are not the model's.
pub(crate) fn warn_of_guessing(accuracy: &Interval, classes: usize) {
    let guessing = 1.0 / classes as f64;
    if accuracy.n > 0 && accuracy.low <= guessing {
        complain(&format!(
            "note: {} right of {} is hardly more than guessing among {classes} classes; does the model want \
             another --mean, --std, --input-range or --channels, and are the labels its own (the label of a class folder \
             is its position in sorted order)?",
            accuracy.percent(),
            counted(accuracy.n as usize, "picture", "pictures")
        ));
    }
}
