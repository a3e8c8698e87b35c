//! Optimisers: how gradients change the weights.

use std::{fmt, str::FromStr};

use crate::{Error, Result, nearest::unknown};

/// The rule of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum, as in PyTorch: `v = momentum * v + g`, `w -= rate * v`.
    Sgd {
        /// Momentum, in \[0, 1).
        momentum: f64,
    },
    /// Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) with its defaults: decays 0.9 and 0.999, floor 1e-8.
    Adam,
}

impl Optimiser {
    /// All optimisers with their defaults: momentum 0.9.
    pub const ALL: [Self; 2] = [Self::Adam, Self::Sgd { momentum: 0.9 }];

    /// Returns the name as settings spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam => "adam",
        }
    }
}

impl fmt::Display for Optimiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sgd { momentum } => write!(f, "sgd(momentum={momentum})"),
            Self::Adam => f.write_str("adam"),
        }
    }
}

impl FromStr for Optimiser {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|optimiser| optimiser.word() == text)
            .ok_or_else(|| unknown("optimiser", text, &Self::ALL.map(Self::word)))
    }
}

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const FLOOR: f64 = 1e-8;

/// An optimiser with its state for one network.
#[derive(Clone, Debug)]
pub(super) struct Descent {
    optimiser: Optimiser,
    weight_decay: f64,
    steps: i32,
    /// Velocity or first moment of each weight's elements.
    first: Vec<Vec<f32>>,
    /// Second moment of each weight's elements; empty without Adam.
    second: Vec<Vec<f32>>,
}

impl Descent {
    /// Creates the state. `weight_decay` times the weight is added to its gradient.
    pub(super) fn new(optimiser: Optimiser, weight_decay: f64, sizes: &[usize]) -> Self {
        let zeros = || sizes.iter().map(|&size| vec![0.0; size]).collect();
        Self {
            optimiser,
            weight_decay,
            steps: 0,
            first: zeros(),
            second: match optimiser {
                Optimiser::Sgd { .. } => Vec::new(),
                Optimiser::Adam => zeros(),
            },
        }
    }

    /// Returns the state for a checkpoint: velocities or first moments, and second moments.
    pub(super) fn memory(&mut self) -> (&mut Vec<Vec<f32>>, &mut Vec<Vec<f32>>) {
        (&mut self.first, &mut self.second)
    }

    /// Sets the number of steps already taken.
    pub(super) fn go_on_after(&mut self, steps: usize) {
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
    }

    /// Takes one step.
    pub(super) fn step(&mut self, weights: &mut [Vec<f32>], gradients: &[Vec<f32>], rate: f64) {
        self.steps = self.steps.saturating_add(1);
        let decay = self.weight_decay as f32;
        for (at, (weight, gradient)) in weights.iter_mut().zip(gradients).enumerate() {
            let decayed = gradient
                .iter()
                .zip(weight.iter())
                .map(|(g, w)| g + decay * w);
            let gradient: Vec<f32> = decayed.collect();
            match self.optimiser {
                Optimiser::Sgd { momentum } => {
                    let velocity = self.first[at].iter_mut();
                    for ((w, v), g) in weight.iter_mut().zip(velocity).zip(gradient) {
                        *v = momentum as f32 * *v + g;
                        *w -= rate as f32 * *v;
                    }
                }
                Optimiser::Adam => {
                    let rate = (rate / (1.0 - FIRST_DECAY.powi(self.steps))) as f32;
                    let correction = (1.0 - SECOND_DECAY.powi(self.steps)).sqrt() as f32;
                    let moments = self.first[at].iter_mut().zip(&mut self.second[at]);
                    for ((w, (m, v)), g) in weight.iter_mut().zip(moments).zip(gradient) {
                        *m += (1.0 - FIRST_DECAY) as f32 * (g - *m);
                        *v = SECOND_DECAY as f32 * *v + (1.0 - SECOND_DECAY) as f32 * g * g;
                        *w -= rate * *m / (v.sqrt() / correction + FLOOR as f32);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: [f32; 3] = [0.5, -1.0, 2.0];

    /// Takes five steps on `g = w^2 - 0.3 * step`.
    fn descend(optimiser: Optimiser, weight_decay: f64) -> Vec<f32> {
        let mut descent = Descent::new(optimiser, weight_decay, &[3]);
        let mut weights = vec![START.to_vec()];
        for step in 0..5 {
            let gradient = weights[0]
                .iter()
                .map(|w| w * w - 0.3 * step as f32)
                .collect();
            descent.step(&mut weights, &[gradient], 0.05);
        }
        weights.remove(0)
    }

    #[test]
    fn steps_are_those_of_torch() {
        // torch.optim.SGD and Adam of PyTorch, lr=.05, in float64.
        for (optimiser, weight_decay, expected) in [
            (
                Optimiser::Sgd { momentum: 0.0 },
                0.0,
                [0.5860341, -1.141_875, 1.423_503],
            ),
            (
                Optimiser::Sgd { momentum: 0.9 },
                0.1,
                [0.5896275, -1.439_803, 0.3903074],
            ),
            (Optimiser::Adam, 0.0, [0.523_377, -1.2363336, 1.7556506]),
            (Optimiser::Adam, 0.1, [0.5015416, -1.2317256, 1.755_288]),
        ] {
            let reached = descend(optimiser, weight_decay);
            for (value, expected) in reached.iter().zip(expected) {
                assert!(
                    (value - expected).abs() < 2e-6,
                    "{optimiser:?}: {reached:?}"
                );
            }
        }
    }
}
