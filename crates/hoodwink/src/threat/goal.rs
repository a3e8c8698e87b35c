//! The attacker's goal.

use std::{fmt, str::FromStr};

use rand::{Rng, RngExt};

use crate::{Error, Result, nearest::did_you_mean, oracle::argmax};

/// The attacker's goal for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Any class except the true one.
    Untargeted {
        /// The true class.
        label: usize,
    },
    /// One particular class.
    Targeted {
        /// The true class.
        label: usize,
        /// The target class.
        target: usize,
    },
}

impl Goal {
    /// Returns whether a prediction with these logits reaches the goal. Logits with a NaN never do.
    pub fn reached(self, logits: &[f32]) -> bool {
        !logits.iter().any(|logit| logit.is_nan()) && self.reached_by(argmax(logits))
    }

    /// Returns whether this most likely class reaches the goal.
    pub fn reached_by(self, predicted: usize) -> bool {
        match self {
            Self::Untargeted { label } => predicted != label,
            Self::Targeted { target, .. } => predicted == target,
        }
    }

    /// Returns the true class.
    pub fn label(self) -> usize {
        match self {
            Self::Untargeted { label } | Self::Targeted { label, .. } => label,
        }
    }

    /// Returns the target class, if there is one.
    pub fn target(self) -> Option<usize> {
        match self {
            Self::Untargeted { .. } => None,
            Self::Targeted { target, .. } => Some(target),
        }
    }
}

/// How to choose the target class of each picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChoice {
    /// This class. Pictures of this class are left out.
    Class(usize),
    /// The most likely wrong class of the original.
    MostLikely,
    /// The least likely wrong class of the original.
    LeastLikely,
    /// Any wrong class, uniformly.
    Random,
}

impl TargetChoice {
    /// The choices that are words instead of numbers.
    pub const WORDS: [&str; 3] = ["most-likely", "least-likely", "random"];

    /// Returns the target class, given the logits of the original, or `None` if the picture already has that class.
    pub fn choose(self, label: usize, logits: &[f32], rng: &mut impl Rng) -> Option<usize> {
        let others = || (0..logits.len()).filter(|&class| class != label);
        match self {
            Self::Class(class) => (class != label).then_some(class),
            Self::MostLikely => {
                let mut rivals = logits.to_vec();
                *rivals.get_mut(label)? = f32::NEG_INFINITY;
                Some(argmax(&rivals)).filter(|&class| class != label)
            }
            Self::LeastLikely => others().min_by(|&a, &b| logits[a].total_cmp(&logits[b])),
            Self::Random => {
                let count = others().count();
                (count > 0).then(|| others().nth(rng.random_range(0..count)))?
            }
        }
    }
}

impl FromStr for TargetChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "most-likely" => Ok(Self::MostLikely),
            "least-likely" => Ok(Self::LeastLikely),
            "random" => Ok(Self::Random),
            _ => text.parse().map(Self::Class).map_err(|_| {
                let meant = did_you_mean(text, Self::WORDS);
                Error::invalid(format!(
                    "target {text:?} is neither a class number nor most-likely, least-likely or random{meant}"
                ))
            }),
        }
    }
}

impl fmt::Display for TargetChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(f, "{class}"),
            Self::MostLikely => f.write_str("most-likely"),
            Self::LeastLikely => f.write_str("least-likely"),
            Self::Random => f.write_str("random"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn targets_are_chosen_as_named() {
        let logits = [0.1, 3.0, -2.0, 1.0];
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut choose = |text: &str, label| {
            text.parse::<TargetChoice>()
                .unwrap()
                .choose(label, &logits, &mut rng)
        };
        assert_eq!(choose("2", 1), Some(2));
        assert_eq!(choose("1", 1), None);
        assert_eq!(choose("most-likely", 1), Some(3));
        assert_eq!(choose("most-likely", 0), Some(1));
        assert_eq!(choose("least-likely", 1), Some(2));
        assert_eq!(choose("least-likely", 2), Some(0));
        for _ in 0..50 {
            assert!(matches!(choose("random", 1), Some(0 | 2 | 3)));
        }
        assert!("nearest".parse::<TargetChoice>().is_err());
    }

    #[test]
    fn a_goal_is_reached_by_the_most_likely_class() {
        let logits = [0.0, 2.0, 1.0];
        assert!(Goal::Untargeted { label: 0 }.reached(&logits));
        assert!(!Goal::Untargeted { label: 1 }.reached(&logits));
        assert!(!Goal::Untargeted { label: 0 }.reached(&[f32::NAN, 2.0, 1.0]));
        assert!(
            Goal::Targeted {
                label: 0,
                target: 1
            }
            .reached(&logits)
        );
        assert!(
            !Goal::Targeted {
                label: 0,
                target: 2
            }
            .reached(&logits)
        );
    }
}
