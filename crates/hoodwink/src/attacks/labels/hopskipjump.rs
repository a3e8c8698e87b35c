//! HopSkipJump: moves along the boundary using only labels, and estimates the boundary's direction from many labels at
//! once.
//!
//! # Formula
//!
//! Start from a point `x_t` on the boundary. Ask for the labels of `B_t = evaluations * sqrt(t + 1)` points `x_t +
//! delta u_b`, where `u_b` is random of unit length. They give the direction `v = sum (phi_b - mean phi) u_b`, where
//! `phi_b` is 1 if the goal is reached and -1 if not. Take a step along `v` (in L-inf along its sign) of length
//! `distance / sqrt(t + 1)`, halved until the goal is reached. Then return to the boundary by bisection towards the
//! original, down to `theta`. In L2 `theta = gamma d^(-3/2)` of the way and `delta = sqrt(d) theta * distance`. In
//! L-inf `theta = gamma d^(-2)` of the distance and `delta = d theta * distance`. The first delta is 0.1. All labels of
//! a direction are asked for at once. `theta` is at least 2^-18: the paper's value falls below float resolution, in
//! L-inf for images of more than 512 values and in L2 of more than 4,096.
//!
//! The search blends the original with a uniformly random image in 50 steps, and starts at the first blend that reaches
//! the goal. With a target it starts at a picture of the target class instead, if there is one. The result is the
//! nearest point that was seen to reach the goal.
//!
//! # Defaults
//!
//! 64 iterations, 100 evaluations at first and at most 10,000, gamma 1, at most 1,000 random images: the values of the
//! paper's code and of Foolbox. A query budget ends the search earlier; the last direction uses the queries that are
//! left.
//!
//! # Source
//!
//! Chen, Jordan and Wainwright, *HopSkipJumpAttack: A Query-Efficient Decision-Based Attack*, arXiv 1904.02144, algorithms 1
//! and 2.

use rand::{Rng, RngExt as _};

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
    threat::Norm,
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "hopskipjump",
    summary: "along the boundary using only labels, for the smallest L2 or L-inf (Chen et al. 2020)",
    family: Family::Labels,
    aim: Aim::Smallest,
    norms: &[Norm::L2, Norm::Linf],
    targeted: true,
    begins_elsewhere: true,
    parameters: &[
        Parameter {
            name: "iterations",
            kind: Kind::POSITIVE,
            default: "64",
            meaning: "number of steps along the boundary",
            origin: "the paper's code",
        },
        Parameter {
            name: "evaluations",
            kind: Kind::POSITIVE,
            default: "100",
            meaning: "number of labels for the first direction",
            origin: "the paper",
        },
        Parameter {
            name: "most_evaluations",
            kind: Kind::POSITIVE,
            default: "10000",
            meaning: "maximum number of labels for a direction",
            origin: "the paper's code",
        },
        Parameter {
            name: "gamma",
            kind: Kind::Number {
                least: 1e-6,
                most: 1e9,
            },
            default: "1",
            meaning: "how near to the boundary bisection ends, as a factor of theta",
            origin: "the paper",
        },
        Parameter {
            name: "draws",
            kind: Kind::POSITIVE,
            default: "1000",
            meaning: "maximum number of random images to start from",
            origin: "the paper's code",
        },
    ],
    cost: "evaluations * sqrt(t + 1) forward passes in iteration t, plus about 20 to 30 for the step and the way back",
    source: include_str!("hopskipjump.rs"),
    check: any_values,
    search: Search::Labels(|model, case, p, best| Box::pin(hopskipjump(model, case, p, best))),
};

async fn hopskipjump(model: Labels<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    let mut rng = fork(&case.rng, 0);
    let Some(start) = begin(model, case, p.count("draws")?, &mut rng).await? else {
        return Ok(());
    };
    let walk = Walk {
        model,
        case,
        evaluations: p.count("evaluations")? as f64,
        most_evaluations: p.count("most_evaluations")?,
        gamma: p.number("gamma")?,
    };
    best.offer_reaching(&start);
    let mut x = walk.to_the_boundary(&start, best).await?;
    for iteration in 0..p.count("iterations")? {
        let distance = case.region.distance(&x);
        if distance == 0.0 {
            break;
        }
        let direction = walk.direction(&x, distance, iteration, &mut rng).await?;
        let proposal = walk.step(&x, &direction, distance, iteration, best).await?;
        x = walk.to_the_boundary(&proposal, best).await?;
    }
    Ok(())
}

/// Finds an image that reaches the goal.
async fn begin(
    model: Labels<'_>,
    case: &Case,
    draws: u64,
    rng: &mut impl Rng,
) -> Result<Option<Image>> {
    for start in &case.starts {
        if case.goal.reached_by(model.label(start).await?) {
            return Ok(Some(start.clone()));
        }
    }
    for _ in 0..draws {
        let image = case.region.within(None).random_point(rng);
        if case.goal.reached_by(model.label(&image).await?) {
            return blended(model, case, image).await.map(Some);
        }
    }
    Ok(None)
}

/// Returns the first image on the way from the original to `far`, in equal steps, that reaches the goal. It may lie
/// nearer than the boundary that bisection would find.
async fn blended(model: Labels<'_>, case: &Case, far: Image) -> Result<Image> {
    let mut shares = (1..BLENDS).map(|step| f64::from(step) / f64::from(BLENDS));
    loop {
        let blend = |share: f64| {
            let mut image = far.clone();
            let center = case.original().pixels();
            for (x, &center) in image.pixels_mut().iter_mut().zip(center) {
                *x = ((1.0 - share) * f64::from(center) + share * f64::from(*x)) as f32;
            }
            image
        };
        let images: Vec<Image> = shares.by_ref().take(BLENDS_AT_ONCE).map(blend).collect();
        if images.is_empty() {
            return Ok(far);
        }
        let labels = model.labels(&images).await?;
        let mut asked = images.into_iter().zip(labels);
        if let Some((image, _)) = asked.find(|(_, label)| case.goal.reached_by(*label)) {
            return Ok(image);
        }
    }
}

/// Number of steps from the original to a random image, and how many of them are asked about at once.
const BLENDS: u32 = 50;
const BLENDS_AT_ONCE: usize = 7;

/// The minimum of theta. Nearer to the boundary, the rounding of images and logits decides the labels instead of the
/// boundary.
const FINEST: f64 = 1.0 / (1 << 18) as f64;

struct Walk<'a> {
    model: Labels<'a>,
    case: &'a Case,
    evaluations: f64,
    most_evaluations: u64,
    gamma: f64,
}

impl Walk<'_> {
    async fn reaches(&self, x: &Image) -> Result<bool> {
        Ok(self.case.goal.reached_by(self.model.label(x).await?))
    }

    /// Returns the number of values of the image.
    fn dimension(&self) -> f64 {
        self.case.original().pixels().len() as f64
    }

    /// Returns how near to the boundary bisection ends, relative to its way.
    fn theta(&self) -> f64 {
        let theta = match self.case.region.norm {
            Norm::Linf => self.gamma / self.dimension().powi(2),
            _ => self.gamma / self.dimension().powf(1.5),
        };
        theta.max(FINEST)
    }

    /// Returns the image at this part of the way from the original to `x`: clipped to that part of the distance in
    /// L-inf, otherwise blended.
    fn part(&self, x: &Image, distance: f64, part: f64) -> Image {
        let mut image = x.clone();
        let center = self.case.original().pixels();
        let is_linf = self.case.region.norm == Norm::Linf;
        for (x, &center) in image.pixels_mut().iter_mut().zip(center) {
            let (center, moved) = (f64::from(center), f64::from(*x) - f64::from(center));
            *x = match is_linf {
                true => center + moved.clamp(-part * distance, part * distance),
                false => center + part * moved,
            } as f32;
        }
        image
    }

    /// Returns the nearest image on the way from `x` to the original that still reaches the goal, as `x` does.
    async fn to_the_boundary(&self, x: &Image, best: &mut Best) -> Result<Image> {
        let distance = self.case.region.distance(x);
        let theta = self.theta();
        let (mut low, mut high) = (0.0, 1.0);
        let mut nearest = x.clone();
        while high - low > theta {
            let middle = 0.5 * (low + high);
            let image = self.part(x, distance, middle);
            // Float resolution ends before bisection does.
            if image == nearest {
                break;
            }
            if self.reaches(&image).await? {
                high = middle;
                best.offer_reaching(&image);
                nearest = image;
            } else {
                low = middle;
            }
        }
        Ok(nearest)
    }

    /// Estimates the direction of the goal, as a vector of unit length.
    async fn direction(
        &self,
        x: &Image,
        distance: f64,
        iteration: u64,
        rng: &mut impl Rng,
    ) -> Result<Vec<f64>> {
        let wanted = self.evaluations * ((iteration + 1) as f64).sqrt();
        let wanted = (wanted as u64).clamp(1, self.most_evaluations);
        // One query is kept for the step: without it the direction would be useless.
        let left = self.model.left().queries.saturating_sub(1).max(1);
        let wanted = usize::try_from(wanted.min(left)).unwrap_or(usize::MAX);
        let dimension = self.dimension();
        let delta = match (iteration, self.case.region.norm) {
            (0, _) => 0.1,
            (_, Norm::Linf) => dimension * self.theta() * distance,
            _ => dimension.sqrt() * self.theta() * distance,
        };
        let is_linf = self.case.region.norm == Norm::Linf;
        let mut images = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let noise: Vec<f64> = (0..x.pixels().len())
                .map(|_| match is_linf {
                    true => rng.random_range(-1.0..=1.0),
                    false => normal(rng),
                })
                .collect();
            let length = noise.iter().map(|n| n * n).sum::<f64>().sqrt();
            let mut image = x.clone();
            for (x, noise) in image.pixels_mut().iter_mut().zip(noise) {
                *x = (f64::from(*x) + delta * noise / length.max(f64::MIN_POSITIVE)) as f32;
            }
            self.case.region.bounds.clamp(image.pixels_mut());
            images.push(image);
        }
        let labels = self.model.labels(&images).await?;
        let signs: Vec<f64> = labels
            .iter()
            .map(|&label| {
                if self.case.goal.reached_by(label) {
                    1.0
                } else {
                    -1.0
                }
            })
            .collect();
        let mean = signs.iter().sum::<f64>() / signs.len() as f64;
        // If all labels agree, there is no baseline to subtract.
        let base = if mean.abs() == 1.0 { 0.0 } else { mean };
        let mut direction = vec![0.0; x.pixels().len()];
        for (image, sign) in images.iter().zip(signs) {
            let moves = image.pixels().iter().zip(x.pixels());
            for (sum, (image, x)) in direction.iter_mut().zip(moves) {
                *sum += (sign - base) * (f64::from(*image) - f64::from(*x));
            }
        }
        let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
        for d in &mut direction {
            *d = match is_linf {
                true if *d == 0.0 => 0.0,
                true => d.signum(),
                false => *d / length.max(f64::MIN_POSITIVE),
            };
        }
        Ok(direction)
    }

    /// Returns a point in that direction that reaches the goal. Starts with the full step and halves it until it does.
    async fn step(
        &self,
        x: &Image,
        direction: &[f64],
        distance: f64,
        iteration: u64,
        best: &mut Best,
    ) -> Result<Image> {
        let mut length = distance / ((iteration + 1) as f64).sqrt();
        loop {
            let mut proposal = x.clone();
            for (x, d) in proposal.pixels_mut().iter_mut().zip(direction) {
                *x = (f64::from(*x) + length * d) as f32;
            }
            self.case.region.bounds.clamp(proposal.pixels_mut());
            // No step in this direction reaches the goal, but the point itself does.
            if proposal == *x {
                return Ok(proposal);
            }
            if self.reaches(&proposal).await? {
                best.offer_reaching(&proposal);
                return Ok(proposal);
            }
            length /= 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::{
            Attack,
            toys::{Job, Setup, Toy, jobs, linear_weights, run},
        },
        oracle::Budget,
    };

    /// The nearest boundary point of a linear model is known: the smallest margin divided by the dual norm of its
    /// weights. The box may bar the way to it.
    #[test]
    fn on_a_linear_model_it_comes_near_the_nearest_point() {
        let toy = Toy::linear();
        let weights = linear_weights();
        let jobs = jobs(toy, false, 9);
        let attack = Attack::parse("hopskipjump(iterations=30)").unwrap();
        for norm in [Norm::L2, Norm::Linf] {
            let setup = Setup::new(norm, None);
            let nearest = |job: &Job| {
                let (label, logits) = (job.goal.label(), toy.classify(&job.original));
                let distance = |rival: usize| {
                    let slope = weights[label]
                        .iter()
                        .zip(&weights[rival])
                        .map(|(a, b)| f64::from(a - b));
                    let dual = match norm {
                        Norm::Linf => slope.map(f64::abs).sum::<f64>(),
                        _ => slope.map(|d| d * d).sum::<f64>().sqrt(),
                    };
                    f64::from(logits[label] - logits[rival]) / dual
                };
                let rivals = (0..logits.len()).filter(|&class| class != label);
                rivals.map(distance).fold(f64::INFINITY, f64::min)
            };
            let mut ratios = Vec::new();
            for (job, (candidate, spent)) in jobs.iter().zip(run(toy, &attack, &jobs, &setup)) {
                assert!(candidate.reached && spent.gradients == 0);
                ratios.push(setup.region(job).distance(&candidate.image) / nearest(job));
            }
            ratios.sort_by(f64::total_cmp);
            assert!(ratios[0] > 0.999 && ratios[4] < 1.25, "{norm}: {ratios:?}");
        }
    }

    #[test]
    fn a_budget_is_used_up_and_no_more() {
        let toy = Toy::tanh();
        let attack = Attack::parse("hopskipjump").unwrap();
        let with = |queries| Setup {
            budget: Budget {
                queries,
                ..Budget::default()
            },
            ..Setup::new(Norm::L2, None)
        };
        let jobs = jobs(toy, false, 5);
        let median = |queries: u64| {
            let mut distances: Vec<f64> = run(toy, &attack, &jobs, &with(queries))
                .iter()
                .zip(&jobs)
                .map(|((candidate, spent), job)| {
                    assert!(candidate.budget_spent && spent.queries <= queries);
                    assert!(spent.queries + 2 >= queries, "{spent:?} of {queries}");
                    with(queries).region(job).distance(&candidate.image)
                })
                .collect();
            distances.sort_by(f64::total_cmp);
            distances[2]
        };
        assert!(median(2_000) < median(300));
    }
}
