//! Losses by name.

use std::{fmt, str::FromStr};

use crate::{Error, Result, nearest::unknown, oracle::Loss};

/// A loss by its name. With a target it takes its targeted form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossName {
    /// Cross-entropy.
    #[default]
    Ce,
    /// Difference of two logits (Carlini and Wagner, arXiv 1608.04644).
    Margin,
    /// Difference of logits ratio (Croce and Hein, arXiv 2003.01690).
    Dlr,
    /// Away from the true class and towards the target class at once; needs a target.
    TwoTerm,
}

impl LossName {
    /// All names.
    pub const ALL: [Self; 4] = [Self::Ce, Self::Margin, Self::Dlr, Self::TwoTerm];

    /// The names as text.
    pub const WORDS: [&'static str; 4] = ["ce", "margin", "dlr", "two-term"];

    /// Returns the name as settings spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ce => "ce",
            Self::Margin => "margin",
            Self::Dlr => "dlr",
            Self::TwoTerm => "two-term",
        }
    }

    /// Returns the loss for a targeted or untargeted goal on a model with this many classes.
    pub fn resolve(self, targeted: bool, classes: usize) -> Result<Loss> {
        let loss = match (self, targeted) {
            (Self::Ce, false) => Loss::CrossEntropy,
            (Self::Ce, true) => Loss::CrossEntropyTargeted,
            (Self::Margin, false) => Loss::Margin,
            (Self::Margin, true) => Loss::MarginTargeted,
            (Self::Dlr, false) => Loss::Dlr,
            (Self::Dlr, true) => Loss::DlrTargeted,
            (Self::TwoTerm, true) => Loss::TwoTerm,
            (Self::TwoTerm, false) => {
                return Err(Error::invalid(
                    "the loss two-term needs a target class; set a target, or use the loss ce",
                ));
            }
        };
        let needed = loss.least_classes();
        if classes < needed {
            let way_on = if classes < 2 {
                ""
            } else {
                "; use the loss margin"
            };
            return Err(Error::invalid(format!(
                "the loss {self} needs {needed} classes{}, but the model has {classes}{way_on}",
                if targeted { " with a target" } else { "" },
            )));
        }
        Ok(loss)
    }
}

impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for LossName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|name| name.word() == text)
            .ok_or_else(|| unknown("loss", text, &Self::WORDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_chooses_the_form_of_the_loss() {
        for (text, untargeted, targeted) in [
            ("ce", Some(Loss::CrossEntropy), Loss::CrossEntropyTargeted),
            ("margin", Some(Loss::Margin), Loss::MarginTargeted),
            ("dlr", Some(Loss::Dlr), Loss::DlrTargeted),
            ("two-term", None, Loss::TwoTerm),
        ] {
            let name: LossName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.resolve(false, 4).ok(), untargeted);
            assert_eq!(name.resolve(true, 4).unwrap(), targeted);
        }
        assert!("hinge".parse::<LossName>().is_err());
        assert_eq!(LossName::ALL.map(LossName::word), LossName::WORDS);
    }

    #[test]
    fn too_few_classes_for_dlr_name_the_way_on() {
        for (targeted, classes) in [(false, 2), (true, 3)] {
            let refused = LossName::Dlr.resolve(targeted, classes).unwrap_err();
            assert!(refused.to_string().contains("loss margin"), "{refused}");
            assert!(LossName::Dlr.resolve(targeted, classes + 1).is_ok());
        }
    }
}
