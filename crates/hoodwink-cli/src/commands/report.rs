//! `hoodwink report`: the report of a run folder, anew.

use std::{io::Write as _, path::PathBuf};

use anyhow::Result;
use clap::Parser;
use hoodwink::{report, results::RunFolder};

use crate::{Status, args::text};

/// Write the report of a run folder anew.
#[derive(Parser)]
#[command(after_help = "Example:\n  hoodwink report runs/pgd")]
pub(crate) struct Args {
    /// A folder that `hoodwink attack` wrote
    run: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let path = report::write(&RunFolder::open(&args.run)?)?;
    writeln!(std::io::stdout(), "{}", text(&path))?;
    Ok(Status::Done)
}
