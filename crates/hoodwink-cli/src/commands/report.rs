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
  hoodwink report plain=runs/standard 'trained robustly=runs/robust'
  hoodwink report runs/pgd --export figures

With --format json one object is printed: of one run what `hoodwink attack --format json` prints, of several
  report  the file of the comparison
  runs    the same of each, with its name")]
pub(crate) struct Args {
    /// Folders that `hoodwink attack` wrote; in a comparison NAME=RUN gives one a name
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write the charts, and of one run its panels, into this folder as well, as SVG and PNG
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
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
            let folder = RunFolder::open(named(run).1)?;
            let path = report::write(&folder)?;
            if let Some(export) = &args.export {
                report::export(&folder, export)?;
            }
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
                .map(|run| {
                    let (name, folder) = named(run);
                    Ok((name, RunFolder::open(folder)?))
                })
                .collect::<Result<Vec<_>>>()?;
            report::compare(&runs, &path)?;
            if let Some(export) = &args.export {
                report::export_comparison(&runs, export)?;
            }
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

/// What a run is called in a comparison, and where it lies: `NAME=RUN`, or the name of its folder. A folder whose own name has
/// such a sign is taken as it is.
fn named(run: &Path) -> (String, PathBuf) {
    if let Some((name, folder)) = run.to_str().and_then(|text| text.split_once('='))
        && !name.trim().is_empty()
        && !folder.is_empty()
        && !run.is_dir()
    {
        return (name.trim().to_owned(), folder.into());
    }
    let name = match run.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => text(run),
    };
    (name, run.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_called_by_its_name_or_its_folder() {
        for (typed, name, folder) in [
            ("runs/pgd", "pgd", "runs/pgd"),
            ("plain=runs/pgd", "plain", "runs/pgd"),
            ("eps = 8 = runs/x", "eps", " 8 = runs/x"),
            ("=runs/pgd", "pgd", "=runs/pgd"),
        ] {
            let found = named(Path::new(typed));
            assert_eq!(found, (name.to_owned(), folder.into()), "{typed}");
        }
    }
}
