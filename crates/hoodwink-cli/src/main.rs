//! The `hoodwink` command.

mod args;
mod command_line;
mod commands;
mod interrupt;
mod missing;
mod open;
mod preview;
mod progress;
mod settings;
mod shown;
mod subject;
mod terminal;

#[cfg(unix)]
use std::sync::atomic::AtomicBool;
use std::{io::Write as _, process::ExitCode};

use anyhow::bail;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use command_line::Typed;
use hoodwink::legible;

/// Finds what fools a trained vision model, measures how much, and shows why.
///
/// Takes a model as an ONNX file and a folder of pictures. Nothing leaves this machine unless you name a remote model.
#[derive(Parser)]
#[command(name = "hoodwink", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Each variant is described by the doc comment on its arguments.
#[derive(Subcommand)]
enum Command {
    Attack(Box<commands::attack::Args>),
    Attacks(commands::attacks::Args),
    Completions(commands::shell::CompletionsArgs),
    Data(commands::data::Args),
    Demo(commands::demo::Args),
    Grad(commands::grad::Args),
    Inspect(Box<commands::inspect::Args>),
    Man(commands::shell::ManArgs),
    Merge(commands::merge::Args),
    Natural(Box<commands::natural::Args>),
    Predict(Box<commands::predict::Args>),
    Report(commands::report::Args),
    Rerun(commands::rerun::Args),
    Train(Box<commands::train::Args>),
}

/// How a command ended. Exit status: 0 for success, 1 for a failed check, 2 for an error.
pub(crate) enum Status {
    /// The command succeeded.
    Done,
    /// A check failed.
    GateFailed,
    /// The command was interrupted and can be resumed.
    Interrupted,
    /// The command line was invalid. The message has already been printed.
    Refused,
}

fn main() -> ExitCode {
    #[cfg(unix)]
    fail_beyond_the_largest_file();
    terminal::tell_panics();
    match run() {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::GateFailed) => ExitCode::FAILURE,
        Ok(Status::Interrupted | Status::Refused) => ExitCode::from(2),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = missing::hint(&error);
            let hint = legible::line(&hint);
            terminal::complain_lines(&format!("error: {}{hint}", sentence(&error)));
            ExitCode::from(2)
        }
    }
}

/// Turns hitting the file size limit into an ordinary write error. By default, the signal ends the process.
#[cfg(unix)]
fn fail_beyond_the_largest_file() {
    static REACHED: AtomicBool = AtomicBool::new(false);
    // If this fails, the signal keeps its default effect.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, &REACHED);
}

fn run() -> anyhow::Result<Status> {
    let typed = command_line::with_hyphens(std::env::args_os().collect());
    let mut command = command_line::lenient(Cli::command());
    if settings::are_asked_for_in(&typed) {
        command = settings::without_requirements(command);
    }
    let line = command_line::with_model(&command, typed);
    if let Some(sentence) = command_line::parted_list(&command, &line) {
        bail!(sentence);
    }
    let line = command_line::with_config(&command, line)?;
    let refused = |answer: &clap::Error| {
        terminal::tell(answer, &command, &line);
        match answer.use_stderr() {
            true => Status::Refused,
            false => Status::Done,
        }
    };
    let matches = match command.clone().try_get_matches_from(&line) {
        Ok(matches) => matches,
        Err(answer) => match command_line::file_too_many(&answer) {
            Some(sentence) => bail!(sentence),
            None => return Ok(refused(&answer)),
        },
    };
    if let Some((name, typed)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
        && settings::are_asked_for(name, typed)
    {
        let settings = settings::of(command, name, typed)?;
        write!(terminal::out(), "{}", settings::to_toml(&settings)?)?;
        return Ok(Status::Done);
    }
    let typed = matches.subcommand().and_then(|(name, typed)| {
        let command = command.find_subcommand(name)?;
        Some(Typed::of(command, name, typed))
    });
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(answer) => return Ok(refused(&answer)),
    };
    match cli.command {
        Command::Attack(args) => commands::attack::run(&args, &typed.unwrap_or_default()),
        Command::Attacks(args) => commands::attacks::run(&args),
        Command::Completions(args) => commands::shell::completions(&args, command),
        Command::Data(args) => commands::data::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Grad(args) => commands::grad::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Man(args) => commands::shell::man(&args, command),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Natural(args) => commands::natural::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Rerun(args) => commands::rerun::run(&args),
        Command::Train(args) => commands::train::run(&args),
    }
}

/// Formats an error and its causes, outermost first, on one line. Lists get one line per entry. Some libraries already
/// include the cause in the message, so repeated text is dropped.
fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    let mut list = String::new();
    for cause in error.chain() {
        let cause = if let Some(error) = cause.downcast_ref::<toml::de::Error>() {
            legible::of_toml(error)
        } else if let Some(error) = cause.downcast_ref::<clap::Error>() {
            of_clap(error)
        } else if let Some(hoodwink::Error::Several { .. }) = cause.downcast_ref() {
            let told = cause.to_string();
            let (first, rest) = told.split_once('\n').unwrap_or((&told, ""));
            list = format!("\n{rest}");
            first.to_owned()
        } else {
            cause.to_string()
        };
        if said.is_empty() || cause.starts_with(&said) {
            said = cause;
        } else if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    legible::line(&said) + &list
}

/// Returns the message of a clap error for arguments that the user did not type, such as options from a file.
fn of_clap(error: &clap::Error) -> String {
    let told = error.to_string();
    let told = told.split("\n\nUsage:").next().unwrap_or_default();
    let told = told.split("\n\nFor more").next().unwrap_or_default();
    let told = told.strip_prefix("error: ").unwrap_or(told);
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether the reader of our output has closed the pipe.
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

    #[test]
    fn an_error_is_one_line_but_for_lists() {
        let toml = "a\nb".parse::<toml::Table>().unwrap_err();
        let listed = hoodwink::Error::several("all differ", vec!["a\nb".into(), "c".into()]);
        let unknown = Cli::command().try_get_matches_from(["hoodwink", "attack", "a"]);
        for (error, said) in [
            (anyhow!("a\nerror: b\u{1b}"), "a\\nerror: b\\u001b"),
            (
                anyhow::Error::new(toml).context("x\ny.toml"),
                "x\\ny.toml: line 1, column 2: key with no value, expected `=`",
            ),
            (
                anyhow::Error::new(listed).context("a\nb"),
                "a\\nb: all differ:\n  a\\nb\n  c",
            ),
            (
                anyhow::Error::new(unknown.unwrap_err()).context("run.toml"),
                "run.toml: the following required arguments were not provided: <DATA>",
            ),
        ] {
            assert_eq!(sentence(&error), said);
        }
        let long = sentence(&anyhow!("a".repeat(3 << 20)));
        assert!(long.ends_with(" (3145728 characters)") && long.len() < 3_000);
    }
}
