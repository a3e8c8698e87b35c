//! `hoodwink report`: the report of a run folder, anew; or several runs compared.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Parser;
use hoodwink::{
    legible, report,
    results::{RunFolder, Summary, text::plain},
};
use serde::Serialize;

use super::{Format, print_json, print_summary};
use crate::{
    Status,
    args::{ConfigArgs, text},
    terminal,
};

/// Write the report of a run folder anew, or compare several runs on the same pictures.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink report runs/pgd
  hoodwink report runs/pgd --format json
  hoodwink report runs/standard runs/robust -o runs/comparison.html

With --format json one object is printed: of one run what `hoodwink attack --format json` prints, of several
  report  the file of the comparison
  runs    the same of each, with its name")]
pub(crate) struct Args {
    /// Folders that `hoodwink attack` wrote
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write the comparison of several runs [default: comparison.html]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the figures of each run, as `hoodwink attack` does, instead of the path of the report
    #[arg(long, value_enum)]
    format: Option<Format>,
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
    let path = match args.runs.as_slice() {
        [run] if args.output.is_none() => {
            let folder = RunFolder::open(run)?;
            let path = report::write(&folder)?;
            if let Some(format) = args.format {
                print_summary(&summary(&folder)?, &path, format)?;
                return Ok(Status::Done);
            }
            path
        }
        [_] => bail!(
            "--output is for the comparison of several runs; one run's report lies in its folder"
        ),
        runs => {
            let path = args
                .output
                .clone()
                .unwrap_or_else(|| "comparison.html".into());
            let runs = runs
                .iter()
                .map(|run| Ok((name(run), RunFolder::open(run)?)))
                .collect::<Result<Vec<_>>>()?;
            report::compare(&runs, &path)?;
            if let Some(format) = args.format {
                print(&runs, text(&path), format)?;
                return Ok(Status::Done);
            }
            path
        }
    };
    writeln!(terminal::out(), "{}", legible::line(&text(&path)))?;
    Ok(Status::Done)
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
    for run in &comparison.runs {
        writeln!(out, "{}", legible::name(&run.name))?;
        writeln!(out, "{}", plain(&run.summary))?;
    }
    writeln!(out, "report: {}", legible::line(&comparison.report))?;
    Ok(())
}

/// What a run is called in a comparison: the name of its folder.
fn name(run: &Path) -> String {
    run.file_name()
        .map_or_else(|| text(run), |name| name.to_string_lossy().into_owned())
}
