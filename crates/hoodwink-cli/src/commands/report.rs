//! `hoodwink report`: rewrites the report of a run folder, or compares several runs.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Parser;
use hoodwink::{
    counted, legible, report,
    results::{RunFolder, Summary, columns},
};
use serde::Serialize;

use super::{Format, print_json, print_summary};
use crate::{
    Status,
    args::{ConfigArgs, text},
    open, terminal,
};

/// Rewrite the report of a run folder and print its results, or compare several runs on the same pictures.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink report runs/pgd --open
  hoodwink report runs/pgd --format json
  hoodwink report runs/standard runs/robust --names 'standard training,adversarial training' --out comparison.html
  hoodwink report runs/pgd --export figures

--format json prints one object: for one run, the object that `hoodwink attack --format json` prints; for several runs:
  report  the file of the comparison
  runs    that object for each run, with its name")]
pub(crate) struct Args {
    /// Run folders written by `hoodwink attack`
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Names of the runs in a comparison, separated by commas [default: the folder names]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', alias = "name")]
    names: Vec<String>,
    /// Also write the charts to this folder as SVG and PNG; for a single run, also its panels
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// File for the comparison of several runs [default: comparison.html]
    #[arg(short, long, value_name = "FILE", alias = "output")]
    out: Option<PathBuf>,
    /// Open the page when it is ready
    #[arg(long)]
    open: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--format json` prints for several runs.
#[derive(Serialize)]
struct Comparison {
    report: String,
    runs: Vec<Compared>,
}

/// One of the runs.
#[derive(Serialize)]
struct Compared {
    name: String,
    #[serde(flatten)]
    summary: Summary,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let page = match args.runs.as_slice() {
        [run] => {
            if args.out.is_some() || !args.names.is_empty() {
                bail!(
                    "--out and --names need several runs to compare; leave them out (the report of a single run is written to its folder)"
                );
            }
            let folder = RunFolder::open(run)?;
            let page = report::write(&folder)?;
            if let Some(export) = &args.export {
                report::export(&folder, export)?;
            }
            print_summary(&summary(&folder)?, &page, args.format)?;
            page
        }
        runs => {
            let page = args.out.clone();
            let page = page.unwrap_or_else(|| "comparison.html".into());
            let runs = names(runs, &args.names)?
                .into_iter()
                .zip(runs)
                .map(|(name, run)| Ok((name, RunFolder::open(run)?)))
                .collect::<Result<Vec<_>>>()?;
            report::compare(&runs, &page)?;
            if let Some(export) = &args.export {
                report::export_comparison(&runs, export)?;
            }
            print(&runs, text(&page), args.format)?;
            page
        }
    };
    if args.open {
        open::open(&page);
    }
    Ok(Status::Done)
}

/// Returns the names of the runs: those given, or the folder names.
fn names(runs: &[PathBuf], said: &[String]) -> Result<Vec<String>> {
    let names: Vec<String> = match said {
        [] => runs.iter().map(|run| name(run)).collect(),
        said if said.len() == runs.len() => {
            said.iter().map(|name| name.trim().to_owned()).collect()
        }
        said => bail!(
            "--names has {} for {}: {}",
            counted(said.len(), "name", "names"),
            counted(runs.len(), "run", "runs"),
            said.join(", ")
        ),
    };
    // If two folders have the same name, use the full paths.
    let is_alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    if said.is_empty() && !names.iter().all(is_alone) {
        return Ok(runs.iter().map(|run| text(run)).collect());
    }
    Ok(names)
}

fn summary(folder: &RunFolder) -> Result<Summary> {
    let timing = folder.timing()?;
    Ok(Summary::of(folder.run(), &folder.rows()?, timing.as_ref()))
}

/// Prints the results of several runs.
fn print(runs: &[(String, RunFolder)], report: String, format: Format) -> Result<()> {
    let runs = runs.iter().map(|(name, folder)| {
        Ok(Compared {
            name: name.clone(),
            summary: summary(folder)?,
        })
    });
    let comparison = Comparison {
        report,
        runs: runs.collect::<Result<_>>()?,
    };
    if format == Format::Json {
        return print_json(&comparison);
    }
    let mut out = terminal::out();
    let named = comparison.runs.into_iter();
    let named: Vec<(String, Summary)> = named.map(|run| (run.name, run.summary)).collect();
    writeln!(out, "{}", columns(&named))?;
    writeln!(out, "report: {}", legible::line(&comparison.report))?;
    Ok(())
}

/// Returns the name of a run's folder.
fn name(run: &Path) -> String {
    match run.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => text(run),
    }
}
