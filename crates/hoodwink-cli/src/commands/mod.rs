//! One file per sub-command.

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
    lint::{Finding, may_be_guessing},
    results::{Summary, text::plain},
    stats::Interval,
};
use serde::Serialize;

use crate::{
    args::text,
    command_line::quoted,
    terminal::{self, complain},
};

/// Output formats for stdout.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Readable text
    #[value(alias = "text")]
    Table,
    /// One JSON object
    Json,
}

/// Prints an object as one line of JSON.
fn print_json(object: &impl Serialize) -> Result<()> {
    let mut out = terminal::out();
    serde_json::to_writer(&mut out, object)?;
    writeln!(out)?;
    Ok(())
}

/// Prints the results of a run.
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

/// Formats the path of a page and the command that opens it.
fn where_it_is(report: &Path) -> String {
    let path = text(report);
    let run = report.parent().filter(|_| report.ends_with("report.html"));
    let opens = match run.filter(|run| *run != Path::new("")) {
        Some(run) => format!("hoodwink report {} --open", quoted(&text(run))),
        None => return format!("report: {}", legible::line(&path)),
    };
    legible::line(&format!("report: {path} (to open it: {opens})"))
}

/// Formats a finding as a warning.
pub(crate) fn warning(finding: &Finding) -> String {
    let Finding { saw, matters, .. } = finding;
    format!("warning: {saw}; {matters}. Try: {}", remedy(finding))
}

/// Returns the remedy of a finding, with preprocessing as flags.
pub(crate) fn remedy(finding: &Finding) -> String {
    let Some(preprocessing) = &finding.preprocessing else {
        return finding.remedy.clone();
    };
    let list = |values: &[f32]| {
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        values.join(",")
    };
    let mut flags = Vec::new();
    for (flag, values) in [
        ("--mean", &preprocessing.mean),
        ("--std", &preprocessing.std),
    ] {
        if !values.is_empty() {
            flags.push(format!("{flag} {}", list(values)));
        }
    }
    flags.push(format!("--input-range={}", word(preprocessing.input_range)));
    flags.push(format!("--channels {}", word(preprocessing.channels)));
    flags.join(" ")
}

/// Returns a one-word setting as written in a settings file.
fn word(setting: impl Serialize) -> String {
    let value = toml::Value::try_from(setting).ok();
    let word = value.as_ref().and_then(toml::Value::as_str);
    word.unwrap_or_default().to_owned()
}

/// Warns if an accuracy may be chance level. The usual causes are wrong preprocessing and labels of another numbering.
pub(crate) fn warn_of_guessing(accuracy: &Interval, classes: usize) {
    if may_be_guessing(accuracy, classes) {
        complain(&format!(
            "note: {} correct on {} is not clearly better than guessing among {classes} classes; check --mean, --std, --input-range and \
             --channels, and check that the labels use the model's numbering (the label of a class folder is its position in \
             sorted order)",
            accuracy.percent(),
            counted(accuracy.n as usize, "picture", "pictures")
        ));
    }
}
