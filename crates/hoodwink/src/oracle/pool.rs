//! Runs many attacks at once and shares their questions among workers.
//!
//! Each worker keeps some attacks alive on its own thread and polls them until all of them wait for answers. All
//! questions lie in one shared queue. Any worker takes as many questions of one kind as its model can use at once. So a
//! thousand pictures with one question each keep all workers busy, and so does one picture with a thousand questions. A
//! finished attack is replaced immediately, and no attack waits for another. An attack's results do not depend on its
//! neighbours: it has its own randomness, and a [`Model`] answers each question as if it were alone.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Instant,
};

use super::{Answer, Differential, Halt, Local, Objective, Want};
use crate::{
    Error, Result,
    image::Image,
    parallel::{spawn, useful},
};

mod meter;
mod shared;

use meter::Meter;
pub use shared::Handle;
use shared::{Chunk, Next, Shared};

/// The maximum number of live images per worker. More only take memory: far fewer are asked about at once.
const MOST_LIVE: usize = 64;

/// A model that can be asked from several threads.
pub trait Model: Sync {
    /// Creates what one thread needs to ask the model.
    fn worker(&self) -> Result<Box<dyn Worker + '_>>;

    /// Returns the number of classes.
    fn classes(&self) -> usize;

    /// Returns the path of the shared library that runs the model, if one was loaded.
    fn library(&self) -> Option<&Path> {
        None
    }
}

/// The number of questions of one kind that a worker takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appetite {
    /// Preferred minimum: fewer questions cost as much as this many.
    pub least: usize,
    /// The maximum for one execution.
    pub most: usize,
}

/// One thread's access to a model. Answers come in the order of the questions.
pub trait Worker: Send {
    /// Computes the logits of images in pixel space.
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>>;

    /// Computes the logits, value and gradient of one objective per image in pixel space.
    fn differentials(
        &mut self,
        images: &[&Image],
        objectives: &[&Objective],
    ) -> Result<Vec<Differential>>;

    /// Returns how many questions the worker takes at once, for gradients or for logits.
    fn appetite(&mut self, _for_gradients: bool) -> Result<Appetite> {
        Ok(Appetite { least: 1, most: 8 })
    }
}

/// The maximum parallelism. [`Parallelism::within`] cuts it down to what a given number of jobs can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallelism {
    /// Worker threads; at least 1.
    pub threads: usize,
    /// Live images per worker; at least 1.
    pub batch: usize,
}

impl Parallelism {
    /// Returns the part that `jobs` jobs can use, each of which may ask many questions at once.
    pub fn within(self, jobs: usize) -> Self {
        Self {
            threads: useful(self.threads, usize::MAX),
            batch: self.batch.min(jobs).clamp(1, MOST_LIVE),
        }
    }
}

/// Runs `task` on every job and passes the results to `sink` in order of completion. A task asks the first model
/// through its handle, and the other models through [`Handle::of`].
///
/// After the first error, from a task or from `sink`, no new job starts. Running jobs finish as far as their questions
/// can be answered. Their results still go to `sink`, unless `sink` is what failed. `halt` ends the run without an
/// error.
pub fn drive<'t, J: Send, T: Send>(
    models: &[&dyn Model],
    crew: Parallelism,
    jobs: impl Iterator<Item = J> + Send,
    halt: &Halt,
    task: impl Fn(J, Handle) -> Local<'t, Result<T>> + Sync,
    mut sink: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let crew = crew.within(jobs.size_hint().1.unwrap_or(usize::MAX));
    let shared = Arc::new(Shared::new(models.iter().map(|model| model.classes())));
    let queue = Mutex::new(jobs.fuse());
    let failed = AtomicBool::new(false);
    let next = || {
        if halt.is_asked() || failed.load(Ordering::Relaxed) {
            return None;
        }
        // A panic in another worker is raised again when its thread is joined.
        queue.lock().ok()?.next()
    };
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..crew.threads {
            let (sent, next, task, shared) = (sender.clone(), &next, &task, &shared);
            let failed = &failed;
            // The worker is counted before it runs, so that the others wait for it instead of giving up.
            let present = shared.enter();
            let spawned = spawn(scope, move || {
                let _present = present;
                let give = |result: Result<T>| {
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    sent.send(result).is_ok()
                };
                let crew_member = Member {
                    models,
                    workers: models.iter().map(|_| None).collect(),
                    shared,
                    batch: crew.batch,
                    halt,
                };
                if let Err(error) = crew_member.work(next, task, &give) {
                    shared.fail();
                    give(Err(error));
                }
            });
            if let Err(error) = spawned {
                failed.store(true, Ordering::Relaxed);
                // The receiver outlives the senders.
                let _ = sender.send(Err(error));
                break;
            }
        }
        drop(sender);
        let (mut outcome, mut sink_is_broken) = (Ok(()), false);
        for result in receiver {
            let taken = match result {
                Ok(_) if sink_is_broken => continue,
                Ok(result) => sink(result).inspect_err(|_| sink_is_broken = true),
                Err(error) => Err(error),
            };
            if taken.is_err() {
                failed.store(true, Ordering::Relaxed);
                outcome = outcome.and(taken);
            }
        }
        outcome
    })
}

/// A running attack.
struct Live<'t, T> {
    future: Local<'t, Result<T>>,
    meter: Arc<Meter>,
    ready: Arc<Ready>,
    waker: Waker,
}

/// Whether an attack can continue.
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// One worker thread.
struct Member<'a> {
    models: &'a [&'a dyn Model],
    /// One per model, created when that model is first asked.
    workers: Vec<Option<Box<dyn Worker + 'a>>>,
    shared: &'a Arc<Shared>,
    batch: usize,
    halt: &'a Halt,
}

impl Member<'_> {
    /// Keeps up to `batch` attacks alive until none are left. Answers the questions of its own attacks and of others.
    fn work<'t, J, T>(
        mut self,
        next: &dyn Fn() -> Option<J>,
        task: &dyn Fn(J, Handle) -> Local<'t, Result<T>>,
        give: &dyn Fn(Result<T>) -> bool,
    ) -> Result<()> {
        let mut live: Vec<Live<'t, T>> = Vec::new();
        let mut broken = false;
        loop {
            while live.len() < self.batch && !broken {
                let begun = self.shared.begin();
                let Some(job) = next() else { break };
                begun.keep();
                let ready = Arc::new(Ready(AtomicBool::new(true)));
                let handle = Shared::handle(self.shared);
                live.push(Live {
                    meter: handle.meter(),
                    future: task(job, handle),
                    waker: Waker::from(Arc::clone(&ready)),
                    ready,
                });
            }
            if self.halt.drops_all() {
                self.shared.done(live.len());
                return Ok(());
            }
            let before = live.len();
            let mut at = 0;
            while at < live.len() {
                let one = &mut live[at];
                if !one.ready.0.swap(false, Ordering::Acquire) {
                    at += 1;
                    continue;
                }
                let (future, mut context) = (one.future.as_mut(), Context::from_waker(&one.waker));
                match one.meter.during(|| future.poll(&mut context)) {
                    Poll::Pending => at += 1,
                    Poll::Ready(result) => {
                        live.swap_remove(at);
                        self.shared.done(1);
                        broken |= result.is_err();
                        broken |= !give(result);
                    }
                }
            }
            // A free slot is filled before the next execution, so that batches stay full.
            if live.len() < before && !broken {
                continue;
            }
            let is_ready = || live.iter().any(|one| one.ready.0.load(Ordering::Acquire));
            match self.shared.next(live.len(), is_ready, self.halt) {
                Next::Poll => {}
                Next::Over => return Ok(()),
                Next::Answer(kind) => {
                    let worker = self.worker(kind.model)?;
                    let appetite = worker.appetite(kind.for_gradients)?;
                    if let Some(chunk) = self.shared.take(kind, appetite) {
                        self.answer(chunk)?;
                    }
                }
                Next::Stuck => {
                    return Err(Error::invalid(
                        "an attack waits for something other than an answer",
                    ));
                }
            }
        }
    }

    fn worker(&mut self, model: usize) -> Result<&mut (dyn Worker + '_)> {
        let (Some(slot), Some(made)) = (self.workers.get_mut(model), self.models.get(model)) else {
            return Err(Error::invalid(format!("the run has no model {model}")));
        };
        Ok(match slot {
            Some(worker) => worker.as_mut(),
            None => slot.insert(made.worker()?).as_mut(),
        })
    }

    fn answer(&mut self, chunk: Chunk) -> Result<()> {
        let questions = chunk.questions();
        let images: Vec<&Image> = questions.iter().map(|question| &question.point).collect();
        let begun = Instant::now();
        let worker = self.worker(chunk.kind().model)?;
        let answers: Vec<Answer> = if chunk.kind().for_gradients {
            let objectives = questions
                .iter()
                .filter_map(|question| match &question.want {
                    Want::Gradient(objective) => Some(objective),
                    Want::Logits => None,
                });
            let objectives: Vec<&Objective> = objectives.collect();
            let answers = worker.differentials(&images, &objectives)?;
            answers.into_iter().map(Answer::Gradient).collect()
        } else {
            let answers = worker.logits(&images)?;
            answers.into_iter().map(Answer::Logits).collect()
        };
        if answers.len() != questions.len() {
            return Err(Error::invalid(
                "the model returned a wrong number of answers",
            ));
        }
        drop(images);
        drop(questions);
        chunk.deliver(answers, begun.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
