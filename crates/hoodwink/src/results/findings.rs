//! What looked wrong before a run: stored in `run.toml`, and shown next to every figure that it affects.

use serde::{Deserialize, Serialize};

use crate::lint::{Finding, Mistake};

/// One finding of the lint, as stored in `run.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingRecord {
    /// The probable mistake.
    pub mistake: Mistake,
    /// What was observed, as a sentence.
    pub saw: String,
    /// Why it matters, as a sentence.
    pub matters: String,
    /// What to do about it, as a sentence or as flags.
    pub remedy: String,
}

impl From<&Finding> for FindingRecord {
    fn from(finding: &Finding) -> Self {
        Self {
            mistake: finding.mistake,
            saw: finding.saw.clone(),
            matters: finding.matters.to_string(),
            remedy: finding.remedy.clone(),
        }
    }
}

/// Which figures of a run are unreliable, with a short reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoils {
    /// None of them.
    Nothing,
    /// All figures: the measured model is not the one that anybody uses.
    Everything(&'static str),
    /// Accuracy under attack: attacks look weaker than they are.
    Robustness(&'static str),
}

impl FindingRecord {
    /// Returns which figures it affects.
    pub fn spoils(&self) -> Spoils {
        match self.mistake {
            Mistake::Preprocessing => Spoils::Everything("the preprocessing looks wrong"),
            Mistake::Labels => Spoils::Everything("the labels look wrong"),
            Mistake::Chance => Spoils::Everything("the model may only be guessing"),
            Mistake::NotANumber => Spoils::Everything("some answers of the model are not numbers"),
            Mistake::Random => {
                Spoils::Everything("the model's answers change when it is asked again")
            }
            Mistake::Probabilities => {
                Spoils::Robustness("the answers are probabilities, so gradients are too small")
            }
            Mistake::Saturated => Spoils::Robustness(
                "the confidence is saturated, so cross-entropy values are too small to compare",
            ),
            // These concern a few pictures of many.
            Mistake::Contradiction => Spoils::Nothing,
        }
    }

    /// Formats it as one line.
    pub fn line(&self) -> String {
        format!("{}; {}. Try: {}", self.saw, self.matters, self.remedy)
    }
}

/// Returns the reasons to doubt a figure, in a few words each; empty for a reliable figure.
///
/// `under_attack` states whether the figure measures the model under attack.
pub(super) fn doubts(findings: &[FindingRecord], under_attack: bool) -> Vec<String> {
    let word = |finding: &FindingRecord| match finding.spoils() {
        Spoils::Everything(word) => Some(word.to_owned()),
        Spoils::Robustness(word) if under_attack => Some(word.to_owned()),
        Spoils::Robustness(_) | Spoils::Nothing => None,
    };
    findings.iter().filter_map(word).collect()
}
