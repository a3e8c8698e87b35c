//! `hoodwink merge`: merges the partitions of a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hoodwink::{
    report,
    results::{RunFolder, Summary, merge},
};

use super::{Format, print_summary};
use crate::{Status, args::ConfigArgs, progress::Progress};

/// Merge the partitions of a run into one run folder, as if it had been a single run.
///
/// Pass all folders written by `hoodwink attack --partition`, in any order. They are not changed.
#[derive(Parser)]
#[command(after_help = "Examples:
  for k in 1 2 3; do
    hoodwink attack cifar.onnx x.npy --labels y.npy --eps 8/255 --partition $k/3 --out runs/$k
  done
  hoodwink merge runs/1 runs/2 runs/3 --out runs/all

  In a Slurm job array (--array=1-8):
    hoodwink attack --config experiment.toml --partition $SLURM_ARRAY_TASK_ID/8 --out runs/$SLURM_ARRAY_TASK_ID")]
pub(crate) struct Args {
    /// Run folders written by `hoodwink attack --partition`
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Run folder for the merged run
    #[arg(short, long, value_name = "RUN", alias = "output")]
    out: PathBuf,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Do not show progress on stderr
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let shards = args.runs.iter().map(RunFolder::open);
    let shards = shards.collect::<hoodwink::Result<Vec<_>>>()?;
    let mut progress = Progress::new("merging", args.quiet);
    let folder = merge(&shards, &args.out, |done, all| progress.show(done, all, ""));
    progress.finish();
    let folder = folder?;
    let report = report::write(&folder)?;
    let summary = Summary::of(folder.run(), &folder.rows()?, folder.timing()?.as_ref());
    print_summary(&summary, &report, args.format)?;
    Ok(Status::Done)
}
