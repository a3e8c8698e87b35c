//! Ctrl-C: asks long work to stop where nothing is lost.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};
use hoodwink::oracle::Halt;

use crate::terminal::complain;

/// Whether the first Ctrl-C drops what is in hand.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// The request that everything long watches.
pub(crate) static HALT: Halt = Halt::new();

/// Asked to finish by the first Ctrl-C after this was first called, and to drop what is in hand by the second; the third one
/// ends the process.
pub(crate) fn halt() -> Result<&'static Halt> {
    static LISTENING: OnceLock<Result<(), String>> = OnceLock::new();
    LISTENING
        .get_or_init(|| ctrlc::set_handler(interrupted).map_err(|error| error.to_string()))
        .clone()
        .map_err(anyhow::Error::msg)
        .context("cannot listen for Ctrl-C")?;
    Ok(&HALT)
}

/// Lets the first Ctrl-C drop what is in hand: what is asked elsewhere may not answer for long.
pub(crate) fn drop_at_once() {
    AT_ONCE.store(true, Ordering::Relaxed);
}

/// Asks for an end, then for a quick one; the third time, makes one. What is written to disk takes no harm from any.
#[expect(clippy::exit, reason = "the user is tired of waiting")]
fn interrupted() {
    if HALT.drops_all() {
        std::process::exit(2);
    }
    if HALT.is_asked() || AT_ONCE.load(Ordering::Relaxed) {
        HALT.drop_all();
        complain("stopping now; Ctrl-C again ends without a report");
    } else {
        HALT.finish();
        complain("stopping after the pictures in hand; Ctrl-C again stops now");
    }
}
