//! Questions about a model, and their answers.

use super::{Budget, Local, Objective};
use crate::{Error, Result, image::Image};

/// What is asked about one point.
#[derive(Clone, Debug)]
pub struct Question {
    /// An image in pixel space; it need not lie on the 8-bit lattice.
    pub point: Image,
    /// What is wanted there.
    pub want: Want,
}

/// What a question is for.
#[derive(Clone, Debug)]
pub enum Want {
    /// The logits: one forward pass.
    Logits,
    /// The logits, the value of an objective and its gradient: one forward pass and one backward.
    Gradient(Objective),
}

impl Question {
    /// For the logits of a point.
    pub fn logits(point: &Image) -> Self {
        Self {
            point: point.clone(),
            want: Want::Logits,
        }
    }

    /// For the gradient of an objective at a point.
    pub fn gradient(point: &Image, objective: Objective) -> Self {
        Self {
            point: point.clone(),
            want: Want::Gradient(objective),
        }
    }

    /// Whether it is for a gradient.
    pub fn is_for_gradient(&self) -> bool {
        matches!(self.want, Want::Gradient(_))
    }
}

/// What a model is like at a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Differential {
    /// One value per class.
    pub logits: Vec<f32>,
    /// Value of the objective.
    pub loss: f32,
    /// Gradient of the objective with respect to the pixels.
    pub gradient: Image,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Want::Logits`]: one value per class.
    Logits(Vec<f32>),
    /// To [`Want::Gradient`].
    Gradient(Differential),
}

impl Answer {
    /// One value per class.
    pub fn into_logits(self) -> Vec<f32> {
        match self {
            Self::Logits(logits) => logits,
            Self::Gradient(differential) => differential.logits,
        }
    }

    /// The differential; an error for the answer to another question.
    pub fn into_differential(self) -> Result<Differential> {
        match self {
            Self::Gradient(differential) => Ok(differential),
            Self::Logits(_) => Err(Error::invalid("the model answered another question")),
        }
    }
}

/// Something that answers questions: a model, or what stands between it and an attack.
///
/// An oracle may be made of others (see [`super::wrap`]): what it is asked becomes questions to them.
pub trait Oracle {
    /// The answers, in the order of the questions. All are asked at once.
    ///
    /// # Errors
    /// [`Error::Budget`] if they are more than may still be asked; then none of them was.
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>>;

    /// How many classes the model tells apart.
    fn classes(&self) -> usize;

    /// How many questions of this oracle may still be asked.
    fn left(&self) -> Budget;
}
