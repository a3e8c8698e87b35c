//! Random noise, uniform or Gaussian: the control that every other attack has to beat.
//!
//! # Formula
//!
//! `uniform-noise`: a uniform point of the ball around `x`. `gaussian-noise`: `x' = x + eps * n / norm(n)` with
//! independent standard normal values `n`, a random direction at full length. Either is then projected to the nearest
//! point that lies both in the ball and in the pixel box. The first try that reaches the goal is the answer; where none
//! does, it is the last try.
//!
//! # Defaults
//!
//! 10 tries, each of one forward pass, of which only the label is used. The number is this project's choice.
//!
//! # Source
//!
//! Random directions against worst-case ones: Fawzi, Moosavi-Dezfooli and Frossard, *Robustness of Classifiers: from
//! Adversarial to Random Noise*, arXiv 1608.08967.

use rand::Rng;

use super::{Attack, AttackOptions, Candidate, Case, Entry, Local, random::fork};
use crate::{
    Error, Result,
    image::Image,
    oracle::{Access, Labels as _},
    threat::{Ball, Norm, distances, norm::normal},
};

pub(super) const UNIFORM: Entry = Entry {
    name: "uniform-noise",
    summary: "uniform points of the ball, as a control",
    norms: &Norm::CONVEX,
    access: Access::Labels,
    source: include_str!("noise.rs"),
    make: |options| make(Distribution::Uniform, options),
};

pub(super) const GAUSSIAN: Entry = Entry {
    name: "gaussian-noise",
    summary: "Gaussian noise scaled to the ball, as a control",
    norms: &Norm::CONVEX,
    access: Access::Labels,
    source: include_str!("noise.rs"),
    make: |options| make(Distribution::Gaussian, options),
};

fn make(distribution: Distribution, options: &mut AttackOptions) -> Result<Box<dyn Attack>> {
    Ok(Box::new(Noise {
        distribution,
        ball: options.ball()?,
        tries: options.take_tries(10)?,
    }))
}

#[derive(Clone, Copy)]
enum Distribution {
    Uniform,
    Gaussian,
}

struct Noise {
    distribution: Distribution,
    ball: Ball,
    tries: usize,
}

impl Attack for Noise {
    fn name(&self) -> &'static str {
        match self.distribution {
            Distribution::Uniform => UNIFORM.name,
            Distribution::Gaussian => GAUSSIAN.name,
        }
    }

    fn recipe(&self) -> String {
        let Ball { norm, eps } = self.ball;
        let tries = self.tries;
        format!("{}(norm={norm}, eps={eps}, tries={tries})", self.name())
    }

    fn access(&self) -> Access {
        Access::Labels
    }

    fn run<'a>(&'a self, case: Case<'a>) -> Local<'a, Result<Candidate>> {
        Box::pin(async move {
            case.expect_ball(&self.ball)?;
            let mut candidate = Candidate::unchanged(case.original);
            for attempt in 0..self.tries {
                let mut rng = fork(&case.rng, attempt as u64);
                let x = self.draw(case.original, &mut rng);
                match case.oracle.label(&x).await {
                    Ok(label) => candidate.reached = case.goal.reached_by(label),
                    Err(Error::Budget(_)) => {
                        candidate.budget_spent = true;
                        break;
                    }
                    Err(error) => return Err(error),
                }
                candidate.image = x;
                if candidate.reached {
                    break;
                }
            }
            Ok(candidate)
        })
    }
}

impl Noise {
    fn draw(&self, original: &Image, rng: &mut impl Rng) -> Image {
        match self.distribution {
            Distribution::Uniform => self.ball.random_point(original, rng),
            Distribution::Gaussian => {
                let mut noise = Image::zeros(original.shape());
                noise.pixels_mut().fill_with(|| normal(rng) as f32);
                let origin = Image::zeros(original.shape());
                let length = self.ball.norm.of(&distances(&origin, &noise));
                let scale = self.ball.eps / length.max(f64::MIN_POSITIVE);
                let mut x = original.clone();
                for (x, &n) in x.pixels_mut().iter_mut().zip(noise.pixels()) {
                    *x = (f64::from(*x) + f64::from(n) * scale) as f32;
                }
                self.ball.project(original, &mut x);
                x
            }
        }
    }
}
