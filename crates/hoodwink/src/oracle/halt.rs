//! A request to end early, shared by several threads.

use std::sync::atomic::{AtomicU8, Ordering};

const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const DROP: u8 = 2;

/// A request to end early. Several threads watch it, and anyone may make it. It cannot be withdrawn.
#[derive(Debug, Default)]
pub struct Halt(AtomicU8);

impl Halt {
    /// Creates a halt without a request.
    pub const fn new() -> Self {
        Self(AtomicU8::new(GO_ON))
    }

    /// Asks the workers to start no new job and to finish the jobs that are running.
    pub fn finish(&self) {
        self.0.fetch_max(FINISH, Ordering::Relaxed);
    }

    /// Asks the workers to drop running jobs too, at the latest after the current execution of the model.
    pub fn drop_all(&self) {
        self.0.fetch_max(DROP, Ordering::Relaxed);
    }

    /// Returns whether any request was made.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != GO_ON
    }

    /// Returns whether running jobs are to be dropped.
    pub fn drops_all(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DROP
    }
}
