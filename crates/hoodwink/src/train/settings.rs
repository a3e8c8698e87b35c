//! Training settings.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Adversarial, Architecture, Augment, Optimiser, Schedule};
use crate::{Error, Result, threat::Norm};

/// Training settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The layers.
    pub network: Architecture,
    /// Passes over the training pictures; at least 1.
    pub epochs: usize,
    /// Pictures per step; at least 1.
    pub batch: usize,
    /// The maximum learning rate.
    pub learning_rate: f64,
    /// The course of the learning rate after it reaches the maximum.
    pub schedule: Schedule,
    /// The rule of a training step.
    pub optimiser: Optimiser,
    /// The multiple of the weight that is added to its gradient.
    pub weight_decay: f64,
    /// Random changes of the training pictures.
    pub augment: Augment,
    /// Adversarial training; `None` for plain training.
    pub adversarial: Option<Adversarial>,
    /// Seed of the starting weights, the picture order, the augmentation and the attack's random starts.
    pub seed: u64,
    /// Worker threads; at least 1. The result does not depend on it.
    pub threads: usize,
}

/// The purpose of random numbers.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Weights,
    Order,
    Augment,
    Attack,
    HeldOutAttack,
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let attack_is_sound = self.adversarial.is_none_or(|attack| {
            attack.steps > 0 && positive(attack.step_size) && positive(attack.ball.eps)
        });
        let norm_is_sound = self
            .adversarial
            .is_none_or(|attack| Norm::CONVEX.contains(&attack.ball.norm));
        let momentum_is_sound = match self.optimiser {
            Optimiser::Sgd { momentum } => (0.0..1.0).contains(&momentum),
            Optimiser::Adam => true,
        };
        for (sound, wanted) in [
            (self.epochs > 0, "epochs must be at least 1"),
            (self.batch > 0, "the batch must be at least 1"),
            (
                positive(self.learning_rate),
                "the learning rate must be positive",
            ),
            (
                self.weight_decay.is_finite() && self.weight_decay >= 0.0,
                "the weight decay must not be negative",
            ),
            (momentum_is_sound, "the momentum must be in [0, 1)"),
            (
                attack_is_sound,
                "eps, step size and steps of adversarial training must be positive",
            ),
            (
                norm_is_sound,
                "the norm of adversarial training must be linf, l2 or l1",
            ),
        ] {
            if !sound {
                return Err(Error::invalid(wanted));
            }
        }
        Ok(())
    }

    /// Returns everything that the result depends on, as readable names and values.
    pub fn record(&self) -> BTreeMap<String, String> {
        // Destructured so that a new setting cannot be forgotten here.
        let Self {
            network,
            epochs,
            batch,
            learning_rate,
            schedule,
            optimiser,
            weight_decay,
            augment: Augment { shift, flip },
            adversarial,
            seed,
            threads: _,
        } = self;
        let attack = adversarial.map_or_else(|| "none".to_owned(), |attack| attack.to_string());
        [
            ("network", network.to_string()),
            ("epochs", epochs.to_string()),
            ("batch", batch.to_string()),
            ("learning rate", learning_rate.to_string()),
            ("schedule", schedule.to_string()),
            ("optimiser", optimiser.to_string()),
            ("weight decay", weight_decay.to_string()),
            ("shift", shift.to_string()),
            ("flip", flip.to_string()),
            ("attack", attack),
            ("seed", seed.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Returns a separate stream of random numbers for each purpose, epoch and picture.
    pub(super) fn rng(&self, purpose: Purpose, epoch: usize, row: usize) -> ChaCha8Rng {
        let mut key = [0; 32];
        let parts = [self.seed, purpose as u64, epoch as u64, row as u64];
        for (bytes, part) in key.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}
