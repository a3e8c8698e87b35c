//! `hoodwink report`: the report of a run folder, anew; or several runs compared.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Parser;
use hoodwink::{
    report,
    results::{RunFolder, Summary},
};

use super::{Format, print_summary};
use crate::{Status, args::text};

/// Write the report of a run folder anew, or compare several runs on the same pictures.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink report runs/pgd
  hoodwink report runs/pgd --format json
  hoodwink report runs/standard runs/robust -o runs/comparison.html")]
pub(crate) struct Args {
    /// Folders that `hoodwink attack` wrote
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write the comparison of several runs [default: comparison.html]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the figures of one run, as `hoodwink attack` does, instead of the path of its report
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let path = match args.runs.as_slice() {
        [run] if args.output.is_none() => {
            let folder = RunFolder::open(run)?;
            let path = report::write(&folder)?;
            if let Some(format) = args.format {
                let summary = Summary::of(folder.run(), &folder.rows()?, folder.timing()?.as_ref());
                print_summary(&summary, &path, format)?;
                return Ok(Status::Done);
            }
            path
        }
        [_] => bail!(
            "--output is for the comparison of several runs; one run's report lies in its folder"
        ),
        _ if args.format.is_some() => bail!("--format is for the figures of one run"),
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
            path
        }
    };
    writeln!(std::io::stdout(), "{}", text(&path))?;
    Ok(Status::Done)
}

/// What a run is called in a comparison: the name of its folder.
fn name(run: &Path) -> String {
    run.file_name()
        .map_or_else(|| text(run), |name| name.to_string_lossy().into_owned())
}
