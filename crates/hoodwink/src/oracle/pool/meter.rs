//! What one job costs, however long it waits for others.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Adds up the time in which a job's own code ran, and its share of the executions that answered its questions.
#[derive(Debug, Default)]
pub(super) struct Meter {
    nanoseconds: AtomicU64,
    /// Since when its own code has been running.
    since: Mutex<Option<Instant>>,
}

impl Meter {
    /// Runs a piece of the job's own code, which may look at the meter.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.set(Some(Instant::now()));
        let result = work();
        if let Some(since) = self.set(None) {
            self.add(since.elapsed());
        }
        result
    }

    /// Adds a share of what was done for several.
    pub(super) fn add(&self, time: Duration) {
        // 500 years are enough.
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// All of it so far.
    pub(super) fn total(&self) -> Duration {
        let running = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.map_or(Duration::ZERO, |since| since.elapsed());
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)) + running
    }

    fn set(&self, since: Option<Instant>) -> Option<Instant> {
        std::mem::replace(
            &mut *self.since.lock().unwrap_or_else(PoisonError::into_inner),
            since,
        )
    }
}
