//! Drives many attacks at once: polls every live image until all wait on a question, answers the questions of one
//! kind as a batch, and refills free slots from the queue.
//!
//! An image that is done stops costing anything at once, and no image waits for another. What an image sees does
//! not depend on its neighbours: its randomness is its own, and [`Model`] answers each row as if it were alone.

use std::{
    cell::RefCell,
    path::Path,
    rc::Rc,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
};

use onnx_grad::Loss;

use super::{
    Halt, Objective, Seen,
    handle::{Answer, Handle, Mailbox, Question},
};
use crate::{
    Error, Result,
    attacks::Local,
    image::Image,
    parallel::{spawn, useful},
};

/// More live images than so many for each worker only take memory: far fewer are asked about at once.
const MOST_LIVE: usize = 64;

/// A model that can be asked from several threads.
pub trait Model: Sync {
    /// What one thread needs to ask it.
    fn worker(&self) -> Result<Box<dyn Worker + '_>>;

    /// The shared library that answers, where one was loaded for it.
    fn library(&self) -> Option<&Path> {
        None
    }
}

/// One thread's way to a model. Answers come in the order of the questions.
pub trait Worker: Send {
    /// The logits of images in pixel space.
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>>;

    /// Logits, loss and gradient of images in pixel space; all objectives have the same loss.
    fn gradients(&mut self, images: &[&Image], objectives: &[Objective]) -> Result<Vec<Seen>>;
}

/// How much runs at once, at most: of what so many jobs have no use for nothing is made ([`Crew::within`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crew {
    /// Worker threads; at least 1.
    pub threads: usize,
    /// Live images of each worker, and so the most questions that are asked at once; at least 1.
    pub batch: usize,
}

impl Crew {
    /// The part of it that is of use for so many jobs.
    pub fn within(self, jobs: usize) -> Self {
        Self {
            threads: useful(self.threads, jobs),
            batch: self.batch.min(jobs).clamp(1, MOST_LIVE),
        }
    }
}

/// Runs `task` on every job and gives what it returns to `sink`, in order of completion.
///
/// After the first error, from a task or from `sink`, no new job is begun; those in hand are finished, and still given to
/// `sink` unless it is what failed. `halt` ends the run without an error.
pub fn drive<J: Send, T: Send>(
    model: &dyn Model,
    crew: Crew,
    jobs: impl Iterator<Item = J> + Send,
    halt: &Halt,
    task: impl Fn(J, Handle) -> Local<'static, Result<T>> + Sync,
    mut sink: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let crew = crew.within(jobs.size_hint().1.unwrap_or(usize::MAX));
    let queue = Mutex::new(jobs.fuse());
    let failed = AtomicBool::new(false);
    let next = || {
        if halt.is_asked() || failed.load(Ordering::Relaxed) {
            return None;
        }
        // Another worker's panic is re-raised when its thread is joined.
        queue.lock().ok()?.next()
    };
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..crew.threads {
            let (worker, next, task) = (sender.clone(), &next, &task);
            let spawned = spawn(scope, move || {
                let give = |result| worker.send(result).is_ok();
                if let Err(error) = work(model, crew.batch, halt, next, task, &give) {
                    give(Err(error));
                }
            });
            if let Err(error) = spawned {
                failed.store(true, Ordering::Relaxed);
                // The receiver is not gone before the senders are.
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

/// One image in the batch: its attack, and what it waits for.
struct Live<T> {
    mailbox: Rc<RefCell<Mailbox>>,
    future: Local<'static, Result<T>>,
}

/// One worker: keeps up to `batch` images alive until the queue is empty.
fn work<J, T>(
    model: &dyn Model,
    batch: usize,
    halt: &Halt,
    next: &dyn Fn() -> Option<J>,
    task: &dyn Fn(J, Handle) -> Local<'static, Result<T>>,
    give: &dyn Fn(Result<T>) -> bool,
) -> Result<()> {
    let mut worker = model.worker()?;
    let mut live: Vec<Live<T>> = Vec::new();
    let mut broken = false;
    let mut context = Context::from_waker(Waker::noop());
    loop {
        while live.len() < batch && !broken {
            let Some(job) = next() else { break };
            let mailbox = Rc::default();
            let future = task(job, Handle::new(Rc::clone(&mailbox)));
            live.push(Live { mailbox, future });
        }
        if live.is_empty() || halt.drops_all() {
            return Ok(());
        }
        let before = live.len();
        let mut at = 0;
        while at < live.len() {
            let waits = live[at].mailbox.borrow().question.is_some();
            if waits {
                at += 1;
                continue;
            }
            match live[at].future.as_mut().poll(&mut context) {
                Poll::Pending if live[at].mailbox.borrow().question.is_none() => {
                    return Err(Error::invalid(
                        "an attack waits for something that is not the model",
                    ));
                }
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    live.remove(at);
                    broken |= result.is_err();
                    if !give(result) {
                        return Ok(());
                    }
                }
            }
        }
        // A free slot is filled before the next execution, so that batches stay full.
        if live.len() == before {
            answer(worker.as_mut(), &mut live)?;
        }
    }
}

/// Answers the most frequent kind of question among the live images.
fn answer<T>(worker: &mut dyn Worker, live: &mut [Live<T>]) -> Result<()> {
    let kinds: Vec<Option<Loss>> = live
        .iter()
        .filter_map(|one| one.mailbox.borrow().question.as_ref().map(kind))
        .collect();
    let count = |wanted: &Option<Loss>| kinds.iter().filter(|kind| *kind == wanted).count();
    // `max_by_key` takes the last of equals; reversed, that is the first image's.
    let Some(&chosen) = kinds.iter().rev().max_by_key(|kind| count(kind)) else {
        return Ok(());
    };
    let mut asked = Vec::new();
    let mut mailboxes = Vec::new();
    for one in live {
        let mut mailbox = one.mailbox.borrow_mut();
        if let Some(question) = mailbox
            .question
            .take_if(|question| kind(question) == chosen)
        {
            asked.push(question);
            mailboxes.push(&one.mailbox);
        }
    }
    let images: Vec<&Image> = asked
        .iter()
        .map(|question| match question {
            Question::Logits(image) | Question::Gradient(image, _) => image,
        })
        .collect();
    let objectives: Vec<Objective> = asked
        .iter()
        .filter_map(|question| match question {
            Question::Logits(_) => None,
            Question::Gradient(_, objective) => Some(*objective),
        })
        .collect();
    let answers: Vec<Answer> = match chosen {
        None => worker
            .logits(&images)?
            .into_iter()
            .map(Answer::Logits)
            .collect(),
        Some(_) => {
            let seen = worker.gradients(&images, &objectives)?;
            seen.into_iter().map(Answer::Gradient).collect()
        }
    };
    if answers.len() != mailboxes.len() {
        return Err(Error::invalid(
            "the model answered another number of questions",
        ));
    }
    for (mailbox, answer) in mailboxes.into_iter().zip(answers) {
        mailbox.borrow_mut().answer = Some(Ok(answer));
    }
    Ok(())
}

/// What can be answered in one execution: logits, or gradients of one loss.
fn kind(question: &Question) -> Option<Loss> {
    match question {
        Question::Logits(_) => None,
        Question::Gradient(_, objective) => Some(objective.loss),
    }
}

#[cfg(test)]
mod tests;
