//! `hoodwink rerun`: repeats a run from its `run.toml` and compares the results.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{CommandFactory as _, Parser};
use hoodwink::{
    Error, legible, report,
    results::{RunFolder, repeats},
    run::Ended,
};
use serde::Serialize;

use super::{
    Format,
    attack::{self, Plan},
    print_json,
};
use crate::{
    Status,
    args::{ConfigArgs, CrewArgs, text},
    command_line,
    terminal::{self, complain},
};

/// Repeat a run from its run.toml and check that the results are the same.
///
/// The model and the pictures must match byte for byte, and the engine must have the same version. Differences are
/// listed first. After the run, every row and picture is compared. The exit status is 1 if any differ.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink rerun runs/pgd --out runs/again

  Use a model and pictures that have moved:
    hoodwink rerun runs/pgd --out runs/again --model /data/cifar.onnx --data /data/x.npy --labels /data/y.npy

--format json prints one object: run, again, rows, and differences (one sentence per row that differs).")]
pub(crate) struct Args {
    /// The run folder to repeat
    run: PathBuf,
    /// Run folder for the new run
    #[arg(short, long, value_name = "RUN", alias = "output")]
    out: PathBuf,
    /// The model, if it has moved
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The pictures, if they have moved
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// The labels, if they have moved
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Run even if settings, files or versions differ
    #[arg(long)]
    anyway: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    crew: CrewArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Compared {
    run: String,
    again: String,
    rows: usize,
    differences: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let before = RunFolder::open(&args.run)?;
    let (again, typed) = attack::Args::parse_words(words(args, &before)?)
        .with_context(|| format!("{}: run.toml", text(&args.run)))?;
    let plan = Plan::new(&again, &typed)?;
    let mut record = plan.record().clone();
    // Paths do not matter: the digests are compared.
    record.model.path.clone_from(&before.run().model.path);
    record.data.path.clone_from(&before.run().data.path);
    let differences = record.differences_from(before.run())?;
    if !differences.is_empty() {
        match args.anyway {
            true => {
                let note = Error::several("note: this run differs from the original", differences);
                terminal::complain_lines(&note.to_string());
            }
            false => {
                let said = format!(
                    "{} cannot be repeated exactly (use --anyway to run it with these differences)",
                    text(&args.run)
                );
                return Err(Error::several(said, differences).into());
            }
        }
    }
    let (folder, ended) = plan.run(&again, again.limits())?;
    report::write(&folder)?;
    if ended != Ended::Complete {
        complain("stopped; repeat the command to resume");
        return Ok(Status::Interrupted);
    }
    let repetition = repeats(&before, &folder)?;
    if args.format == Format::Json {
        let same = repetition.differences.is_empty();
        print_json(&Compared {
            run: text(&args.run),
            again: text(&args.out),
            rows: repetition.rows,
            differences: repetition.differences,
        })?;
        return Ok(match same {
            true => Status::Done,
            false => Status::GateFailed,
        });
    }
    let mut out = terminal::out();
    if repetition.differences.is_empty() {
        let rows = repetition.rows;
        writeln!(
            out,
            "{} the same as in {}",
            match rows {
                1 => "the only row and its pictures are".to_owned(),
                _ => format!("all {rows} rows and their pictures are"),
            },
            legible::line(&text(&args.run))
        )?;
        return Ok(Status::Done);
    }
    writeln!(
        out,
        "{} of {} rows differ from those in {}:",
        repetition.differences.len(),
        repetition.rows,
        legible::line(&text(&args.run))
    )?;
    for difference in repetition.differences.iter().take(10) {
        writeln!(out, "  {}", legible::line(difference))?;
    }
    Ok(Status::GateFailed)
}

/// Returns the command line of the run, with the changes given now.
fn words(args: &Args, before: &RunFolder) -> Result<Vec<String>> {
    let command = attack::Args::command();
    // The old run must not choose the output folder or resources of the new one.
    let mut options = command_line::with_effect(&command, &before.run().options);
    if options.is_empty() {
        bail!(
            "{}/run.toml does not contain the options of the run; repeat the command in its command.txt instead",
            text(&args.run)
        );
    }
    if args.model.is_none() {
        command_line::refuse_remote(&options, "name it with --model")
            .with_context(|| format!("{}/run.toml", text(&args.run)))?;
    }
    for (name, path) in [
        ("model", &args.model),
        ("data", &args.data),
        ("labels", &args.labels),
    ] {
        if let Some(path) = path {
            options.insert(name.to_owned(), text(path).into());
        }
    }
    if !args.crew.quiet {
        let named = |name| Some((name, options.get(name)?.as_str()?));
        let read: Vec<String> = ["model", "data", "labels", "class-names"]
            .into_iter()
            .filter_map(named)
            .map(|(name, path)| format!("{name} {}", legible::name(path)))
            .collect();
        complain(&format!("repeating the run with {}", read.join(", ")));
    }
    let arguments = command_line::arguments(&command, &options)
        .with_context(|| format!("{}/run.toml", text(&args.run)))?;
    let mut words = vec!["attack".to_owned(), format!("--out={}", text(&args.out))];
    words.extend(
        before
            .run()
            .partition
            .map(|part| format!("--partition={part}")),
    );
    words.extend(args.crew.words());
    words.extend(arguments.options);
    words.push("--".to_owned());
    words.extend(arguments.positional);
    Ok(words)
}
