//! One image to attack, and under which rules.

use rand_chacha::ChaCha8Rng;

use crate::{
    Result,
    image::Image,
    oracle::{Objective, argmax},
    threat::{Goal, Region},
};

use super::LossName;

/// One image to attack, and under which rules.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where the attacker may move, around the image as it is.
    pub region: Region,
    /// What the attacker wants.
    pub goal: Goal,
    /// Pictures that an attack may begin at: of the class aimed at, or of other classes than the true one. Whether the model
    /// sees them as such is not known.
    pub starts: Vec<Image>,
    /// Randomness keyed by seed, sample and attack (see [`super::random::stream`]); the attack forks it for its restarts.
    pub rng: ChaCha8Rng,
}

impl Case {
    /// The image as it is.
    pub fn original(&self) -> &Image {
        &self.region.center
    }

    /// The radius, for an attack that has one; 0 where there is none.
    pub fn eps(&self) -> f64 {
        self.region.radius.unwrap_or(0.0)
    }

    /// The objective of this name for the goal, on a model with so many classes.
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

    /// The largest difference between a class that would do and one that would not: at least 0 where the goal is reached.
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
