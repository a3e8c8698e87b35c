//! `hoodwink completions` and `hoodwink man`: shell completions and manual pages.

use std::io::Write as _;

use anyhow::{Result, anyhow};
use clap::{Command, Parser};
use clap_complete::Shell;
use hoodwink::nearest::did_you_mean;

use crate::{Status, terminal};

/// Print a completion script for a shell.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink completions bash > ~/.local/share/bash-completion/completions/hoodwink
  hoodwink completions zsh > ~/.zfunc/_hoodwink")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page of hoodwink or of a sub-command.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink man > ~/.local/share/man/man1/hoodwink.1
  hoodwink man attack | man -l -")]
pub(crate) struct ManArgs {
    /// The sub-command
    command: Option<String>,
}

pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "hoodwink", &mut script);
    terminal::out().write_all(&script)?;
    Ok(Status::Done)
}

pub(crate) fn man(args: &ManArgs, command: Command) -> Result<Status> {
    let page = match &args.command {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| {
                let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
                let meant = did_you_mean(name, names.iter().copied());
                anyhow!(
                    "there is no sub-command {name:?}{meant} (sub-commands: {})",
                    names.join(", ")
                )
            })?;
            found.display_name(format!("hoodwink-{name}"))
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    terminal::out().write_all(&text)?;
    Ok(Status::Done)
}
