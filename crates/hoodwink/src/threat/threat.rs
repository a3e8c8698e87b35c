//! What the attacker wants, may know and may do.

use super::{Norm, TargetChoice};
use crate::oracle::{Access, Budget};

/// What the attacker wants, may know and may do: the same for every sample.
#[derive(Clone, Debug)]
pub struct Threat {
    /// How distances are measured.
    pub norm: Norm,
    /// How targets are chosen; `None` is untargeted.
    pub target: Option<TargetChoice>,
    /// The most the attacker may see.
    pub access: Access,
    /// Limits for each sample and attack.
    pub budget: Budget,
}

impl Threat {
    /// What an attack on a model with so many classes is to work under.
    pub fn conditions(&self, classes: usize) -> Conditions {
        Conditions {
            norm: self.norm,
            targeted: self.target.is_some(),
            classes,
        }
    }
}

/// What an attack is to work under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// How distances are measured.
    pub norm: Norm,
    /// Whether a certain class is aimed at.
    pub targeted: bool,
    /// How many classes the model tells apart.
    pub classes: usize,
}
