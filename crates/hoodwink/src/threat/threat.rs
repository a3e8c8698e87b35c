//! The threat: what the attacker wants, may know and may do.

use super::{Norm, TargetChoice};
use crate::oracle::{Access, Budget};

/// What the attacker wants, may know and may do. It is the same for every sample.
#[derive(Clone, Debug)]
pub struct Threat {
    /// The norm that measures distances.
    pub norm: Norm,
    /// How targets are chosen; `None` for untargeted attacks.
    pub target: Option<TargetChoice>,
    /// The maximum access.
    pub access: Access,
    /// Limits for each sample and attack.
    pub budget: Budget,
}

impl Threat {
    /// Returns the conditions of an attack on a model with this number of classes.
    pub fn conditions(&self, classes: usize) -> Conditions {
        Conditions {
            norm: self.norm,
            targeted: self.target.is_some(),
            classes,
        }
    }
}

/// The conditions under which an attack works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The norm that measures distances.
    pub norm: Norm,
    /// Whether there is a target class.
    pub targeted: bool,
    /// The number of classes.
    pub classes: usize,
}
