//! Oracles: the questions that an attacker may ask about a model.
//!
//! Access is a type. An attack receives a front for the weakest access that it needs ([`Labels`], [`Scores`] or
//! [`Gradients`]) and cannot ask for anything beyond it. An attack is asynchronous straight-line code that may ask many
//! questions at once. The [`pool`] gathers the questions of many attacks into batches for several workers.

mod access;
mod budget;
mod halt;
mod objective;
pub mod pool;
mod question;
pub mod wrap;

use std::{future::Future, pin::Pin, str::FromStr};

pub use access::{Gradients, Labels, Scores};
pub use budget::{Budget, Counted, Spent};
pub use halt::Halt;
pub use objective::{Head, Linear, Objective, word as loss_word};
pub use onnx_grad::Loss;
pub use question::{Answer, Differential, Oracle, Question, Want};

use crate::{Error, Result, nearest::unknown};

/// A future that stays on its worker's thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What the attacker may see, weakest access first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Only the most likely class.
    Labels,
    /// Logits (or log-probabilities) of all classes.
    Scores,
    /// Gradients with respect to the pixels (white-box access).
    Gradients,
}

impl FromStr for Access {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Labels, Self::Scores, Self::Gradients];
        all.into_iter()
            .find(|access| access.word() == text)
            .ok_or_else(|| unknown("access", text, &all.map(Self::word)))
    }
}

impl Access {
    /// The word used in settings and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Scores => "scores",
            Self::Gradients => "gradients",
        }
    }
}

/// Returns the position of the largest value: the first of several equal values. NaN never wins.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (class, &value) in logits.iter().enumerate() {
        if value > logits[best] || logits[best].is_nan() {
            best = class;
        }
    }
    best
}

/// Returns the softmax probability of one class.
pub fn confidence(logits: &[f32], class: usize) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&z| f64::from(z - largest).exp()).sum();
    (f64::from(logits[class] - largest).exp() / sum) as f32
}
