//! Ctrl-C: asks long work to stop where nothing is lost.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};

use crate::progress::complain;

/// Set by the first Ctrl-C after this was first called; the second one ends the process.
pub(crate) fn requested() -> Result<&'static AtomicBool> {
    static REQUESTED: AtomicBool = AtomicBool::new(false);
    static LISTENING: OnceLock<Result<(), String>> = OnceLock::new();
    LISTENING
        .get_or_init(|| {
            let listen = || interrupted(&REQUESTED);
            ctrlc::set_handler(listen).map_err(|error| error.to_string())
        })
        .clone()
        .map_err(anyhow::Error::msg)
        .context("cannot listen for Ctrl-C")?;
    Ok(&REQUESTED)
}

/// Asks for an end; the second time, makes one. What is written to disk takes no harm from either.
#[expect(
    clippy::exit,
    reason = "the user is tired of waiting for the pictures in hand"
)]
fn interrupted(stop: &AtomicBool) {
    if stop.swap(true, Ordering::Relaxed) {
        std::process::exit(2);
    }
    complain("stopping after the pictures in hand; Ctrl-C again stops at once");
}
