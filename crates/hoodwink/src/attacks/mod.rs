//! Attacks: straight-line code for one image, one file each.
//!
//! An attack proposes a candidate; the judge alone decides whether it succeeded. [`ATTACKS`] lists them all; most are
//! recipes over a shared part such as [`Descent`].

mod bim;
mod descent;
mod fgsm;
#[cfg(test)]
mod laws;
mod loss;
mod noise;
mod options;
mod pgd;
pub mod random;
mod registry;
mod step;
#[cfg(test)]
pub(crate) mod toys;

use std::{future::Future, pin::Pin};

use rand_chacha::ChaCha8Rng;

pub use descent::Descent;
pub use loss::LossName;
pub use options::AttackOptions;
pub use registry::{ATTACKS, Entry, build_all, find};
pub use step::StepRule;
pub(crate) use step::Stepper;

use crate::{
    Error, Result,
    image::Image,
    oracle::{Access, Handle},
    threat::{Ball, Goal},
};

/// A future that lives on its worker's thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An attack with all its parameters.
pub trait Attack: Send + Sync {
    /// Name in the registry.
    fn name(&self) -> &'static str;

    /// The full recipe: every part and parameter, so that equal recipes mean equal attacks.
    fn recipe(&self) -> String;

    /// The least access it needs.
    fn access(&self) -> Access;

    /// Looks for an image in `case.ball` around `case.original` that reaches the goal.
    ///
    /// A spent budget is no error: it ends the attack with the best candidate so far.
    fn run<'a>(&'a self, case: Case<'a>) -> Local<'a, Result<Candidate>>;
}

/// One image to attack, and under which rules.
pub struct Case<'a> {
    /// The attacker's access to the model.
    pub oracle: &'a Handle,
    /// The image as it is.
    pub original: &'a Image,
    /// Where the attacker may move.
    pub ball: &'a Ball,
    /// What the attacker wants.
    pub goal: Goal,
    /// Randomness keyed by seed, sample and attack (see [`random::stream`]); the attack forks it for its restarts.
    pub rng: ChaCha8Rng,
}

impl Case<'_> {
    /// Refuses a ball other than the one the attack was built for.
    fn expect_ball(&self, built_for: &Ball) -> Result<()> {
        if self.ball == built_for {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "an attack built for {built_for:?} cannot search {:?}; build it for this ball",
            self.ball
        )))
    }
}

/// What an attack proposes.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The best image found.
    pub image: Image,
    /// Whether the model, asked by the attack about this very image, gave an answer that reaches the goal.
    pub reached: bool,
    /// The loss at every step of the restart that gave it; empty if the attack looks at none.
    pub loss: Vec<f32>,
    /// Whether every gradient seen was zero: failure then proves nothing.
    pub zero_gradient: bool,
    /// Whether the budget ended the attack before its own end.
    pub budget_spent: bool,
}

impl Candidate {
    /// The image as it is: what an attack has before it has seen anything.
    pub fn unchanged(original: &Image) -> Self {
        Self {
            image: original.clone(),
            reached: false,
            loss: Vec::new(),
            zero_gradient: false,
            budget_spent: false,
        }
    }
}
