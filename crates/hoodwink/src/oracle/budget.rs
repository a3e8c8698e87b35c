//! The budget of an attack, and what it has spent.

use std::cell::Cell;

use super::{Access, Answer, Local, Oracle, Question};
use crate::{Error, Result};

/// The number of questions that may be asked. The default is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Forward passes.
    pub queries: u64,
    /// Gradients. Each includes a forward pass, which `queries` does not count.
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
    /// Returns how many of `wanted` queries the budget allows.
    pub fn queries_of(self, wanted: usize) -> usize {
        usize::try_from(self.queries).map_or(wanted, |left| left.min(wanted))
    }
}

/// The number of questions asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Forward passes.
    pub queries: u64,
    /// Gradients. Each includes a forward pass, which `queries` does not count.
    pub gradients: u64,
}

/// An oracle that counts the questions and refuses those that the threat model does not allow.
///
/// It stands directly in front of the model, so a wrapper around it pays for every question that it sends on.
pub struct Counted<'a> {
    inner: &'a dyn Oracle,
    access: Access,
    budget: Budget,
    spent: Cell<Spent>,
}

impl<'a> Counted<'a> {
    /// Limits `inner` to `access` and `budget`.
    pub fn new(inner: &'a dyn Oracle, access: Access, budget: Budget) -> Self {
        Self {
            inner,
            access,
            budget,
            spent: Cell::default(),
        }
    }

    /// Returns the number of questions asked through this oracle.
    pub fn spent(&self) -> Spent {
        self.spent.get()
    }

    /// Charges for all the questions or refuses all of them.
    fn charge(&self, questions: &[Question]) -> Result<()> {
        let gradients = questions.iter().filter(|q| q.is_for_gradient()).count() as u64;
        let queries = questions.len() as u64 - gradients;
        if gradients > 0 && self.access < Access::Gradients {
            return Err(Error::invalid(format!(
                "the threat model allows access to {} only, but the attack asked for gradients",
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
