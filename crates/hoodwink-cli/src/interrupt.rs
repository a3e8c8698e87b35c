//! Ctrl-C: asks long work to stop where nothing is lost.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use hoodwink::oracle::Halt;

use crate::terminal::complain;

/// Asked to finish by the first Ctrl-C after this was first called; the second one ends the process.
pub(crate) fn halt() -> Result<&'static Halt> {
    static HALT: Halt = Halt::new();
    static LISTENING: OnceLock<Result<(), String>> = OnceLock::new();
    LISTENING
        .get_or_init(|| {
            let listen = || interrupted(&HALT);
            ctrlc::set_handler(listen).map_err(|error| error.to_string())
        })
        .clone()
        .map_err(anyhow::Error::msg)
        .context("cannot listen for Ctrl-C")?;
    Ok(&HALT)
}

/// Asks for an end; the second time, makes one. What is written to disk takes no harm from either.
#[expect(
    clippy::exit,
    reason = "the user is tired of waiting for the pictures in hand"
)]
fn interrupted(halt: &Halt) {
    if halt.is_asked() {
        std::process::exit(2);
    }
    halt.finish();
    complain("stopping after the pictures in hand; Ctrl-C again stops at once");
}
