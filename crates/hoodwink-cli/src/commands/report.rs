//! `hoodwink report`: the report of a run folder, anew; or several runs compared.

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

/// Write the report of a run folder anew and print its figures, or compare several runs on the same pictures.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink report runs/pgd --open
  hoodwink report runs/pgd --format json
  hoodwink report runs/standard runs/robust --names 'standard training,adversarial training' --out comparison.html
  hoodwink report runs/pgd --export figures

With --format json one object is printed: of one run what `hoodwink attack --format json` prints, of several
  report  the file of the comparison
  runs    the same of each, with its name")]
pub(crate) struct Args {
    /// Folders that `hoodwink attack` wrote
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What the columns of a comparison are called, with commas, one name for each run [default: the names of the folders]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', alias = "name")]
    names: Vec<String>,
    /// Write the charts, and of one run its panels, into this folder as well, as SVG and PNG
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Where to write the comparison of several runs [default: comparison.html]
    #[arg(short, long, value_name = "FILE", alias = "output")]
    out: Option<PathBuf>,
    /// Open the page when it is written
    #[arg(long)]
    open: bool,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--format json` prints of several runs.
#[derive(Serialize)]
struct Comparison {
    report: String,
    runs: Vec<Compared>,
}

/// One of them.
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
                    "--out and --names are for the comparison of several runs; one run's report lies in its folder"
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

/// What the runs are called: as was said, or by their folders.
fn names(runs: &[PathBuf], said: &[String]) -> Result<Vec<String>> {
    let names: Vec<String> = match said {
        [] => runs.iter().map(|run| name(run)).collect(),
        said if said.len() == runs.len() => {
            said.iter().map(|name| name.trim().to_owned()).collect()
        }
        said => bail!(
            "--names has {}, and there are {}: {}",
            counted(said.len(), "name", "names"),
            counted(runs.len(), "run", "runs"),
            said.join(", ")
        ),
    };
    // Runs of the same name in other folders are told apart by these.
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

/// The figures of several runs on stdout.
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
