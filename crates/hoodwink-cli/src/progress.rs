//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use hoodwink::legible;
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::{self, complain};

/// Time between plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Progress of a task.
pub(crate) enum Progress {
    /// Shows nothing.
    Quiet,
    /// A bar with an estimate of the remaining time.
    Bar(ProgressBar),
    /// A plain line every ten seconds.
    Lines {
        /// The name of the task.
        what: &'static str,
        /// The time when it started.
        begun: Instant,
        /// The time of the last line.
        last: Instant,
    },
}

impl Progress {
    /// Starts the progress of `what`. The length is unknown until the first [`Progress::show`].
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

    /// Shows that `done` of `all` are finished, with a short message.
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
