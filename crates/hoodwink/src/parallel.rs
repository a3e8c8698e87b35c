//! Parallel maps over numbered items.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, Scope, ScopedJoinHandle},
};

use crate::error::{Error, Result};

/// The maximum number of useful threads per core. More only take memory.
const THREADS_PER_CORE: usize = 4;

/// Returns how many of the wanted threads are useful for this many jobs; at least one.
pub(crate) fn useful(threads: usize, jobs: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    threads.min(jobs).clamp(1, THREADS_PER_CORE * cores)
}

/// Starts a thread. Returns an error if the system allows no more threads.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let spawned = thread::Builder::new().spawn_scoped(scope, work);
    spawned.map_err(|error| {
        Error::invalid(format!(
            "cannot start another thread ({error}); try fewer threads"
        ))
    })
}

/// Returns the results of `work` for 0, 1, … `count` − 1, in that order. They are the same for any number of threads.
///
/// Calls `done` on this thread with the number of finished items. After an error no further item starts, and the error
/// of the lowest item is returned.
pub(crate) fn in_order<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<T>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, made) = mpsc::channel();
    let mut results: Vec<Option<Result<T>>> = Vec::new();
    results.resize_with(count, || None);
    thread::scope(|scope| {
        let mut all_run = Ok(());
        for _ in 0..useful(threads, count) {
            let (sender, next, failed, work) = (sender.clone(), &next, &failed, &work);
            let spawned = spawn(scope, move || {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let result = work(at);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    if sender.send((at, result)).is_err() {
                        return;
                    }
                }
            });
            if let Err(error) = spawned {
                failed.store(true, Ordering::Relaxed);
                all_run = Err(error);
                break;
            }
        }
        drop(sender);
        for (finished, (at, result)) in made.iter().enumerate() {
            results[at] = Some(result);
            done(finished + 1);
        }
        all_run
    })?;
    let unmade = || Err(Error::invalid("a worker thread ended early"));
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(unmade))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_threads() {
        for threads in [0, 1, 2, 7, 100, usize::MAX] {
            for count in [0, 1, 50] {
                let mut last = 0;
                let squares = in_order(count, threads, |at| Ok(at * at), &mut |done| last = done);
                let expected: Vec<usize> = (0..count).map(|at| at * at).collect();
                assert_eq!(squares.unwrap(), expected, "{threads} threads");
                assert_eq!(last, count);
            }
        }
    }

    #[test]
    fn no_more_threads_are_started_than_are_of_use() {
        assert_eq!([useful(0, 9), useful(9, 0), useful(9, 2)], [1, 1, 2]);
        let most = useful(usize::MAX, usize::MAX);
        assert!((THREADS_PER_CORE..10_000).contains(&most), "{most}");
    }

    #[test]
    fn the_first_error_is_told() {
        for threads in [1, 3] {
            let work = |at| match at {
                7 | 9 => Err(Error::invalid(format!("number {at}"))),
                _ => Ok(at),
            };
            let error = in_order(50, threads, work, &mut |_| {}).unwrap_err();
            assert_eq!(error.to_string(), "number 7");
        }
    }
}
