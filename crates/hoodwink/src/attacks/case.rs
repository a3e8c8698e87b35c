//! One image to attack, with the rules.

use rand_chacha::ChaCha8Rng;

use crate::{
    Result,
    image::Image,
    oracle::{Objective, argmax},
    threat::{Goal, Region},
};

use super::LossName;

/// One image to attack, with the rules.
#[derive(Clone, Debug)]
pub struct Case {
    /// The region around the original in which the attacker may move.
    pub region: Region,
    /// The attacker's goal.
    pub goal: Goal,
    /// Pictures that an attack may start from: of the target class, or of any class except the true one. The model may
    /// classify them differently.
    pub starts: Vec<Image>,
    /// Randomness keyed by seed, sample and attack (see [`super::random::stream`]). The attack forks it for its
    /// restarts.
    pub rng: ChaCha8Rng,
}

impl Case {
    /// Returns the original image.
    pub fn original(&self) -> &Image {
        &self.region.center
    }

    /// Returns the radius, or 0 if there is none.
    pub fn eps(&self) -> f64 {
        self.region.radius.unwrap_or(0.0)
    }

    /// Returns the objective with this loss for the goal, on a model with `classes` classes.
    ///
    /// # Errors
    /// A loss that does not fit the goal or the number of classes.
    pub fn objective(&self, loss: LossName, classes: usize) -> Result<Objective> {
        Ok(Objective::Loss {
            loss: loss.resolve(self.goal.target().is_some(), classes)?,
            label: self.goal.label(),
            target: self.goal.target(),
        })
    }

    /// Returns the largest difference between the logit of a class that reaches the goal and one that does not. It is
    /// at least 0 if the goal is reached.
    pub fn margin(&self, logits: &[f32]) -> f32 {
        let own = self.goal.target().unwrap_or(self.goal.label());
        let mut others = logits.to_vec();
        others[own] = f32::NEG_INFINITY;
        let margin = logits[own] - others[argmax(&others)];
        match self.goal {
            Goal::Targeted { .. } => margin,
            Goal::Untargeted { .. } => -margin,
        }
    }
}
