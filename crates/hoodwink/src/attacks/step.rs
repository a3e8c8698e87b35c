//! Step rules: how a gradient becomes a move of the image. Each climbs the loss; the projection follows in
//! [`Descent`](super::Descent).
//!
//! The rules named after optimisers are those of `torch.optim` with its default constants, on the perturbation as the
//! variable. Their state belongs to one restart of one image.

use std::{fmt, str::FromStr};

use crate::{Error, Result, threat::Norm};

/// How a gradient becomes a move, before the step size is multiplied in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepRule {
    /// The direction of unit norm in which the loss grows fastest, by the norm of the ball.
    Steepest,
    /// The sign of every value's gradient, whatever the norm.
    Sign,
    /// The gradient itself, with heavy-ball momentum (dampening 0, no Nesterov).
    Sgd {
        /// Share of the last move that is kept, in \[0, 1).
        momentum: f64,
    },
    /// Adam (arXiv 1412.6980, algorithm 1), with 1e-8 in the denominator.
    Adam {
        /// Decay of the mean gradient, in \[0, 1).
        beta1: f64,
        /// Decay of the mean squared gradient, in \[0, 1).
        beta2: f64,
    },
    /// RMSprop (Tieleman and Hinton, 2012) with decay 0.99 and 1e-8 in the denominator.
    RmsProp,
    /// Adagrad (Duchi, Hazan and Singer, 2011) with an accumulator that starts at 0 and 1e-10 in the denominator.
    Adagrad,
}

impl StepRule {
    /// All rules, with default constants.
    pub const ALL: [Self; 6] = [
        Self::Steepest,
        Self::Sign,
        Self::Sgd { momentum: 0.0 },
        Self::Adam {
            beta1: 0.9,
            beta2: 0.999,
        },
        Self::RmsProp,
        Self::Adagrad,
    ];

    /// The word used in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Steepest => "steepest",
            Self::Sign => "sign",
            Self::Sgd { .. } => "sgd",
            Self::Adam { .. } => "adam",
            Self::RmsProp => "rmsprop",
            Self::Adagrad => "adagrad",
        }
    }

    /// Whether the length of a move in this norm is about the step size, whatever the scale of the gradient; without
    /// that no step size is a sensible default.
    pub fn is_scaled_to(self, norm: Norm) -> bool {
        match self {
            Self::Steepest => true,
            Self::Sgd { .. } => false,
            Self::Sign | Self::Adam { .. } | Self::RmsProp | Self::Adagrad => norm == Norm::Linf,
        }
    }
}

impl fmt::Display for StepRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Sgd { momentum } => write!(f, "(momentum={momentum})"),
            Self::Adam { beta1, beta2 } => write!(f, "(beta1={beta1}, beta2={beta2})"),
            _ => Ok(()),
        }
    }
}

impl FromStr for StepRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.word() == text)
            .ok_or_else(|| {
                let words = Self::ALL.map(Self::word).join(", ");
                Error::invalid(format!("step rule {text:?} is not one of {words}"))
            })
    }
}

/// The farthest a value is moved at once: farther out, floats are too coarse to be projected.
const FARTHEST: f64 = 1e6;

const RMSPROP_DECAY: f64 = 0.99;

/// A step rule at work on one image.
pub(super) struct Stepper {
    rule: StepRule,
    norm: Norm,
    step_size: f64,
    taken: i32,
    /// Mean gradient or momentum of every value.
    first: Vec<f64>,
    /// Mean or sum of every value's squared gradient.
    second: Vec<f64>,
}

impl Stepper {
    /// For an image of `values` values and a ball in `norm`.
    pub(super) fn new(rule: StepRule, norm: Norm, step_size: f64, values: usize) -> Self {
        Self {
            rule,
            norm,
            step_size,
            taken: 0,
            first: vec![0.0; values],
            second: vec![0.0; values],
        }
    }

    /// Moves `x` uphill, given the finite gradient there.
    pub(super) fn climb(&mut self, gradient: &[f32], x: &mut [f32]) {
        let moves = self.moves(gradient, x);
        for (x, direction) in x.iter_mut().zip(moves) {
            let step = (self.step_size * direction).clamp(-FARTHEST, FARTHEST);
            *x = (f64::from(*x) + step) as f32;
        }
    }

    fn moves(&mut self, gradient: &[f32], x: &[f32]) -> Vec<f64> {
        self.taken = self.taken.saturating_add(1);
        let gradient64 = gradient.iter().map(|&g| f64::from(g));
        let state = self.first.iter_mut().zip(&mut self.second);
        match self.rule {
            StepRule::Steepest => {
                let direction = self.norm.steepest(gradient, x);
                direction.into_iter().map(f64::from).collect()
            }
            StepRule::Sign => gradient64
                .map(|g| if g == 0.0 { 0.0 } else { g.signum() })
                .collect(),
            StepRule::Sgd { momentum } => gradient64
                .zip(state)
                .map(|(g, (velocity, _))| {
                    *velocity = momentum * *velocity + g;
                    *velocity
                })
                .collect(),
            StepRule::Adam { beta1, beta2 } => {
                let unbias1 = 1.0 - beta1.powi(self.taken);
                let unbias2 = 1.0 - beta2.powi(self.taken);
                gradient64
                    .zip(state)
                    .map(|(g, (mean, square))| {
                        *mean = beta1 * *mean + (1.0 - beta1) * g;
                        *square = beta2 * *square + (1.0 - beta2) * g * g;
                        *mean / unbias1 / ((*square / unbias2).sqrt() + 1e-8)
                    })
                    .collect()
            }
            StepRule::RmsProp => gradient64
                .zip(state)
                .map(|(g, (_, square))| {
                    *square = RMSPROP_DECAY * *square + (1.0 - RMSPROP_DECAY) * g * g;
                    g / (square.sqrt() + 1e-8)
                })
                .collect(),
            StepRule::Adagrad => gradient64
                .zip(state)
                .map(|(g, (_, sum))| {
                    *sum += g * g;
                    g / (sum.sqrt() + 1e-10)
                })
                .collect(),
        }
    }
}
