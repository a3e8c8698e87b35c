//! Step rules: how a gradient becomes a move of the image. Each rule increases the loss.
//! [`Descent`](super::descent::Descent) projects afterwards.
//!
//! The rules named after optimisers are those of `torch.optim` with its default constants; the variable is the
//! perturbation. Their state belongs to one restart of one image.

use std::{fmt, str::FromStr};

use crate::{
    Error, Result,
    nearest::unknown,
    threat::{Bounds, Norm},
};

/// The rule that turns a gradient into a move, before multiplication by the step size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepRule {
    /// The direction of unit norm in which the loss grows fastest, in the norm of the ball.
    Steepest,
    /// The sign of every value's gradient, whatever the norm.
    Sign,
    /// The gradient itself, with heavy-ball momentum (dampening 0, no Nesterov).
    Sgd {
        /// Share of the last move that is added to the next, in \[0, 1).
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

    /// The names of all rules.
    pub const WORDS: [&'static str; 6] = ["steepest", "sign", "sgd", "adam", "rmsprop", "adagrad"];

    /// Returns the name as settings spell it.
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

    /// Returns whether a move in this norm is about as long as the step size, whatever the scale of the gradient.
    /// Otherwise there is no sensible default step size.
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
            .ok_or_else(|| unknown("step rule", text, &Self::WORDS))
    }
}

/// The maximum move of a value. Farther out, floats are too coarse for the projection.
const FARTHEST: f64 = 1e6;

const RMSPROP_DECAY: f64 = 0.99;

/// The state of a step rule on one image.
pub(crate) struct Stepper {
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
    /// Creates the state for an image of `values` values and a ball in `norm`.
    pub(crate) fn new(rule: StepRule, norm: Norm, step_size: f64, values: usize) -> Self {
        // Allocates only what the rule needs, since pictures may be large.
        let (first, second) = match rule {
            StepRule::Steepest | StepRule::Sign => (0, 0),
            StepRule::Sgd { .. } => (values, 0),
            StepRule::RmsProp | StepRule::Adagrad => (0, values),
            StepRule::Adam { .. } => (values, values),
        };
        Self {
            rule,
            norm,
            step_size,
            taken: 0,
            first: vec![0.0; first],
            second: vec![0.0; second],
        }
    }

    /// Moves `x` uphill, given the finite gradient there.
    pub(crate) fn climb(&mut self, gradient: &[f32], x: &mut [f32]) {
        self.taken = self.taken.saturating_add(1);
        let gradient64 = gradient.iter().map(|&g| f64::from(g));
        let (first, second) = (self.first.iter_mut(), self.second.iter_mut());
        let step_size = self.step_size;
        match self.rule {
            StepRule::Steepest => {
                let direction = self.norm.steepest(gradient, x, &Bounds::PIXELS);
                walk(x, step_size, direction.into_iter().map(f64::from));
            }
            StepRule::Sign => {
                let sign = |g: f64| if g == 0.0 { 0.0 } else { g.signum() };
                walk(x, step_size, gradient64.map(sign));
            }
            StepRule::Sgd { momentum } => {
                let moves = gradient64.zip(first).map(|(g, velocity)| {
                    *velocity = momentum * *velocity + g;
                    *velocity
                });
                walk(x, step_size, moves);
            }
            StepRule::Adam { beta1, beta2 } => {
                let unbias1 = 1.0 - beta1.powi(self.taken);
                let unbias2 = 1.0 - beta2.powi(self.taken);
                let state = first.zip(second);
                let moves = gradient64.zip(state).map(|(g, (mean, square))| {
                    *mean = beta1 * *mean + (1.0 - beta1) * g;
                    *square = beta2 * *square + (1.0 - beta2) * g * g;
                    *mean / unbias1 / ((*square / unbias2).sqrt() + 1e-8)
                });
                walk(x, step_size, moves);
            }
            StepRule::RmsProp => {
                let moves = gradient64.zip(second).map(|(g, square)| {
                    *square = RMSPROP_DECAY * *square + (1.0 - RMSPROP_DECAY) * g * g;
                    g / (square.sqrt() + 1e-8)
                });
                walk(x, step_size, moves);
            }
            StepRule::Adagrad => {
                let moves = gradient64.zip(second).map(|(g, sum)| {
                    *sum += g * g;
                    g / (sum.sqrt() + 1e-10)
                });
                walk(x, step_size, moves);
            }
        }
    }
}

/// Moves every value by the step size times its direction.
fn walk(x: &mut [f32], step_size: f64, moves: impl Iterator<Item = f64>) {
    for (x, direction) in x.iter_mut().zip(moves) {
        let step = (step_size * direction).clamp(-FARTHEST, FARTHEST);
        *x = (f64::from(*x) + step) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRADIENTS: [[f32; 2]; 4] = [[0.5, -2.0], [0.25, 1.0], [-1.0, 0.0], [0.125, -0.5]];

    /// The positions of two values that start at 0 after each step of size 0.1. Expected values: `torch.optim` (PyTorch
    /// 2.15, float64, `maximize=True`) on the same gradients.
    #[test]
    fn rules_named_after_optimisers_move_as_in_pytorch() {
        let adam = StepRule::ALL[3];
        let cases = [
            (
                StepRule::Sgd { momentum: 0.0 },
                [
                    [0.05, -0.2],
                    [0.075, -0.1],
                    [-0.025, -0.1],
                    [-0.0125, -0.15],
                ],
            ),
            (
                StepRule::Sgd { momentum: 0.9 },
                [
                    [0.05, -0.2],
                    [0.12, -0.28],
                    [0.083, -0.352],
                    [0.0622, -0.4668],
                ],
            ),
            (
                adam,
                [
                    [0.09999999800000003, -0.0999999995],
                    [0.19321795952253767, -0.12663370329756846],
                    [0.17258225711458858, -0.1472216334965584],
                    [0.16208628742562045, -0.17637667058477208],
                ],
            ),
            (
                StepRule::RmsProp,
                [
                    [0.9999998000000395, -0.9999999500000021],
                    [1.4490129744218299, -0.5509867150943544],
                    [0.5742733839286743, -0.5509867150943544],
                    [0.6835090648188331, -0.7721456394885928],
                ],
            ),
            (
                StepRule::Adagrad,
                [
                    [0.09999999998, -0.099999999995],
                    [0.1447213595219958, -0.05527864044700421],
                    [0.05743420343521789, -0.05527864044700421],
                    [0.06828072632520953, -0.07710042946965107],
                ],
            ),
        ];
        for (rule, expected) in cases {
            let mut stepper = Stepper::new(rule, Norm::Linf, 0.1, 2);
            let mut x = [0.0; 2];
            for (gradient, expected) in GRADIENTS.iter().zip(expected) {
                stepper.climb(gradient, &mut x);
                for (x, expected) in x.iter().zip(expected) {
                    let error: f64 = f64::from(*x) - expected;
                    assert!(error.abs() < 3e-7, "{rule}: {x} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn steepest_and_sign_have_the_length_they_promise() {
        let gradient = [3.0, 0.0, -4.0];
        for (rule, norm, expected) in [
            (StepRule::Steepest, Norm::Linf, [0.5, 0.0, -0.5]),
            (StepRule::Steepest, Norm::L2, [0.3, 0.0, -0.4]),
            (StepRule::Steepest, Norm::L1, [0.0, 0.0, -0.5]),
            (StepRule::Sign, Norm::L2, [0.5, 0.0, -0.5]),
        ] {
            let mut x = [0.5; 3];
            Stepper::new(rule, norm, 0.5, 3).climb(&gradient, &mut x);
            for (x, expected) in x.iter().zip(expected) {
                assert!((x - 0.5 - expected).abs() < 1e-7, "{rule} in {norm}: {x}");
            }
        }
    }

    #[test]
    fn no_rule_leaves_the_finite_numbers_or_moves_without_a_gradient() {
        for rule in StepRule::ALL {
            for norm in Norm::CONVEX {
                let mut stepper = Stepper::new(rule, norm, 1e30, 3);
                let mut x = [0.5; 3];
                stepper.climb(&[0.0; 3], &mut x);
                assert_eq!(x, [0.5; 3], "{rule} in {norm}");
                stepper.climb(&[f32::MAX, f32::MIN_POSITIVE, f32::MIN], &mut x);
                assert!(x.iter().all(|x| x.is_finite()), "{rule} in {norm}: {x:?}");
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(StepRule::ALL.map(StepRule::word), StepRule::WORDS);
        for rule in StepRule::ALL {
            assert_eq!(rule.word().parse::<StepRule>().unwrap(), rule);
            assert!(rule.to_string().starts_with(rule.word()));
        }
        assert!("ftrl".parse::<StepRule>().is_err());
    }
}
