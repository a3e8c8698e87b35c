//! Attacks: straight-line code for one image, one file each.
//!
//! An attack proposes a candidate; the judge alone decides whether it succeeded.

use std::{future::Future, pin::Pin};

use rand_chacha::ChaCha8Rng;

use crate::{
    Result,
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
    /// Randomness keyed by seed, sample and attack; the attack keys its restarts itself.
    pub rng: ChaCha8Rng,
}

/// What an attack proposes.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The best image found.
    pub image: Image,
    /// The loss at every step of the restart that gave it; empty if the attack looks at none.
    pub loss: Vec<f32>,
    /// Whether every gradient seen was zero: failure then proves nothing.
    pub zero_gradient: bool,
}
