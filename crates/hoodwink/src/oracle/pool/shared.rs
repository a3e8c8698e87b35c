//! The questions that wait for an answer, and who is there to give it.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use super::{
    super::{Answer, Budget, Local, Oracle, Question},
    Appetite, Meter,
};
use crate::{Result, oracle::Halt};

/// How long a worker that has nothing to do sleeps before it looks whether it is to end.
const NAP: Duration = Duration::from_millis(20);

/// So many questions of one kind are worth an execution before all others.
const FULL: usize = 8;

/// What can be answered in one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) model: usize,
    pub(super) for_gradients: bool,
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Poll its own attacks.
    Poll,
    /// Answer questions of this kind.
    Answer(Kind),
    /// Go home.
    Over,
    /// Its attacks wait, and nobody is left to answer anything.
    Stuck,
}

/// What the workers share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Number of classes of each model.
    classes: Vec<usize>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Kind, VecDeque<Posted>>,
    /// Attacks in hand of all workers.
    live: usize,
    /// Workers that are there.
    present: usize,
    /// Those of them that sleep.
    idle: usize,
    /// Whether questions may have been lost with a worker.
    broken: bool,
}

/// A question that waits.
struct Posted {
    question: Question,
    slot: Arc<Slot>,
    at: usize,
}

/// Where the answers to questions that were asked at once are gathered.
struct Slot {
    gathered: Mutex<Gathered>,
    meter: Arc<Meter>,
}

struct Gathered {
    answers: Vec<Option<Answer>>,
    missing: usize,
    waker: Waker,
}

/// What is locked here stays consistent: no code of others runs under the lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(classes: impl Iterator<Item = usize>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            classes: classes.collect(),
        }
    }

    /// Access to the first model.
    pub(super) fn handle(shared: &Arc<Self>) -> Handle {
        Handle {
            shared: Arc::clone(shared),
            model: 0,
            meter: Arc::default(),
        }
    }

    /// Counts a worker, until the answer is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Present {
        locked(&self.state).present += 1;
        Present(Arc::clone(self))
    }

    /// Counts an attack that is about to be begun, unless it is dropped.
    pub(super) fn begin(&self) -> Begun<'_> {
        locked(&self.state).live += 1;
        Begun(self)
    }

    /// So many attacks are over.
    pub(super) fn done(&self, attacks: usize) {
        let mut state = locked(&self.state);
        state.live -= attacks;
        if state.live == 0 {
            self.changed.notify_all();
        }
    }

    /// Questions may be lost: nobody is to wait for their answers for ever.
    pub(super) fn fail(&self) {
        locked(&self.state).broken = true;
        self.changed.notify_all();
    }

    /// What a worker with so many attacks in hand does next; sleeps while there is nothing.
    pub(super) fn next(&self, live: usize, is_ready: impl Fn() -> bool, halt: &Halt) -> Next {
        let mut state = locked(&self.state);
        loop {
            if is_ready() || halt.drops_all() {
                return Next::Poll;
            }
            // One question is left to the worker of its attack, which is awake: a second program need not be compiled.
            let least = if live == 0 { 2 } else { 1 };
            if let Some(kind) = state.most_wanted(least) {
                return Next::Answer(kind);
            }
            if live == 0 && state.live == 0 {
                return Next::Over;
            }
            if state.idle + 1 >= state.present {
                // Whoever is awake posts or answers; if nobody is, no answer will come any more.
                match (state.most_wanted(1), state.broken) {
                    (Some(kind), _) => return Next::Answer(kind),
                    (None, true) => {
                        state.live -= live;
                        self.changed.notify_all();
                        return Next::Over;
                    }
                    (None, false) if live > 0 => return Next::Stuck,
                    (None, false) => {}
                }
            }
            state.idle += 1;
            let slept = self.changed.wait_timeout(state, NAP);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    /// Takes questions of a kind: fewer than are wanted at once where others have nothing else to do.
    pub(super) fn take(self: &Arc<Self>, kind: Kind, appetite: Appetite) -> Option<Chunk> {
        let mut state = locked(&self.state);
        let idle = state.idle;
        let waiting = state.waiting.get_mut(&kind)?;
        let shared = waiting.len().div_ceil(idle + 1);
        let mut count = shared.max(appetite.least).min(appetite.most);
        // What is too few for an execution of its own is not left behind.
        if waiting.len().saturating_sub(count) < appetite.least {
            count = waiting.len().min(appetite.most);
        }
        let taken: Vec<Posted> = waiting.drain(..count.min(waiting.len())).collect();
        let left = !waiting.is_empty();
        if !left {
            state.waiting.remove(&kind);
        }
        if left && idle > 0 {
            self.changed.notify_one();
        }
        (!taken.is_empty()).then(|| Chunk {
            kind,
            posted: taken,
            shared: Arc::clone(self),
            delivered: false,
        })
    }
}

impl State {
    /// The kind of question that most are of, if there are at least so many; one that fills an execution before others.
    fn most_wanted(&self, least: usize) -> Option<Kind> {
        let kinds = self.waiting.iter().filter(|(_, all)| all.len() >= least);
        // Of equals the last: gradients, which attacks wait for longer.
        let most = kinds.max_by_key(|(_, all)| all.len().min(FULL))?;
        Some(*most.0)
    }
}

/// A worker that is there.
pub(super) struct Present(Arc<Shared>);

impl Drop for Present {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        state.present -= 1;
        // Its own attacks are gone with it, and nobody else's questions, unless it was unwound.
        state.broken |= thread::panicking();
        self.0.changed.notify_all();
    }
}

/// An attack that is about to be begun.
pub(super) struct Begun<'a>(&'a Shared);

impl Begun<'_> {
    /// It was.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.done(1);
    }
}

/// Questions of one kind that a worker has taken.
pub(super) struct Chunk {
    kind: Kind,
    posted: Vec<Posted>,
    shared: Arc<Shared>,
    delivered: bool,
}

impl Chunk {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn questions(&self) -> Vec<&Question> {
        self.posted.iter().map(|posted| &posted.question).collect()
    }

    /// Gives every question its answer, in the same order, and its share of the time that all of them took.
    pub(super) fn deliver(mut self, answers: Vec<Answer>, took: Duration) {
        self.delivered = true;
        let share = took / u32::try_from(answers.len().max(1)).unwrap_or(u32::MAX);
        for (posted, answer) in std::mem::take(&mut self.posted).into_iter().zip(answers) {
            let Posted { question, slot, at } = posted;
            // Its point may be changed in place now, without a copy.
            drop(question);
            slot.meter.add(share);
            let mut gathered = locked(&slot.gathered);
            gathered.answers[at] = Some(answer);
            gathered.missing -= 1;
            if gathered.missing == 0 {
                gathered.waker.wake_by_ref();
            }
        }
        let state = locked(&self.shared.state);
        if state.idle > 0 {
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if !self.delivered {
            self.shared.fail();
        }
    }
}

/// One job's access to the models.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    model: usize,
    meter: Arc<Meter>,
}

impl Handle {
    /// How long this job has worked so far: its own code, and its share of the executions that answered its questions. The
    /// time in which it waits for others is not counted.
    pub fn worked(&self) -> Duration {
        self.meter.total()
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Access to another model of the run, by its position.
    pub fn of(&self, model: usize) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            model,
            meter: self.meter(),
        }
    }
}

impl Oracle for Handle {
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>> {
        Box::pin(Ask {
            handle: self,
            slot: Arc::new(Slot {
                gathered: Mutex::new(Gathered {
                    answers: vec![None; questions.len()],
                    missing: questions.len(),
                    waker: Waker::noop().clone(),
                }),
                meter: self.meter(),
            }),
            questions: Some(questions),
        })
    }

    fn classes(&self) -> usize {
        self.shared.classes.get(self.model).copied().unwrap_or(0)
    }

    fn left(&self) -> Budget {
        Budget::default()
    }
}

/// Posts questions when first polled, and is ready once all their answers are there.
struct Ask<'a> {
    handle: &'a Handle,
    questions: Option<Vec<Question>>,
    slot: Arc<Slot>,
}

impl Future for Ask<'_> {
    type Output = Result<Vec<Answer>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let questions = self.questions.take();
        {
            let mut gathered = locked(&self.slot.gathered);
            if gathered.missing == 0 {
                let answers = std::mem::take(&mut gathered.answers);
                return Poll::Ready(Ok(answers.into_iter().flatten().collect()));
            }
            gathered.waker.clone_from(context.waker());
        }
        if let Some(questions) = questions {
            let model = self.handle.model;
            let mut state = locked(&self.handle.shared.state);
            for (at, question) in questions.into_iter().enumerate() {
                let kind = Kind {
                    model,
                    for_gradients: question.is_for_gradient(),
                };
                let slot = Arc::clone(&self.slot);
                let posted = Posted { question, slot, at };
                state.waiting.entry(kind).or_default().push_back(posted);
            }
        }
        Poll::Pending
    }
}
