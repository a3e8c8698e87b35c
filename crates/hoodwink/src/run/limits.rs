//! Limits that end a run.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use super::Ended;
use crate::{Result, oracle::Halt, parallel::spawn};

/// The maximum delay before a reached limit is noticed.
const INTERVAL: Duration = Duration::from_millis(20);

/// Limits that end a run; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The time at which the run must have ended.
    pub deadline: Option<Instant>,
    /// Maximum memory of the whole process (its resident set), in bytes.
    pub memory: Option<u64>,
}

impl Limits {
    /// Returns the ending that corresponds to the reached limit, if any.
    fn reached(self) -> Option<Ended> {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Some(Ended::OutOfTime);
        }
        let (most, held) = (self.memory?, resident()?);
        (held > most).then_some(Ended::OutOfMemory(held))
    }
}

/// Returns the memory that this process holds in bytes, or `None` if the system does not report it.
pub(crate) fn resident() -> Option<u64> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem as u64)
}

/// Does the work and halts it as soon as a limit is reached. Returns which limit it was.
pub(super) fn watch<T>(
    limits: Limits,
    halt: &Halt,
    work: impl FnOnce() -> T,
) -> Result<(T, Option<Ended>)> {
    if limits == Limits::default() {
        return Ok((work(), None));
    }
    let reached = Mutex::new(None);
    let over = Halt::new();
    let answer = thread::scope(|scope| -> Result<T> {
        let watcher = spawn(scope, || {
            while !over.is_asked() {
                if let Some(limit) = limits.reached() {
                    // Only the thread below holds the lock before it is joined.
                    if let Ok(mut reached) = reached.lock() {
                        *reached = Some(limit);
                    }
                    return halt.drop_all();
                }
                thread::park_timeout(INTERVAL);
            }
        })?;
        let _ends = Ends(&over, watcher.thread());
        Ok(work())
    })?;
    Ok((answer, reached.into_inner().unwrap_or_default()))
}

/// Ends the watch, even if the work panics.
struct Ends<'a>(&'a Halt, &'a thread::Thread);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.finish();
        self.1.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_reached_drops_all_and_one_that_is_not_changes_nothing() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let deadline = |at| Limits {
            deadline: Some(at),
            ..Limits::default()
        };
        let memory = |most| Limits {
            memory: Some(most),
            ..Limits::default()
        };
        for (limits, expected) in [
            (Limits::default(), false),
            (deadline(now + hour), false),
            (memory(u64::MAX), false),
            (deadline(now), true),
            (memory(1), true),
        ] {
            let halt = Halt::new();
            let (answer, reached) = watch(limits, &halt, || {
                let begun = Instant::now();
                while expected && !halt.drops_all() {
                    assert!(begun.elapsed() < hour, "nobody halts");
                    thread::yield_now();
                }
                7
            })
            .unwrap();
            assert_eq!(answer, 7);
            assert_eq!((reached.is_some(), halt.is_asked()), (expected, expected));
        }
    }
}
