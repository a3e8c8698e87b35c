//! What looked wrong before a run: it stands in `run.toml`, and beside every figure that it spoils.

use serde::{Deserialize, Serialize};

use crate::lint::{Finding, Mistake};

/// One finding of the lint, as `run.toml` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingRecord {
    /// What kind of mistake it looks like.
    pub mistake: Mistake,
    /// What was seen, in a sentence.
    pub saw: String,
    /// Why it matters, in a sentence.
    pub matters: String,
    /// What to do about it, in a sentence or as flags.
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

/// Which figures of a run cannot be relied on, and why in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoils {
    /// None of them.
    Nothing,
    /// All of them: the model that was measured is not the one that anybody uses.
    Everything(&'static str),
    /// Accuracy under attack: attacks look weaker than they are.
    Robustness(&'static str),
}

impl FindingRecord {
    /// Which figures it spoils.
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
            Mistake::Saturated => {
                Spoils::Robustness("the confidence is saturated, so gradients vanish")
            }
            // A few pictures of many.
            Mistake::Contradiction => Spoils::Nothing,
        }
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        format!("{}; {}. Try: {}", self.saw, self.matters, self.remedy)
    }
}

/// What makes a figure doubtful, in a few words; empty for a figure that can be relied on.
///
/// `under_attack` is whether the figure is about what an attack left.
pub(super) fn doubts(findings: &[FindingRecord], under_attack: bool) -> Vec<String> {
    let word = |finding: &FindingRecord| match finding.spoils() {
        Spoils::Everything(word) => Some(word.to_owned()),
        Spoils::Robustness(word) if under_attack => Some(word.to_owned()),
        Spoils::Robustness(_) | Spoils::Nothing => None,
    };
    findings.iter().filter_map(word).collect()
}
