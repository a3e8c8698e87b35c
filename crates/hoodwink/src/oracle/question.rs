//! Questions about a model, and their answers.

use super::{Budget, Local, Objective};
use crate::{Error, Result, image::Image};

/// A question about one point.
#[derive(Clone, Debug)]
pub struct Question {
    /// An image in pixel space. It need not lie on the 8-bit lattice.
    pub point: Image,
    /// The requested quantity.
    pub want: Want,
}

/// The quantity that a question asks for.
#[derive(Clone, Debug)]
pub enum Want {
    /// The logits: one forward pass.
    Logits,
    /// The logits, and the value and gradient of an objective: one forward pass and one backward pass.
    Gradient(Objective),
}

impl Question {
    /// Asks for the logits of a point.
    pub fn logits(point: &Image) -> Self {
        Self {
            point: point.clone(),
            want: Want::Logits,
        }
    }

    /// Asks for the gradient of an objective at a point.
    pub fn gradient(point: &Image, objective: Objective) -> Self {
        Self {
            point: point.clone(),
            want: Want::Gradient(objective),
        }
    }

    /// Returns whether the question asks for a gradient.
    pub fn is_for_gradient(&self) -> bool {
        matches!(self.want, Want::Gradient(_))
    }
}

/// Logits, and value and gradient of an objective, at one point.
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
    /// The answer to [`Want::Logits`]: one value per class.
    Logits(Vec<f32>),
    /// The answer to [`Want::Gradient`].
    Gradient(Differential),
}

impl Answer {
    /// Returns the logits, one value per class.
    pub fn into_logits(self) -> Vec<f32> {
        match self {
            Self::Logits(logits) => logits,
            Self::Gradient(differential) => differential.logits,
        }
    }

    /// Returns the differential, or an error if the answer holds logits only.
    pub fn into_differential(self) -> Result<Differential> {
        match self {
            Self::Gradient(differential) => Ok(differential),
            Self::Logits(_) => Err(Error::invalid(
                "the model returned logits instead of a gradient",
            )),
        }
    }
}

/// Something that answers questions: a model, or a wrapper between a model and an attack.
///
/// An oracle may be made of other oracles (see [`super::wrap`]) and pass questions on to them.
pub trait Oracle {
    /// Returns the answers in the order of the questions. All questions are asked at once.
    ///
    /// # Errors
    /// [`Error::Budget`] if the questions exceed the budget; then none of them was asked.
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>>;

    /// Returns the number of classes.
    fn classes(&self) -> usize;

    /// Returns the budget that is left.
    fn left(&self) -> Budget;
}
