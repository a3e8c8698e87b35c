//! One row: a sample under one attack, at one eps or without eps.

use serde::{Deserialize, Serialize};

use crate::threat::{Distances, Eps};

/// The model's answer to one picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The most likely class.
    pub label: u32,
    /// Its softmax probability, in \[0, 1\].
    pub confidence: f32,
}

/// The judge's verdict on one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The model's answer to it.
    pub seen: Seen,
    /// Whether it reaches the goal *and* satisfies the threat model.
    pub success: bool,
    /// Its measured distances from the original.
    pub norms: Distances,
}

impl Distances {
    /// Returns the distance in the norm of a threat model: `l0`, `l1`, `l2`, and `linf` for any other word.
    pub(crate) fn named(&self, norm: &str) -> f64 {
        match norm {
            "l0" => self.l0,
            "l1" => self.l1,
            "l2" => self.l2,
            _ => self.linf,
        }
    }
}

/// How the attack on one sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The model was wrong before any attack; nothing was attempted.
    AlreadyWrong,
    /// An earlier attack of the run broke this picture at the same eps; nothing was attempted.
    AlreadyBroken,
    /// The goal was reached within the threat model.
    Fooled,
    /// The attack ended without reaching the goal.
    Robust,
    /// The gradient was zero wherever the attack evaluated it, so its failure proves nothing.
    ZeroGradient,
    /// The budget was used up before the goal was reached.
    BudgetSpent,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 6] = [
        Self::AlreadyWrong,
        Self::AlreadyBroken,
        Self::Fooled,
        Self::Robust,
        Self::ZeroGradient,
        Self::BudgetSpent,
    ];

    /// Returns the word used in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::AlreadyWrong => "already-wrong",
            Self::AlreadyBroken => "already-broken",
            Self::Fooled => "fooled",
            Self::Robust => "robust",
            Self::ZeroGradient => "zero-gradient",
            Self::BudgetSpent => "budget-spent",
        }
    }

    /// Parses the word used in tables.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }
}

/// A sample under one attack, identified by its recipe, at one eps. A row without a judge's verdict is not a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Index of the sample in its data set.
    pub index: u64,
    /// Content hash of the sample's picture.
    pub sample: String,
    /// File or array row the sample came from.
    pub file: String,
    /// True label.
    pub label: u32,
    /// Name of the attack.
    pub attack: String,
    /// Its full recipe, as in `run.toml`.
    pub recipe: String,
    /// Radius of the ball in pixel space; `None` if the attack looked for the smallest distance and none was given.
    #[serde(with = "as_typed")]
    pub eps: Option<Eps>,
    /// The target class of targeted attacks.
    pub target: Option<u32>,
    /// The model's answer to the original.
    pub clean: Seen,
    /// How it ended.
    pub outcome: Outcome,
    /// The verdict on the candidate as the attack returned it; `None` if nothing was attempted.
    pub float: Option<Verdict>,
    /// The verdict on the 8-bit PNG, written and read back; `None` if nothing was attempted.
    pub saved: Option<Verdict>,
    /// The model's answer to the sign map of the perturbation, shown as a picture; `None` if it was not asked.
    pub noise: Option<Seen>,
    /// Forward passes the attack spent on this row.
    pub queries: u64,
    /// Gradients (each with its forward pass, not counted in `queries`) the attack spent on this row.
    pub gradients: u64,
    /// The loss at every step of the restart that produced the candidate.
    pub loss: Vec<f32>,
    /// The adversarial PNG, relative to the run folder; `None` if nothing was attempted. Rows of one attack at several
    /// eps may share one.
    pub picture: Option<String>,
}

impl Row {
    /// Returns the radius as typed, such as `8/255`.
    pub fn eps_text(&self) -> Option<&str> {
        self.eps.as_ref().map(Eps::text)
    }
}

/// Stores a radius as typed.
mod as_typed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::threat::Eps;

    pub(super) fn serialize<S: Serializer>(eps: &Option<Eps>, to: S) -> Result<S::Ok, S::Error> {
        eps.as_ref().map(Eps::text).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Eps>, D::Error> {
        let text = Option::<&str>::deserialize(from)?;
        text.map(str::parse).transpose().map_err(D::Error::custom)
    }
}
