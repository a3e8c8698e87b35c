//! `hoodwink rerun`: repeats a run from its `run.toml` alone, and says whether it came out the same.

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

/// Repeat a run from its run.toml alone, and say whether it came out the same.
///
/// Model and pictures must be the same to the byte, and so must be the engine and its version: whatever differs is told
/// before anything runs. Then every row and picture is compared. A difference is exit status 1.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink rerun runs/pgd --out runs/again

  Model and pictures lie elsewhere now:
    hoodwink rerun runs/pgd --out runs/again --model /data/cifar.onnx --data /data/x.npy --labels /data/y.npy

With --format json one object is printed: run, again, rows, differences (a sentence for each row that differs).")]
pub(crate) struct Args {
    /// The folder of the run to repeat
    run: PathBuf,
    /// Folder of the new run
    #[arg(short, long, value_name = "RUN", alias = "output")]
    out: PathBuf,
    /// Where the model lies, if not where it lay
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Where the pictures lie, if not where they lay
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Where the labels lie, if not where they lay
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Run although settings, files or versions differ
    #[arg(long)]
    anyway: bool,
    /// How to print the result
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
    // Where things lie decides nothing: their digests are compared.
    record.model.path.clone_from(&before.run().model.path);
    record.data.path.clone_from(&before.run().data.path);
    let differences = record.differences_from(before.run())?;
    if !differences.is_empty() {
        match args.anyway {
            true => {
                let note = Error::several("note: this is another run", differences);
                terminal::complain_lines(&note.to_string());
            }
            false => {
                let said = format!(
                    "{} cannot be repeated as it was (--anyway runs it as it is now)",
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

/// The words of the command that gave the run, with what is said otherwise now.
fn words(args: &Args, before: &RunFolder) -> Result<Vec<String>> {
    let command = attack::Args::command();
    // Where the new run goes and how much it takes is not for the old one to say.
    let mut options = command_line::with_effect(&command, &before.run().options);
    if options.is_empty() {
        bail!(
            "{}/run.toml does not hold the options of the run; its command.txt holds the command",
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
        complain(&format!("repeating it with {}", read.join(", ")));
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
