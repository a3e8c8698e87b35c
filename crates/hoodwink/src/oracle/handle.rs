//! One image's access to the model: asks, waits, counts, and refuses what the threat model does not allow.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{Access, Gradients, Labels, Objective, Scores, Seen, argmax};
use crate::{Error, Result, image::Image};

/// A question about one image.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// For its logits.
    Logits(Image),
    /// For logits, loss and gradient.
    Gradient(Image, Objective),
}

/// The answer to one question.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Logits(Vec<f32>),
    Gradient(Seen),
}

/// What an attack has asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Forward passes.
    pub queries: u64,
    /// Gradients, each with its forward pass (not counted in `queries`).
    pub gradients: u64,
}

/// Where an image's question waits for the batcher, and the answer for the image.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) question: Option<Question>,
    pub(super) answer: Option<Result<Answer>>,
}

/// One image's access to the model.
///
/// Handles made with [`Handle::limited`] share the image's place in the batch but count for themselves, so that an
/// attack's budget is not charged for what the judge asks.
#[derive(Clone)]
pub struct Handle {
    mailbox: Rc<RefCell<Mailbox>>,
    access: Access,
    budget: Spent,
    spent: Rc<RefCell<Spent>>,
}

impl Handle {
    pub(super) fn new(mailbox: Rc<RefCell<Mailbox>>) -> Self {
        Self {
            mailbox,
            access: Access::Gradients,
            budget: Spent {
                queries: u64::MAX,
                gradients: u64::MAX,
            },
            spent: Rc::default(),
        }
    }

    /// A handle that allows no more than `access` and `budget`, with a count of its own.
    pub fn limited(&self, access: Access, budget: Spent) -> Self {
        Self {
            mailbox: Rc::clone(&self.mailbox),
            access: access.min(self.access),
            budget,
            spent: Rc::default(),
        }
    }

    /// What was asked through this handle.
    pub fn spent(&self) -> Spent {
        *self.spent.borrow()
    }

    fn require(&self, access: Access) -> Result<()> {
        if access <= self.access {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the threat model allows access to {}, and the attack asked for {}",
            self.access.word(),
            access.word()
        )))
    }

    async fn ask_logits(&self, x: &Image) -> Result<Vec<f32>> {
        charge(
            &mut self.spent.borrow_mut().queries,
            self.budget.queries,
            "queries",
        )?;
        match self.ask(Question::Logits(x.clone())).await? {
            Answer::Logits(logits) => Ok(logits),
            Answer::Gradient(seen) => Ok(seen.logits),
        }
    }

    fn ask(&self, question: Question) -> Ask<'_> {
        Ask {
            mailbox: &self.mailbox,
            question: Some(question),
        }
    }
}

fn charge(spent: &mut u64, budget: u64, what: &'static str) -> Result<()> {
    if *spent >= budget {
        return Err(Error::Budget(what));
    }
    *spent += 1;
    Ok(())
}

impl Labels for Handle {
    async fn label(&self, x: &Image) -> Result<usize> {
        self.require(Access::Labels)?;
        Ok(argmax(&self.ask_logits(x).await?))
    }
}

impl Scores for Handle {
    async fn logits(&self, x: &Image) -> Result<Vec<f32>> {
        self.require(Access::Scores)?;
        self.ask_logits(x).await
    }
}

impl Gradients for Handle {
    async fn gradient(&self, x: &Image, objective: Objective) -> Result<Seen> {
        self.require(Access::Gradients)?;
        charge(
            &mut self.spent.borrow_mut().gradients,
            self.budget.gradients,
            "gradients",
        )?;
        match self.ask(Question::Gradient(x.clone(), objective)).await? {
            Answer::Gradient(seen) => Ok(seen),
            Answer::Logits(_) => Err(Error::invalid("the batcher answered another question")),
        }
    }
}

/// Puts the question into the mailbox when first polled, and is ready once the answer lies there.
struct Ask<'a> {
    mailbox: &'a RefCell<Mailbox>,
    question: Option<Question>,
}

impl Future for Ask<'_> {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let question = self.question.take();
        let mut mailbox = self.mailbox.borrow_mut();
        if question.is_some() {
            mailbox.question = question;
            return Poll::Pending;
        }
        match mailbox.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}
