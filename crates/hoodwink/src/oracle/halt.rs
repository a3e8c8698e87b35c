//! How work in many hands is asked to end early.

use std::sync::atomic::{AtomicU8, Ordering};

const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const DROP: u8 = 2;

/// A request to end early, which several threads watch and anyone may make. It cannot be taken back.
#[derive(Debug, Default)]
pub struct Halt(AtomicU8);

impl Halt {
    /// No request yet.
    pub const fn new() -> Self {
        Self(AtomicU8::new(GO_ON))
    }

    /// Asks for no new job to be begun; those in hand are finished.
    pub fn finish(&self) {
        self.0.fetch_max(FINISH, Ordering::Relaxed);
    }

    /// Asks for jobs in hand to be dropped as well, at the latest after the execution of the model that is under way.
    pub fn drop_all(&self) {
        self.0.fetch_max(DROP, Ordering::Relaxed);
    }

    /// Whether any request was made.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != GO_ON
    }

    /// Whether jobs in hand are to be dropped.
    pub fn drops_all(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DROP
    }
}
