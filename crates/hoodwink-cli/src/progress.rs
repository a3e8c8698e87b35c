//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use hoodwink::legible;
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::{self, complain};

/// Time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows how far something is.
pub(crate) enum Progress {
    /// Shows nothing.
    Quiet,
    /// A bar with an estimate of the time left.
    Bar(ProgressBar),
    /// A line now and then.
    Lines {
        /// What is being done.
        what: &'static str,
        /// When it began.
        begun: Instant,
        /// When the last line was written.
        last: Instant,
    },
}

impl Progress {
    /// Progress of `what`, of unknown length until the first [`Progress::show`].
    pub(crate) fn new(what: &'static str, quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !terminal::is_watched() {
            let now = Instant::now();
            return Self::Lines {
                what,
                begun: now,
                last: now,
            };
        }
        let bar = terminal::bar();
        let style = ProgressStyle::with_template(
            "{prefix} {bar:30} {pos}/{len}  {msg}  {elapsed} (left {eta})",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what);
        Self::Bar(bar)
    }

    /// `done` of `all`, and a word on how it goes.
    pub(crate) fn show(&mut self, done: usize, all: usize, message: &str) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                bar.set_length(all as u64);
                bar.set_message(legible::line(message));
                bar.set_position(done as u64);
            }
            Self::Lines { what, begun, last } => {
                if last.elapsed() >= PLAIN_INTERVAL && done > 0 {
                    *last = Instant::now();
                    let left = begun
                        .elapsed()
                        .mul_f64((all - done.min(all)) as f64 / done as f64);
                    complain(&format!(
                        "{what}: {done}/{all}  {message}  (left {} s)",
                        left.as_secs()
                    ));
                }
            }
        }
    }

    /// Clears the bar.
    pub(crate) fn finish(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
