//! The `hoodwink` command.

mod args;
mod command_line;
mod commands;
mod interrupt;
mod missing;
mod progress;
mod settings;
mod shown;

#[cfg(unix)]
use std::sync::atomic::AtomicBool;
use std::{io::Write as _, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use command_line::Typed;

/// Finds what fools a trained vision model, measures how much, and shows why.
///
/// Bring a model as an ONNX file and a folder of pictures. Nothing is sent anywhere.
#[derive(Parser)]
#[command(name = "hoodwink", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// The arguments of each describe it.
#[derive(Subcommand)]
enum Command {
    Attack(Box<commands::attack::Args>),
    Completions(commands::shell::CompletionsArgs),
    Data(commands::data::Args),
    Demo(commands::demo::Args),
    Grad(commands::grad::Args),
    Inspect(Box<commands::inspect::Args>),
    Man(commands::shell::ManArgs),
    Merge(commands::merge::Args),
    Predict(Box<commands::predict::Args>),
    Report(commands::report::Args),
    Rerun(commands::rerun::Args),
    Train(Box<commands::train::Args>),
}

/// How a command ended: 0 done, 1 a gate failed, 2 an error.
pub(crate) enum Status {
    /// It did what was asked.
    Done,
    /// What was asked about is not as it should be.
    GateFailed,
    /// It was interrupted and can be taken up again.
    Interrupted,
}

fn main() -> ExitCode {
    #[cfg(unix)]
    fail_beyond_the_largest_file();
    match run() {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::GateFailed) => ExitCode::FAILURE,
        Ok(Status::Interrupted) => ExitCode::from(2),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = missing::hint(&error);
            progress::complain(&format!("error: {}{hint}", sentence(&error)));
            ExitCode::from(2)
        }
    }
}

/// Makes a file that reaches the limit on its size an error like that of a full disk; else it is a signal that ends the process.
#[cfg(unix)]
fn fail_beyond_the_largest_file() {
    static REACHED: AtomicBool = AtomicBool::new(false);
    // Without it the process ends as ever.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, &REACHED);
}

fn run() -> anyhow::Result<Status> {
    let command = Cli::command();
    let line = command_line::with_config(&command, std::env::args_os().collect())?;
    let matches = command.clone().get_matches_from(line);
    if let Some((name, typed)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
        && settings::are_asked_for(name, typed)
    {
        let settings = settings::of(command, name, typed)?;
        write!(std::io::stdout(), "{}", toml::to_string(&settings)?)?;
        return Ok(Status::Done);
    }
    let typed = matches.subcommand().and_then(|(name, typed)| {
        let command = command.find_subcommand(name)?;
        Some(Typed::of(command, name, typed))
    });
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Attack(args) => commands::attack::run(&args, &typed.unwrap_or_default()),
        Command::Completions(args) => commands::shell::completions(&args, command),
        Command::Data(args) => commands::data::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Grad(args) => commands::grad::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Man(args) => commands::shell::man(&args, command),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Rerun(args) => commands::rerun::run(&args),
        Command::Train(args) => commands::train::run(&args),
    }
}

/// The error with its causes, outermost first. Libraries disagree on whether an error tells its cause: what was said
/// already is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() || cause.starts_with(&said) {
            said = cause;
        } else if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let io = || std::io::Error::other("no such file");
        let of_library = || hoodwink::Error::io("a.onnx")(io());
        for (error, said) in [
            (anyhow!("plain"), "plain"),
            (of_library().into(), "a.onnx: no such file"),
            (
                Err::<(), _>(of_library()).context("a.onnx").unwrap_err(),
                "a.onnx: no such file",
            ),
            (
                Err::<(), _>(io()).context("b.toml").unwrap_err(),
                "b.toml: no such file",
            ),
        ] {
            assert_eq!(sentence(&error), said);
        }
    }
}
