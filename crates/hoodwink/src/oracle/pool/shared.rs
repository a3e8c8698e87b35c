//! The queue of open questions, and the count of workers that can answer them.

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

/// How long an idle worker sleeps before it checks for a request to end.
const NAP: Duration = Duration::from_millis(20);

/// This many questions of one kind make a full execution and go first.
const FULL: usize = 8;

/// A kind of question: questions of one kind can be answered in one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) model: usize,
    pub(super) for_gradients: bool,
}

/// The next action of a worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Poll its own attacks.
    Poll,
    /// Answer questions of this kind.
    Answer(Kind),
    /// Stop: no work is left.
    Over,
    /// Its attacks wait, and no worker is left to answer them.
    Stuck,
}

/// The state that the workers share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Number of classes of each model.
    classes: Vec<usize>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Kind, VecDeque<Posted>>,
    /// Running attacks of all workers.
    live: usize,
    /// Workers that are running.
    present: usize,
    /// Workers that are asleep.
    idle: usize,
    /// Whether questions may have been lost with a worker.
    broken: bool,
}

/// A question in the queue.
struct Posted {
    question: Question,
    slot: Arc<Slot>,
    at: usize,
}

/// Gathers the answers to questions that were asked together.
struct Slot {
    gathered: Mutex<Gathered>,
    meter: Arc<Meter>,
}

struct Gathered {
    answers: Vec<Option<Answer>>,
    missing: usize,
    waker: Waker,
}

/// The locked data stays consistent even after a panic: no foreign code runs under the lock.
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

    /// Returns access to the first model.
    pub(super) fn handle(shared: &Arc<Self>) -> Handle {
        Handle {
            shared: Arc::clone(shared),
            model: 0,
            meter: Arc::default(),
        }
    }

    /// Counts a worker until the returned guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Present {
        locked(&self.state).present += 1;
        Present(Arc::clone(self))
    }

    /// Counts an attack that is about to start. Dropping the guard takes the count back.
    pub(super) fn begin(&self) -> Begun<'_> {
        locked(&self.state).live += 1;
        Begun(self)
    }

    /// Records that this many attacks have ended.
    pub(super) fn done(&self, attacks: usize) {
        let mut state = locked(&self.state);
        state.live -= attacks;
        if state.live == 0 {
            self.changed.notify_all();
        }
    }

    /// Records that questions may be lost, so that no attack waits forever for an answer.
    pub(super) fn fail(&self) {
        locked(&self.state).broken = true;
        self.changed.notify_all();
    }

    /// Decides what a worker with `live` running attacks does next. Sleeps while there is nothing to do.
    pub(super) fn next(&self, live: usize, is_ready: impl Fn() -> bool, halt: &Halt) -> Next {
        let mut state = locked(&self.state);
        loop {
            if is_ready() || halt.drops_all() {
                return Next::Poll;
            }
            // A single question is left to the worker of its attack, which is awake. This saves compiling a second
            // program.
            let least = if live == 0 { 2 } else { 1 };
            if let Some(kind) = state.most_wanted(least) {
                return Next::Answer(kind);
            }
            if live == 0 && state.live == 0 {
                return Next::Over;
            }
            if state.idle + 1 >= state.present {
                // A worker that is awake will post or answer. If none is awake, no more answers will come.
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

    /// Takes questions of one kind. Takes fewer than the model would like if other workers are idle.
    pub(super) fn take(self: &Arc<Self>, kind: Kind, appetite: Appetite) -> Option<Chunk> {
        let mut state = locked(&self.state);
        let idle = state.idle;
        let waiting = state.waiting.get_mut(&kind)?;
        let shared = waiting.len().div_ceil(idle + 1);
        let mut count = shared.max(appetite.least).min(appetite.most);
        // A remainder that is too small for its own execution is taken along.
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
    /// Returns the most frequent kind of question, if it has at least `least` questions. Full executions count as
    /// equal.
    fn most_wanted(&self, least: usize) -> Option<Kind> {
        let kinds = self.waiting.iter().filter(|(_, all)| all.len() >= least);
        // `max_by_key` takes the last of several equals: gradients, which attacks wait for longer.
        let most = kinds.max_by_key(|(_, all)| all.len().min(FULL))?;
        Some(*most.0)
    }
}

/// Guard of a running worker.
pub(super) struct Present(Arc<Shared>);

impl Drop for Present {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        state.present -= 1;
        // A worker that ends normally takes only its own attacks with it. One that panics may take others' questions
        // too.
        state.broken |= thread::panicking();
        self.0.changed.notify_all();
    }
}

/// Guard of an attack that is about to start.
pub(super) struct Begun<'a>(&'a Shared);

impl Begun<'_> {
    /// Keeps the count: the attack has started.
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

    /// Delivers the answers, in the order of the questions, and charges each question its share of the time.
    pub(super) fn deliver(mut self, answers: Vec<Answer>, took: Duration) {
        self.delivered = true;
        let share = took / u32::try_from(answers.len().max(1)).unwrap_or(u32::MAX);
        for (posted, answer) in std::mem::take(&mut self.posted).into_iter().zip(answers) {
            let Posted { question, slot, at } = posted;
            // Releases the point, so that its owner can change it in place without a copy.
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
    /// Returns how long this job has worked so far: its own code, plus its share of the executions that answered its
    /// questions. Time spent waiting for others is not counted.
    pub fn worked(&self) -> Duration {
        self.meter.total()
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Returns access to another model of the run, by its position.
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

/// A future that posts questions when first polled and is ready when all answers have arrived.
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
