//! Natural adversarial examples: how a model does on real, unmodified pictures that fool models.
//!
//! The measures follow Hendrycks et al., "Natural adversarial examples" (CVPR 2021, arXiv:1907.07174): accuracy over a subset
//! of the classes, calibration, the order of confidences, and how well unknown objects are told from known ones. All of
//! them are computed from logits and labels alone, in double precision, so that they can be taken of any model.
//!
//! Four conventions hold everywhere:
//! - The logits of the classes in play are selected *before* softmax and argmax ([`Subset`]).
//! - Among equal logits the lower class number comes first, and how many pictures that decides is reported.
//! - What cannot be measured is *undefined*: NaN here, `null` in JSON, never 0.
//! - Where the published script differs from the definition, the definition is the default ([`Definition`]).

mod accuracy;
mod answers;
mod asking;
mod bootstrap;
mod calibration;
mod classes;
mod confusions;
mod crops;
mod detection;
mod evaluation;
mod gallery;
mod ilsvrc;
mod logits;
mod measures;
mod objectnet;
mod odin;
mod outliers;
mod page;
mod ranked;
mod scatter;
mod selective;
mod sets;
mod significance;
mod subset;
mod tables;
mod temperature;
mod text;

pub use answers::Answers;
pub use asking::{Asked, AskedUnknown, Asking};
pub use bootstrap::Resampling;
pub use classes::{Attractor, ClassRow, Spread};
pub use confusions::Confusion;
pub use detection::{Detection, Recall};
pub use evaluation::{Evaluation, Given, Report, Settings};
pub use gallery::WrongAnswer;
pub use logits::{Logits, read_labels};
pub use measures::{Measures, Unmasked};
pub use odin::Odin;
pub use outliers::{Outliers, Score};
pub use page::{Part, page};
pub use sets::{Classes, PictureSet};
pub use subset::Subset;
pub use tables::{Correlation, ModelRow, ModelTable};
pub use text::plain;

use std::str::FromStr;

use crate::{Error, Result, nearest::unknown};

/// Whose definitions are used where the published script and the literature differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Definition {
    /// All bins count in the calibration errors, the temperature has no bounds, and FPR95 is taken at the first threshold
    /// that reaches a recall of 95%.
    #[default]
    Standard,
    /// What the script `calibration_tools.py` of natural-adv-examples computes: it leaves the last bin, that of the surest
    /// pictures, out of the calibration errors, looks for the temperature from 0.2 to 5 only, and takes FPR95 at the recall
    /// nearest to 95%.
    Nae,
}

impl Definition {
    /// The word used in settings and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Nae => "nae",
        }
    }
}

impl FromStr for Definition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Standard, Self::Nae];
        all.into_iter()
            .find(|definition| definition.word() == text)
            .ok_or_else(|| unknown("definition", text, &all.map(Self::word)))
    }
}

#[cfg(test)]
mod tests;
