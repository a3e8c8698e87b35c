//! Objectives: the quantities that gradients are taken of. All are to be maximised.
//!
//! One program serves all objectives. After the model it takes one [`Head`] per row. The head says how to compute the
//! cotangent of the logits from linear terms, a softmax (or a maximum) over the eligible classes, and a ratio. The
//! positive factor of the gradient and the value itself are computed here from the logits, in double precision.

use std::sync::Arc;

use onnx_grad::Loss;

use crate::{Error, Result};

/// The quantity that a gradient is taken of.
#[derive(Clone, Debug, PartialEq)]
pub enum Objective {
    /// A loss with the classes that it needs.
    Loss {
        /// The loss.
        loss: Loss,
        /// The true class.
        label: usize,
        /// The target class. Targeted losses need it; the others ignore it.
        target: Option<usize>,
    },
    /// A linear combination of the logits, with one weight per class.
    Linear(Arc<[f32]>),
    /// `-KL(q || p)`: moves towards these probabilities (soft labels), one per class.
    Towards(Arc<[f32]>),
    /// `KL(q || p)`: moves away from these probabilities.
    AwayFrom(Arc<[f32]>),
}

/// A recipe that computes an objective's cotangent from the logits `z`, up to a positive factor ([`Objective::scale`]).
///
/// `c = linear + pull * p`. Here `p` is the softmax over the eligible classes or, if `hard`, 1 at the first largest of
/// them. The cotangent is `c - (c . z) / (d . z + floor) * d`, where `d` has weight `spread[k]` at the class of the
/// `k`-th largest logit.
#[derive(Clone, Debug, PartialEq)]
pub struct Head<'a> {
    /// The constant part.
    pub linear: Linear<'a>,
    /// The class that is not eligible.
    pub out: Option<usize>,
    /// Factor of `p`.
    pub pull: f32,
    /// Whether `p` marks the maximum instead of being a softmax.
    pub hard: bool,
    /// Weights of the largest logits in the denominator of a ratio, largest logit first.
    pub spread: [f32; 4],
    /// Added to the denominator; 1 if there is no ratio.
    pub floor: f32,
}

/// The constant part of a cotangent.
#[derive(Clone, Debug, PartialEq)]
pub enum Linear<'a> {
    /// These weights at these classes, and 0 at the others.
    At([(usize, f32); 2]),
    /// These weights multiplied by a factor.
    Times(f32, &'a [f32]),
}

/// Keeps the ratio of the DLR losses finite, as in the paper's own implementation.
const DLR_FLOOR: f64 = 1e-12;

impl Objective {
    /// Returns the recipe for the cotangent.
    ///
    /// # Errors
    /// A class that the model doesn't have, a targeted loss without a target class, too few classes for the loss, or a
    /// number of weights that differs from the number of classes.
    pub fn head(&self, classes: usize) -> Result<Head<'_>> {
        let plain = Head {
            linear: Linear::At([(0, 0.0); 2]),
            out: None,
            pull: 0.0,
            hard: false,
            spread: [0.0; 4],
            floor: 1.0,
        };
        let (loss, label, target) = match self {
            Self::Loss {
                loss,
                label,
                target,
            } => (*loss, *label, *target),
            Self::Linear(weights) => {
                one_each(weights, classes)?;
                let linear = Linear::Times(1.0, weights);
                return Ok(Head { linear, ..plain });
            }
            Self::Towards(q) | Self::AwayFrom(q) => {
                one_each(q, classes)?;
                let towards = matches!(self, Self::Towards(_));
                let sign = if towards { 1.0 } else { -1.0 };
                return Ok(Head {
                    linear: Linear::Times(sign, q),
                    pull: -sign,
                    ..plain
                });
            }
        };
        if classes < loss.least_classes() {
            return Err(Error::invalid(format!(
                "loss {} needs {} classes, but the model has {classes}",
                word(loss),
                loss.least_classes()
            )));
        }
        let there = |class: usize| match class < classes {
            true => Ok(class),
            false => Err(Error::invalid(format!(
                "there is no class {class}: the model has {classes} classes"
            ))),
        };
        let y = there(label)?;
        let t = match target {
            Some(target) => there(target)?,
            None if loss.is_targeted() => {
                return Err(Error::invalid("a targeted loss needs a target class"));
            }
            None => y,
        };
        let at = |class, weight| Linear::At([(class, weight), (class, 0.0)]);
        let towards = Linear::At([(t, 1.0), (y, -1.0)]);
        Ok(match loss {
            Loss::CrossEntropy | Loss::Margin | Loss::Dlr => Head {
                linear: at(y, -1.0),
                out: Some(y),
                pull: 1.0,
                hard: loss != Loss::CrossEntropy,
                spread: match loss {
                    Loss::Dlr => [1.0, 0.0, -1.0, 0.0],
                    _ => plain.spread,
                },
                floor: match loss {
                    Loss::Dlr => DLR_FLOOR as f32,
                    _ => 1.0,
                },
            },
            Loss::CrossEntropyTargeted | Loss::MarginTargeted => Head {
                linear: at(t, 1.0),
                out: Some(t),
                pull: -1.0,
                hard: loss == Loss::MarginTargeted,
                ..plain
            },
            Loss::TwoTerm => Head {
                linear: towards,
                ..plain
            },
            Loss::DlrTargeted => Head {
                linear: towards,
                spread: [1.0, 0.0, -0.5, -0.5],
                floor: DLR_FLOOR as f32,
                ..plain
            },
        })
    }

    /// Returns the positive factor between the cotangent of [`Head`] and the objective's gradient at these logits.
    pub fn scale(&self, logits: &[f32]) -> f64 {
        let Self::Loss {
            loss,
            label,
            target,
        } = self
        else {
            return 1.0;
        };
        let others = |class: usize| {
            let gap = log_sum_exp_but(logits, Some(class)) - f64::from(logits[class]);
            // 1 - p of the class, computed without cancellation when p is near 1.
            1.0 / (1.0 + (-gap).exp())
        };
        match (loss, target) {
            (Loss::CrossEntropy, _) => others(*label),
            (Loss::CrossEntropyTargeted, Some(target)) => others(*target),
            (Loss::Dlr | Loss::DlrTargeted, _) => 1.0 / (spread(*loss, logits) + DLR_FLOOR),
            _ => 1.0,
        }
    }

    /// Computes the gradient with respect to the logits in double precision, as the program behind a model does.
    ///
    /// # Errors
    /// The errors of [`Objective::head`].
    pub fn cotangent(&self, logits: &[f32]) -> Result<Vec<f64>> {
        let head = self.head(logits.len())?;
        let mut running: Vec<f64> = logits.iter().map(|&z| f64::from(z)).collect();
        if let Some(out) = head.out {
            running[out] = f64::NEG_INFINITY;
        }
        let largest = running.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut p = vec![0.0; logits.len()];
        if head.hard {
            // If all logits are NaN there is no largest one.
            if let Some(first) = running.iter().position(|&z| z == largest) {
                p[first] = 1.0;
            }
        } else {
            let sum: f64 = running.iter().map(|z| (z - largest).exp()).sum();
            for (p, z) in p.iter_mut().zip(&running) {
                *p = (z - largest).exp() / sum;
            }
        }
        let mut c: Vec<f64> = p.iter().map(|p| p * f64::from(head.pull)).collect();
        match head.linear {
            Linear::At(terms) => {
                for (class, weight) in terms {
                    c[class] += f64::from(weight);
                }
            }
            Linear::Times(factor, weights) => {
                for (c, &w) in c.iter_mut().zip(weights) {
                    *c += f64::from(factor * w);
                }
            }
        }
        let mut ranks: Vec<usize> = (0..logits.len()).collect();
        ranks.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let mut d = vec![0.0; logits.len()];
        for (&class, weight) in ranks.iter().zip(head.spread) {
            d[class] += f64::from(weight);
        }
        let dot = |v: &[f64]| -> f64 { v.iter().zip(logits).map(|(v, &z)| v * f64::from(z)).sum() };
        let ratio = dot(&c) / (dot(&d) + f64::from(head.floor));
        let scale = self.scale(logits);
        let slopes = c.iter().zip(&d);
        Ok(slopes.map(|(c, d)| (c - ratio * d) * scale).collect())
    }

    /// Computes the value at these logits, in double precision internally.
    ///
    /// # Errors
    /// The errors of [`Objective::head`].
    pub fn value(&self, logits: &[f32]) -> Result<f32> {
        self.head(logits.len())?;
        let z = |class: usize| f64::from(logits[class]);
        let dot = |weights: &[f32]| -> f64 {
            let terms = weights.iter().zip(logits);
            terms.map(|(&w, &z)| f64::from(w) * f64::from(z)).sum()
        };
        let divergence = |q: &[f32]| -> f64 {
            let log_sum = log_sum_exp_but(logits, None);
            let terms = q.iter().zip(logits).filter(|(q, _)| **q > 0.0);
            let term = |(&q, &z): (&f32, &f32)| {
                let q = f64::from(q);
                q * (q.ln() - f64::from(z) + log_sum)
            };
            terms.map(term).sum()
        };
        let (loss, y, t) = match self {
            Self::Linear(weights) => return Ok(dot(weights) as f32),
            Self::Towards(q) => return Ok(-divergence(q) as f32),
            Self::AwayFrom(q) => return Ok(divergence(q) as f32),
            Self::Loss {
                loss,
                label,
                target,
            } => (*loss, *label, target.unwrap_or(*label)),
        };
        let rival = |class: usize| {
            let others = (0..logits.len()).filter(|&other| other != class);
            others.fold(f64::NEG_INFINITY, |most, other| most.max(z(other)))
        };
        Ok(match loss {
            Loss::CrossEntropy => log_sum_exp_but(logits, None) - z(y),
            Loss::CrossEntropyTargeted => z(t) - log_sum_exp_but(logits, None),
            Loss::TwoTerm => z(t) - z(y),
            Loss::Margin => rival(y) - z(y),
            Loss::MarginTargeted => z(t) - rival(t),
            Loss::Dlr => (rival(y) - z(y)) / (spread(loss, logits) + DLR_FLOOR),
            Loss::DlrTargeted => (z(t) - z(y)) / (spread(loss, logits) + DLR_FLOOR),
        } as f32)
    }
}

/// Returns the name of a loss as settings and sentences spell it.
pub fn word(loss: Loss) -> &'static str {
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

fn one_each(weights: &[f32], classes: usize) -> Result<()> {
    match weights.len() == classes {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "there are {} weights for {classes} classes; give one per class",
            weights.len()
        ))),
    }
}

/// Returns the denominator of a DLR loss. The caller has checked that there are enough classes.
fn spread(loss: Loss, logits: &[f32]) -> f64 {
    let mut sorted = logits.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let ranked = |rank: usize| f64::from(sorted.get(rank).copied().unwrap_or(f32::NAN));
    match loss {
        Loss::DlrTargeted => ranked(0) - 0.5 * (ranked(2) + ranked(3)),
        _ => ranked(0) - ranked(2),
    }
}

/// Computes the logarithm of the sum of exponentials over all classes except `out`.
fn log_sum_exp_but(logits: &[f32], out: Option<usize>) -> f64 {
    let others = || {
        let all = logits.iter().enumerate();
        all.filter(move |(class, _)| Some(*class) != out)
            .map(|(_, &z)| f64::from(z))
    };
    let largest = others().fold(f64::NEG_INFINITY, f64::max);
    largest + others().map(|z| (z - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(loss: Loss, label: usize, target: Option<usize>) -> Objective {
        Objective::Loss {
            loss,
            label,
            target,
        }
    }

    /// Expected values: PyTorch 2.15 in float64, from the formulas of the papers.
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
            let found = f64::from(of(loss, 0, Some(3)).value(&logits).unwrap());
            assert!((found - expected).abs() < 1e-6, "{loss:?}: {found}");
        }
    }

    /// Compares every objective's head and scale with differences of its values.
    #[test]
    fn heads_are_the_slopes_of_the_values() {
        let logits = [1.5, -0.25, 3.0, 0.75, -2.0];
        let q: Arc<[f32]> = [0.1, 0.2, 0.3, 0.15, 0.25].into();
        let mut objectives: Vec<Objective> = Loss::ALL.map(|loss| of(loss, 0, Some(3))).into();
        objectives.extend([
            Objective::Linear([0.5, -1.0, 0.0, 2.0, 1.0].into()),
            Objective::Towards(q.clone()),
            Objective::AwayFrom(q),
        ]);
        for objective in objectives {
            let slope = objective.cotangent(&logits).unwrap();
            for class in 0..logits.len() {
                let step = 1e-2;
                let moved = |by: f32| {
                    let mut logits = logits;
                    logits[class] += by;
                    f64::from(objective.value(&logits).unwrap())
                };
                let expected = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let found = slope[class];
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{objective:?}, {class}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_sure_answer_has_a_slope_left() {
        let logits = [0.0, 60.0, -50.0];
        let sure = of(Loss::CrossEntropy, 1, None);
        let slope = sure.cotangent(&logits).unwrap();
        assert!(slope[0] > 0.0 && slope[1] < 0.0, "{slope:?}");
        assert!((slope[0] + slope[1]).abs() < 1e-3 * slope[0]);
    }

    #[test]
    fn what_does_not_fit_the_model_is_refused() {
        for (objective, classes) in [
            (of(Loss::CrossEntropy, 2, None), 2),
            (of(Loss::TwoTerm, 0, None), 2),
            (of(Loss::MarginTargeted, 0, Some(2)), 2),
            (of(Loss::Dlr, 0, None), 2),
            (of(Loss::DlrTargeted, 0, Some(1)), 3),
            (Objective::Linear([1.0].into()), 2),
            (Objective::Towards([0.5; 3].into()), 2),
        ] {
            assert!(objective.head(classes).is_err(), "{objective:?}");
            assert!(objective.value(&vec![0.0; classes]).is_err());
        }
    }
}
