//! Ctrl-C: stops long work without losing results.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};
use hoodwink::oracle::Halt;

use crate::terminal::complain;

/// Whether the first Ctrl-C drops unfinished pictures.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// The stop request that all long work watches.
pub(crate) static HALT: Halt = Halt::new();

/// Returns the stop request and starts listening for Ctrl-C. The first Ctrl-C finishes the current pictures, the second
/// drops them, and the third ends the process.
pub(crate) fn halt() -> Result<&'static Halt> {
    static LISTENING: OnceLock<Result<(), String>> = OnceLock::new();
    LISTENING
        .get_or_init(|| ctrlc::set_handler(interrupted).map_err(|error| error.to_string()))
        .clone()
        .map_err(anyhow::Error::msg)
        .context("cannot listen for Ctrl-C")?;
    Ok(&HALT)
}

/// Makes the first Ctrl-C drop unfinished pictures, because a remote model may take long to answer.
pub(crate) fn drop_at_once() {
    AT_ONCE.store(true, Ordering::Relaxed);
}

/// Handles Ctrl-C: finishes the current pictures, then drops them, then exits. Files on disk stay valid in each case.
#[expect(clippy::exit, reason = "the user asked three times to stop")]
fn interrupted() {
    if HALT.drops_all() {
        std::process::exit(2);
    }
    if HALT.is_asked() || AT_ONCE.load(Ordering::Relaxed) {
        HALT.drop_all();
        complain("stopping now; press Ctrl-C again to quit without a report");
    } else {
        HALT.finish();
        complain("stopping after the current pictures; press Ctrl-C again to stop now");
    }
}
