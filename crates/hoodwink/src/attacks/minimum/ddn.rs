//! Decoupled direction and norm: steps along the gradient on a sphere that shrinks while the picture fools the model
//! and grows while it does not.
//!
//! # Formula
//!
//! Start with `d = 0` and `eps = init_norm`. Each step evaluates `x + d` and updates `d <- d + a_k g / |g|`, where `g`
//! is the gradient of the cross-entropy and `a_k` falls from 1 to 0.01 along a cosine. Then `eps <- (1 - gamma) eps` if
//! `x + d` fooled the model, else `(1 + gamma) eps`, up to the distance of the farthest corner of the box. Then `d <-
//! eps d / |d|`, clipped to the box and rounded to `levels` grey levels. The nearest point that fooled the model is
//! kept. With `levels` 256 every point is a picture that can be saved.
//!
//! # Defaults
//!
//! 100 steps, init_norm 1, gamma 0.05, 256 levels: the values of the paper (which also reports 300 and 1,000 steps) and
//! of the authors' adversarial-library, which also caps the norm. As in that library, a random direction replaces a
//! zero gradient.
//!
//! # Source
//!
//! Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger, *Decoupling Direction and Norm for Efficient Gradient-Based L2
//! Adversarial Attacks and Defenses*, arXiv 1811.09600, algorithm 1.

use std::f64::consts::PI;

use crate::{
    Result,
    attacks::{
        Best, Case, LossName, Values,
        parameters::{Kind, Parameter},
        random::fork,
        registry::{Aim, Entry, Family, Search, any_values},
    },
    normal::normal,
    oracle::Gradients,
    threat::Norm,
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "ddn",
    summary: "the smallest L2, on a sphere that shrinks and grows (Rony et al. 2019)",
    family: Family::Minimum,
    aim: Aim::Smallest,
    norms: &[Norm::L2],
    targeted: true,
    begins_elsewhere: false,
    parameters: &[
        Parameter {
            name: "steps",
            kind: Kind::POSITIVE,
            default: "100",
            meaning: "number of steps",
            origin: "the smallest in the paper",
        },
        Parameter {
            name: "init_norm",
            kind: Kind::Number {
                least: 1e-6,
                most: 1e6,
            },
            default: "1",
            meaning: "radius of the first sphere, in pixel units",
            origin: "the paper",
        },
        Parameter {
            name: "gamma",
            kind: Kind::Number {
                least: 1e-6,
                most: 0.999_999,
            },
            default: "0.05",
            meaning: "relative change of the radius per step",
            origin: "the paper",
        },
        Parameter {
            name: "levels",
            kind: Kind::Count {
                least: 0,
                most: 65_536,
            },
            default: "256",
            meaning: "number of grey levels that points are rounded to; 0 or 1 for no rounding",
            origin: "the paper",
        },
    ],
    cost: "steps gradients",
    source: include_str!("ddn.rs"),
    check: any_values,
    search: Search::Gradients(|model, case, p, best| Box::pin(ddn(model, case, p, best))),
};

async fn ddn(model: Gradients<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    let (steps, gamma) = (p.count("steps")?, p.number("gamma")?);
    let levels = p.count("levels")?;
    let objective = case.objective(LossName::Ce, model.classes())?;
    let center = case.original().pixels();
    let bounds = &case.region.bounds;
    let corner = center.iter().enumerate().map(|(at, &x)| {
        let ((low, high), x) = (bounds.at(at), f64::from(x));
        (x - low).max(high - x).powi(2)
    });
    let farthest = corner.sum::<f64>().sqrt();
    let mut eps = p.number("init_norm")?;
    let mut rng = fork(&case.rng, 0);
    let mut x = case.original().clone();
    for step in 0..steps {
        let mut at = model.gradient(&x, &objective).await?;
        best.offer(model.as_labels(), &x, at.loss, &at.logits)
            .await?;
        best.look(at.gradient.pixels_mut());
        let mut direction =
            Norm::L2.steepest(at.gradient.pixels(), x.pixels(), &case.region.bounds);
        if direction.iter().all(|&d| d == 0.0) {
            direction.fill_with(|| normal(&mut rng) as f32);
        }
        let length = 0.01 + 0.99 * (1.0 + (PI * step as f64 / steps as f64).cos()) / 2.0;
        let moved = |at: usize, x: f32| {
            f64::from(x) - f64::from(center[at]) + length * f64::from(direction[at])
        };
        let pixels = x.pixels().iter().enumerate();
        let distance = pixels
            .map(|(at, &x)| moved(at, x).powi(2))
            .sum::<f64>()
            .sqrt();
        let fooled = case.goal.reached(&at.logits);
        eps *= if fooled { 1.0 - gamma } else { 1.0 + gamma };
        eps = eps.min(farthest);
        let scale = eps / distance.max(f64::MIN_POSITIVE);
        for (at, x) in x.pixels_mut().iter_mut().enumerate() {
            let (low, high) = bounds.at(at);
            let value = (f64::from(center[at]) + scale * moved(at, *x)).clamp(low, high);
            *x = match levels {
                0 | 1 => value as f32,
                _ => {
                    let (top, span) = ((levels - 1) as f64, high - low);
                    let level = ((value - low) / span.max(f64::MIN_POSITIVE) * top).round();
                    (low + span * (level / top)) as f32
                }
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::{
            Attack,
            toys::{Setup, Toy, ramp, ramp_job, run},
        },
        threat::Goal,
    };

    /// On a linear model the nearest boundary point is known: the margin divided by the length of the weights.
    #[test]
    fn on_a_linear_model_it_finds_the_nearest_point() {
        let job = ramp_job(Goal::Untargeted { label: 0 });
        let margin = -f64::from(Toy::ramp().classify(&job.original)[1]);
        let length = ramp().iter().map(|w| w * w).sum::<f64>().sqrt();
        let attack = Attack::parse("ddn(steps=300, levels=0)").unwrap();
        let setup = Setup::new(Norm::L2, None);
        let (candidate, spent) =
            run(Toy::ramp(), &attack, std::slice::from_ref(&job), &setup).remove(0);
        assert!(candidate.reached);
        assert_eq!((spent.gradients, spent.queries), (300, 0));
        let found = setup.region(&job).distance(&candidate.image);
        let ratio = found / (margin / length);
        assert!((1.0..1.02).contains(&ratio), "{ratio}");
    }

    #[test]
    fn every_point_is_a_picture() {
        let job = ramp_job(Goal::Untargeted { label: 0 });
        let attack = Attack::parse("ddn").unwrap();
        let setup = Setup::new(Norm::L2, None);
        let (candidate, _) = run(Toy::ramp(), &attack, &[job], &setup).remove(0);
        assert_eq!(candidate.image.to_picture().to_image(), candidate.image);
    }
}
