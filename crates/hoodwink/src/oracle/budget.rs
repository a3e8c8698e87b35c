//! What an attack may ask, and what it has asked.

use std::cell::Cell;

use super::{Access, Answer, Local, Oracle, Question};
use crate::{Error, Result};

/// How much may be asked. The default allows everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Forward passes.
    pub queries: u64,
    /// Gradients, each with its forward pass (not counted in `queries`).
    pub gradients: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            queries: u64::MAX,
            gradients: u64::MAX,
        }
    }
}

impl Budget {
    /// As many questions for logits as are allowed, of so many wanted.
    pub fn queries_of(self, wanted: usize) -> usize {
        usize::try_from(self.queries).map_or(wanted, |left| left.min(wanted))
    }
}

/// What was asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Forward passes.
    pub queries: u64,
    /// Gradients, each with its forward pass (not counted in `queries`).
    pub gradients: u64,
}

/// An oracle that counts what is asked, and refuses what the threat model does not allow.
///
/// It stands next to the model: what wraps it pays for every question that it makes of one.
pub struct Counted<'a> {
    inner: &'a dyn Oracle,
    access: Access,
    budget: Budget,
    spent: Cell<Spent>,
}

impl<'a> Counted<'a> {
    /// Of `inner`, no more than `access` and `budget`.
    pub fn new(inner: &'a dyn Oracle, access: Access, budget: Budget) -> Self {
        Self {
            inner,
            access,
            budget,
            spent: Cell::default(),
        }
    }

    /// What was asked through it.
    pub fn spent(&self) -> Spent {
        self.spent.get()
    }

    /// Refuses or charges for all the questions, never for some of them.
    fn charge(&self, questions: &[Question]) -> Result<()> {
        let gradients = questions.iter().filter(|q| q.is_for_gradient()).count() as u64;
        let queries = questions.len() as u64 - gradients;
        if gradients > 0 && self.access < Access::Gradients {
            return Err(Error::invalid(format!(
                "the threat model allows access to {}, and the attack asked for gradients",
                self.access.word()
            )));
        }
        let left = self.left();
        if queries > left.queries {
            return Err(Error::Budget("queries"));
        }
        if gradients > left.gradients {
            return Err(Error::Budget("gradients"));
        }
        let spent = self.spent.get();
        self.spent.set(Spent {
            queries: spent.queries + queries,
            gradients: spent.gradients + gradients,
        });
        Ok(())
    }
}

impl Oracle for Counted<'_> {
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>> {
        match self.charge(&questions) {
            Ok(()) => self.inner.ask(questions),
            Err(refused) => Box::pin(async { Err(refused) }),
        }
    }

    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn left(&self) -> Budget {
        let (spent, inner) = (self.spent.get(), self.inner.left());
        Budget {
            queries: (self.budget.queries - spent.queries).min(inner.queries),
            gradients: (self.budget.gradients - spent.gradients).min(inner.gradients),
        }
    }
}
