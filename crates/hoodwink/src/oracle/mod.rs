//! Oracles: what an attacker may ask about a model.
//!
//! Access is a type. An attack states the least it needs ([`Labels`], [`Scores`] or [`Gradients`]) and cannot
//! ask for more. It is asynchronous straight-line code for one image; the [`batcher`] gathers the questions of
//! many images into batches.

pub mod batcher;
mod halt;
mod handle;

use std::{future::Future, str::FromStr};

pub use halt::Halt;
pub use handle::{Handle, Spent};
pub use onnx_grad::Loss;

use crate::{Error, Result, image::Image, nearest::unknown};

/// How much the attacker may see, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// The most likely class only.
    Labels,
    /// Logits (or log-probabilities) of all classes.
    Scores,
    /// Gradients with respect to the pixels: white box.
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

/// What a gradient is taken of: a loss with its classes. All losses grow as the attack succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective {
    /// The loss.
    pub loss: Loss,
    /// The true class.
    pub label: usize,
    /// The class aimed at; needed by targeted losses, ignored by the others.
    pub target: Option<usize>,
}

/// The answer to a question for a gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// One value per class.
    pub logits: Vec<f32>,
    /// Value of the loss.
    pub loss: f32,
    /// Gradient of the loss with respect to the pixels.
    pub gradient: Image,
}

/// Decision-based access.
pub trait Labels {
    /// The most likely class of an image in pixel space.
    fn label(&self, x: &Image) -> impl Future<Output = Result<usize>>;
}

/// Score-based access.
pub trait Scores: Labels {
    /// The logits of an image in pixel space, one per class.
    fn logits(&self, x: &Image) -> impl Future<Output = Result<Vec<f32>>>;
}

/// White-box access.
pub trait Gradients: Scores {
    /// Logits, loss and gradient at an image in pixel space, in one pass.
    fn gradient(&self, x: &Image, objective: Objective) -> impl Future<Output = Result<Seen>>;
}

/// Position of the largest value; the first of equals. NaN never wins.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (class, &value) in logits.iter().enumerate() {
        if value > logits[best] || logits[best].is_nan() {
            best = class;
        }
    }
    best
}

/// Softmax probability of one class.
pub fn confidence(logits: &[f32], class: usize) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&z| f64::from(z - largest).exp()).sum();
    (f64::from(logits[class] - largest).exp() / sum) as f32
}
