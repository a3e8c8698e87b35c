//! Losses by name, and their values from logits.

use std::{fmt, str::FromStr};

use crate::{
    Error, Result,
    nearest::unknown,
    oracle::{Loss, Objective},
    threat::Goal,
};

/// A loss as people name it; a targeted goal takes its targeted form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossName {
    /// Cross-entropy.
    #[default]
    Ce,
    /// Difference of two logits (Carlini and Wagner, arXiv 1608.04644).
    Margin,
    /// Difference of logits ratio (Croce and Hein, arXiv 2003.01690).
    Dlr,
    /// Away from the truth and towards the target at once; targeted goals only.
    TwoTerm,
}

impl LossName {
    /// All names.
    pub const ALL: [Self; 4] = [Self::Ce, Self::Margin, Self::Dlr, Self::TwoTerm];

    /// The word used in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ce => "ce",
            Self::Margin => "margin",
            Self::Dlr => "dlr",
            Self::TwoTerm => "two-term",
        }
    }

    /// The loss for this kind of goal on a model with this many classes.
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
                    "loss two-term needs a target; choose one, or take --loss ce",
                ));
            }
        };
        let needed = loss.least_classes();
        if classes < needed {
            let way_on = if classes < 2 {
                ""
            } else {
                "; take --loss margin"
            };
            return Err(Error::invalid(format!(
                "loss {} needs {needed} classes and the model has {classes}{way_on}",
                word(loss)
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
            .ok_or_else(|| unknown("loss", text, &Self::ALL.map(Self::word)))
    }
}

/// The word used in recipes.
pub(super) fn word(loss: Loss) -> &'static str {
    match loss {
        Loss::CrossEntropy => "ce",
        Loss::CrossEntropyTargeted => "ce-targeted",
        Loss::TwoTerm => "two-term",
        Loss::Margin => "margin",
        Loss::MarginTargeted => "margin-targeted",
        Loss::Dlr => "dlr",
        Loss::DlrTargeted => "dlr-targeted",
    }
}

/// The objective of a loss for one picture; refused where loss and goal are not both targeted or both untargeted.
pub(super) fn objective(loss: Loss, goal: Goal) -> Result<Objective> {
    if loss.is_targeted() != goal.target().is_some() {
        return Err(Error::invalid(format!(
            "loss {} does not fit the goal {goal:?}",
            word(loss)
        )));
    }
    Ok(Objective {
        loss,
        label: goal.label(),
        target: goal.target(),
    })
}

/// Keeps the ratio of the DLR losses finite, as in the paper's own implementation.
const DLR_FLOOR: f64 = 1e-12;

/// The value of an objective at these logits, in double precision inside.
///
/// The engine gives the loss with each gradient; this serves where only logits were asked for. A class that the model
/// does not have is an error.
pub(super) fn value(objective: Objective, logits: &[f32]) -> Result<f32> {
    let Objective {
        loss,
        label,
        target,
    } = objective;
    let logit = |class: usize| {
        logits.get(class).copied().map(f64::from).ok_or_else(|| {
            Error::invalid(format!(
                "class {class} was named and the model has {}",
                logits.len()
            ))
        })
    };
    let aim = || {
        let target = target.ok_or_else(|| Error::invalid("a targeted loss needs a target"))?;
        logit(target)
    };
    let rival = |class: usize| {
        let others = (0..logits.len()).filter(|&other| other != class);
        others.fold(f64::NEG_INFINITY, |most, other| {
            most.max(f64::from(logits[other]))
        })
    };
    let ranked = |rank: usize| {
        let mut sorted = logits.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        sorted.get(rank).copied().map(f64::from).ok_or_else(|| {
            Error::invalid(format!(
                "loss {} needs more classes than the {} of the model; take --loss margin",
                word(loss),
                logits.len()
            ))
        })
    };
    let value = match loss {
        Loss::CrossEntropy => log_sum_exp(logits) - logit(label)?,
        Loss::CrossEntropyTargeted => aim()? - log_sum_exp(logits),
        Loss::TwoTerm => aim()? - logit(label)?,
        Loss::Margin => rival(label) - logit(label)?,
        Loss::MarginTargeted => aim()? - rival(target.unwrap_or(label)),
        Loss::Dlr => {
            let spread = ranked(0)? - ranked(2)?;
            (rival(label) - logit(label)?) / (spread + DLR_FLOOR)
        }
        Loss::DlrTargeted => {
            let spread = ranked(0)? - 0.5 * (ranked(2)? + ranked(3)?);
            (aim()? - logit(label)?) / (spread + DLR_FLOOR)
        }
    };
    Ok(value as f32)
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let largest = f64::from(largest);
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with PyTorch 2.15 in float64 from the formulas of the papers.
    #[test]
    fn values_are_those_of_pytorch() {
        let logits = [1.5, -0.25, 3.0, 0.75, -2.0];
        for (loss, expected) in [
            (Loss::CrossEntropy, 1.8177564259058276),
            (Loss::CrossEntropyTargeted, -2.5677564259058276),
            (Loss::TwoTerm, -0.75),
            (Loss::Margin, 1.5),
            (Loss::MarginTargeted, -2.25),
            (Loss::Dlr, 0.6666666666663703),
            (Loss::DlrTargeted, -0.27272727272717356),
        ] {
            let objective = Objective {
                loss,
                label: 0,
                target: Some(3),
            };
            let found = f64::from(value(objective, &logits).unwrap());
            assert!((found - expected).abs() < 1e-6, "{loss:?}: {found}");
        }
    }

    #[test]
    fn values_without_their_classes_are_errors() {
        let objective = |loss, label, target| Objective {
            loss,
            label,
            target,
        };
        for (objective, logits) in [
            (objective(Loss::CrossEntropy, 2, None), [0.0, 1.0]),
            (objective(Loss::TwoTerm, 0, None), [0.0, 1.0]),
            (objective(Loss::MarginTargeted, 0, Some(2)), [0.0, 1.0]),
            (objective(Loss::Dlr, 0, None), [0.0, 1.0]),
            (objective(Loss::DlrTargeted, 0, Some(1)), [0.0, 1.0]),
        ] {
            assert!(value(objective, &logits).is_err(), "{objective:?}");
        }
    }

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
    }

    #[test]
    fn too_few_classes_for_dlr_name_the_way_on() {
        for (targeted, classes) in [(false, 2), (true, 3)] {
            let refused = LossName::Dlr.resolve(targeted, classes).unwrap_err();
            assert!(refused.to_string().contains("--loss margin"), "{refused}");
            assert!(LossName::Dlr.resolve(targeted, classes + 1).is_ok());
        }
    }

    #[test]
    fn a_loss_and_a_goal_of_different_kinds_are_refused() {
        let untargeted = Goal::Untargeted { label: 0 };
        let targeted = Goal::Targeted {
            label: 0,
            target: 1,
        };
        assert!(objective(Loss::CrossEntropy, untargeted).is_ok());
        assert!(objective(Loss::CrossEntropy, targeted).is_err());
        assert!(objective(Loss::TwoTerm, targeted).is_ok());
        assert!(objective(Loss::TwoTerm, untargeted).is_err());
    }
}
