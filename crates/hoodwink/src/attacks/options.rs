//! What a user may set about an attack.

use super::{loss::LossName, step::StepRule};
use crate::{
    Error, Result,
    oracle::Loss,
    threat::{Ball, Norm},
};

/// The threat an attack is built for, and what the user set about the attack; `None` means the attack's default.
///
/// An attack takes out what it uses. What is left over is refused, never ignored: see
/// [`Entry::build`](super::Entry::build).
#[derive(Clone, Debug, PartialEq)]
pub struct AttackOptions {
    /// The norm of the ball.
    pub norm: Norm,
    /// The radius of the ball, in pixel units; finite, at least 0.
    pub eps: f64,
    /// Whether a certain class is aimed at.
    pub targeted: bool,
    /// How many classes the model has.
    pub classes: usize,
    /// Steps of one restart; at least 1.
    pub steps: Option<usize>,
    /// Length of a step, in the unit of the step rule; finite, above 0.
    pub step_size: Option<f64>,
    /// How often a walk is begun, the first time included; at least 1.
    pub restarts: Option<usize>,
    /// Whether a walk begins at a random point of the ball.
    pub random_start: Option<bool>,
    /// What is climbed.
    pub loss: Option<LossName>,
    /// How a gradient becomes a move.
    pub rule: Option<StepRule>,
    /// Momentum of the step rule `sgd`, in \[0, 1).
    pub momentum: Option<f64>,
    /// How many random points are tried; at least 1.
    pub tries: Option<usize>,
}

impl AttackOptions {
    /// Defaults for everything that is the attack's own.
    pub fn new(norm: Norm, eps: f64, targeted: bool, classes: usize) -> Self {
        Self {
            norm,
            eps,
            targeted,
            classes,
            steps: None,
            step_size: None,
            restarts: None,
            random_start: None,
            loss: None,
            rule: None,
            momentum: None,
            tries: None,
        }
    }

    pub(super) fn ball(&self) -> Result<Ball> {
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(Error::invalid(format!("eps {} is not a radius", self.eps)));
        }
        Ok(Ball {
            norm: self.norm,
            eps: self.eps,
        })
    }

    pub(super) fn take_loss(&mut self) -> Result<Loss> {
        let name = self.loss.take().unwrap_or_default();
        name.resolve(self.targeted, self.classes)
    }

    pub(super) fn take_steps(&mut self, default: usize) -> Result<usize> {
        count("steps", self.steps.take().unwrap_or(default))
    }

    pub(super) fn take_restarts(&mut self, default: usize) -> Result<usize> {
        count("restarts", self.restarts.take().unwrap_or(default))
    }

    pub(super) fn take_tries(&mut self, default: usize) -> Result<usize> {
        count("tries", self.tries.take().unwrap_or(default))
    }

    pub(super) fn take_rule(&mut self) -> Result<StepRule> {
        match self.rule.take().unwrap_or(StepRule::Steepest) {
            StepRule::Sgd { momentum } => {
                let momentum = self.momentum.take().unwrap_or(momentum);
                if !(0.0..1.0).contains(&momentum) {
                    return Err(Error::invalid(format!(
                        "momentum {momentum} is not in [0, 1)"
                    )));
                }
                Ok(StepRule::Sgd { momentum })
            }
            rule => Ok(rule),
        }
    }

    /// The step size: as set, else `default` where moves by `rule` have a length of their own.
    pub(super) fn take_step_size(&mut self, rule: StepRule, default: f64) -> Result<f64> {
        match self.step_size.take() {
            Some(size) if size.is_finite() && size > 0.0 => Ok(size),
            Some(size) => Err(Error::invalid(format!(
                "step size {size} is not a length above 0"
            ))),
            None if rule.is_scaled_to(self.norm) => Ok(default),
            None => Err(Error::invalid(format!(
                "step rule {} has no default step size in norm {}; set --step-size",
                rule.word(),
                self.norm
            ))),
        }
    }

    /// The options that are set, by their names on the command line: once an attack is made, those it has not taken.
    pub(super) fn set(&self) -> Vec<&'static str> {
        // Every field is named, so that a new one cannot be forgotten here.
        let Self {
            norm: _,
            eps: _,
            targeted: _,
            classes: _,
            steps,
            step_size,
            restarts,
            random_start,
            loss,
            rule,
            momentum,
            tries,
        } = self;
        let all = [
            ("--steps", steps.is_some()),
            ("--step-size", step_size.is_some()),
            ("--restarts", restarts.is_some()),
            ("--random-start", random_start.is_some()),
            ("--loss", loss.is_some()),
            ("--step-rule", rule.is_some()),
            ("--momentum", momentum.is_some()),
            ("--tries", tries.is_some()),
        ];
        all.into_iter()
            .filter_map(|(option, is_set)| is_set.then_some(option))
            .collect()
    }
}

fn count(what: &str, count: usize) -> Result<usize> {
    if count == 0 {
        return Err(Error::invalid(format!("{what} must be at least 1")));
    }
    Ok(count)
}
