//! Random noise, uniform or Gaussian: the control that every other attack must beat.
//!
//! # Formula
//!
//! `uniform-noise`: a uniform point of the ball around `x`. `gaussian-noise`: `x' = x + eps * n / norm(n)` with
//! independent standard normal values `n`, a random direction at full length. Both are then projected to the nearest
//! point that lies in the ball and in the pixel box. The result is the first try that reaches the goal, or else the
//! last try.
//!
//! # Defaults
//!
//! 10 tries of one forward pass each, which uses only the label. The number is this project's choice.
//!
//! # Source
//!
//! For random compared with worst-case directions: Fawzi, Moosavi-Dezfooli and Frossard, *Robustness of Classifiers:
//! from Adversarial to Random Noise*, arXiv 1608.08967.

use rand::Rng;

use crate::{
    Result,
    attacks::{
        Best, Case, Values,
        parameters::{Kind, Parameter},
        random::fork,
        registry::{Aim, Entry, Family, Search, any_values},
    },
    image::Image,
    normal::normal,
    oracle::Labels,
    threat::{Norm, Region, distances},
};

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "tries",
    kind: Kind::POSITIVE,
    default: "10",
    meaning: "number of random points",
    origin: "this project's choice",
}];

const COST: &str = "tries forward passes; fewer if a point reaches the goal";

pub(in crate::attacks) const UNIFORM: Entry = Entry {
    name: "uniform-noise",
    summary: "uniform random points of the ball, as a control",
    family: Family::Noise,
    aim: Aim::Radius,
    norms: &Norm::CONVEX,
    targeted: true,
    begins_elsewhere: false,
    parameters: PARAMETERS,
    cost: COST,
    source: include_str!("noise.rs"),
    check: any_values,
    search: Search::Labels(|model, case, p, best| Box::pin(uniform(model, case, p, best))),
};

pub(in crate::attacks) const GAUSSIAN: Entry = Entry {
    name: "gaussian-noise",
    summary: "Gaussian noise scaled to the ball, as a control",
    search: Search::Labels(|model, case, p, best| Box::pin(gaussian(model, case, p, best))),
    ..UNIFORM
};

async fn uniform(model: Labels<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    for attempt in 0..p.count("tries")? {
        let x = case.region.random_point(&mut fork(&case.rng, attempt));
        let label = model.label(&x).await?;
        if best.offer_label(&x, label) {
            break;
        }
    }
    Ok(())
}

async fn gaussian(model: Labels<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    for attempt in 0..p.count("tries")? {
        let x = gaussian_point(&case.region, &mut fork(&case.rng, attempt));
        let label = model.label(&x).await?;
        if best.offer_label(&x, label) {
            break;
        }
    }
    Ok(())
}

/// Returns a random direction at full length.
fn gaussian_point(region: &Region, rng: &mut impl Rng) -> Image {
    let mut noise = Image::zeros(region.center.shape());
    noise.pixels_mut().fill_with(|| normal(rng) as f32);
    let origin = Image::zeros(noise.shape());
    let length = region.norm.of(&distances(&origin, &noise));
    let scale = region.radius.unwrap_or(1.0) / length.max(f64::MIN_POSITIVE);
    let mut x = region.center.clone();
    for (x, &n) in x.pixels_mut().iter_mut().zip(noise.pixels()) {
        *x = (f64::from(*x) + f64::from(n) * scale) as f32;
    }
    region.project(&mut x);
    x
}
