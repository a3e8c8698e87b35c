//! The `hoodwink` command.

mod args;
mod commands;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Finds what fools a trained vision model, measures how much, and shows why.
///
/// Bring a model as an ONNX file and a folder of pictures. Nothing is sent anywhere.
#[derive(Parser)]
#[command(name = "hoodwink", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attack a model on a data set, and write a run folder with its report
    Attack(Box<commands::attack::Args>),
    /// Write the gradient of a model as a plain ONNX file
    Grad(commands::grad::Args),
    /// Show what a model says about pictures, and its accuracy if they have labels
    Predict(commands::predict::Args),
    /// Write the report of a run folder anew
    Report(commands::report::Args),
    /// Train a small classifier, plainly or adversarially
    Train(Box<commands::train::Args>),
}

/// How a command ended: 0 done, 1 a gate failed, 2 an error.
pub(crate) enum Status {
    /// It did what was asked.
    Done,
    /// It was interrupted and can be taken up again.
    Interrupted,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Attack(args) => commands::attack::run(&args),
        Command::Grad(args) => commands::grad::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Train(args) => commands::train::run(&args),
    };
    match result {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Interrupted) => ExitCode::from(2),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            progress::complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
