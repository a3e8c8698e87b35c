//! Scores for "this picture shows no known class".

use std::str::FromStr;

use super::logits::{Logits, log_sum_exp, softmax};
use crate::{Error, Result, nearest::unknown};

/// How strange a picture is, from its logits alone. A larger score is stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// Minus the maximum softmax probability (Hendrycks & Gimpel, arXiv:1610.02136).
    Msp,
    /// Minus the largest logit (Hendrycks et al., arXiv:1911.11132).
    MaxLogit,
    /// Minus log(sum(exp(logits))), the free energy at temperature 1 (Liu et al., arXiv:2010.03759).
    Energy,
    /// The entropy of the softmax, in nats.
    Entropy,
}

impl Score {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Msp, Self::MaxLogit, Self::Energy, Self::Entropy];

    /// The word used in settings and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Msp => "msp",
            Self::MaxLogit => "max-logit",
            Self::Energy => "energy",
            Self::Entropy => "entropy",
        }
    }

    /// Of one picture.
    pub fn of(self, logits: &[f64]) -> f64 {
        let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self {
            Self::Msp => -largest(&softmax(logits)),
            Self::MaxLogit => -largest(logits),
            Self::Energy => -log_sum_exp(logits),
            Self::Entropy => {
                let terms = softmax(logits).into_iter().filter(|&p| p > 0.0);
                -terms.map(|p| p * p.ln()).sum::<f64>()
            }
        }
    }
}

impl FromStr for Score {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|score| score.word() == text);
        found.ok_or_else(|| unknown("score", text, &Self::ALL.map(Self::word)))
    }
}

/// How strange pictures are by one score.
#[derive(Clone, Debug, PartialEq)]
pub struct Outliers {
    /// What they are scored by.
    pub score: String,
    /// Scores of pictures of known classes.
    pub known: Vec<f64>,
    /// Scores of pictures of unknown ones.
    pub unknown: Vec<f64>,
}

impl Outliers {
    /// By a score of the logits of the classes in play.
    pub fn by(score: Score, known: &Logits, unknown: &Logits) -> Self {
        Self {
            score: score.word().to_owned(),
            known: known.rows().map(|row| score.of(row)).collect(),
            unknown: unknown.rows().map(|row| score.of(row)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_softmax_is_stranger_than_a_peak() {
        for score in Score::ALL {
            assert!(
                score.of(&[0.0, 0.0, 0.0]) > score.of(&[9.0, 0.0, 0.0]),
                "{score:?}"
            );
            assert_eq!(score.word().parse::<Score>().unwrap(), score);
        }
        let three = 3.0f64.ln();
        assert!((Score::Entropy.of(&[2.0; 3]) - three).abs() < 1e-15);
        assert!((Score::Energy.of(&[2.0; 3]) + 2.0 + three).abs() < 1e-15);
        assert!((Score::Msp.of(&[2.0; 3]) + 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(Score::MaxLogit.of(&[2.0, f64::NEG_INFINITY]), -2.0);
        assert_eq!(Score::Entropy.of(&[2.0, f64::NEG_INFINITY]), 0.0);
        assert!("mps".parse::<Score>().is_err());
    }
}
