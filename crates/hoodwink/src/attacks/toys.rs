//! Small models whose gradients are written down by hand, and how to attack them.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Attack, Candidate, Case, random::stream};
use crate::{
    Result,
    image::Image,
    oracle::{
        Budget, Counted, Differential, Halt, Objective, Spent, argmax,
        pool::{Model, Parallelism, Worker, drive},
    },
    threat::{Goal, Norm, Region},
};

pub(crate) const SHAPE: [usize; 3] = [3, 4, 4];
pub(crate) const VALUES: usize = 48;
pub(crate) const CLASSES: usize = 5;

pub(crate) type Rows = Vec<Vec<f64>>;

/// A classifier of images of shape [`SHAPE`].
pub(crate) enum Toy {
    /// `W x`.
    Linear(Rows),
    /// `V tanh(W (x - 1/2))`.
    Tanh(Rows, Rows),
    /// `-|x - c|^2` for the centre `c` of each class.
    Quadratic(Rows),
    /// Always these logits.
    Flat(Vec<f64>),
    /// Like `Linear`, but the gradients of the first values are NaN and infinities; of all values if `all`.
    Broken { weights: Rows, all: bool },
}

fn random_rows(count: usize, length: usize, scale: f64, seed: u64) -> Rows {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || {
        (0..length)
            .map(|_| rng.random_range(-scale..scale))
            .collect()
    };
    (0..count).map(|_| row()).collect()
}

fn times(rows: &Rows, x: &[f64]) -> Vec<f64> {
    let dot = |row: &Vec<f64>| row.iter().zip(x).map(|(w, x)| w * x).sum();
    rows.iter().map(dot).collect()
}

fn transposed_times(rows: &Rows, cotangent: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; rows[0].len()];
    for (row, g) in rows.iter().zip(cotangent) {
        for (sum, w) in sum.iter_mut().zip(row) {
            *sum += w * g;
        }
    }
    sum
}

impl Toy {
    pub(crate) fn linear() -> Self {
        Self::Linear(random_rows(CLASSES, VALUES, 1.0, 1))
    }

    /// Logits `[0, w x]` with the weights of [`ramp`].
    pub(crate) fn ramp() -> Self {
        Self::Linear(vec![vec![0.0; VALUES], ramp()])
    }

    pub(crate) fn tanh() -> Self {
        Self::Tanh(
            random_rows(12, VALUES, 1.0, 2),
            random_rows(CLASSES, 12, 1.0, 3),
        )
    }

    pub(crate) fn quadratic() -> Self {
        let mut centres = random_rows(CLASSES, VALUES, 0.5, 4);
        centres.iter_mut().flatten().for_each(|c| *c += 0.5);
        Self::Quadratic(centres)
    }

    pub(crate) fn flat() -> Self {
        Self::Flat(vec![0.5, 2.0, -1.0, 0.0, 1.0])
    }

    pub(crate) fn broken(all: bool) -> Self {
        let weights = random_rows(CLASSES, VALUES, 1.0, 1);
        Self::Broken { weights, all }
    }

    /// The logits of one image.
    pub(crate) fn classify(&self, x: &Image) -> Vec<f32> {
        let x: Vec<f64> = x.pixels().iter().map(|&x| f64::from(x)).collect();
        let logits = match self {
            Self::Linear(weights) | Self::Broken { weights, .. } => times(weights, &x),
            Self::Tanh(inner, outer) => times(outer, &hidden(inner, &x)),
            Self::Quadratic(centres) => {
                let nearness =
                    |c: &Vec<f64>| -x.iter().zip(c).map(|(x, c)| (x - c).powi(2)).sum::<f64>();
                centres.iter().map(nearness).collect()
            }
            Self::Flat(logits) => logits.clone(),
        };
        logits.into_iter().map(|z| z as f32).collect()
    }

    /// The gradient at `x` of logits weighted by `cotangent`.
    fn pull(&self, x: &Image, cotangent: &[f64]) -> Vec<f64> {
        let x: Vec<f64> = x.pixels().iter().map(|&x| f64::from(x)).collect();
        match self {
            Self::Linear(weights) => transposed_times(weights, cotangent),
            Self::Tanh(inner, outer) => {
                let mut hidden_cotangent = transposed_times(outer, cotangent);
                for (g, h) in hidden_cotangent.iter_mut().zip(hidden(inner, &x)) {
                    *g *= 1.0 - h * h;
                }
                transposed_times(inner, &hidden_cotangent)
            }
            Self::Quadratic(centres) => {
                let mut sum = vec![0.0; VALUES];
                for (centre, g) in centres.iter().zip(cotangent) {
                    for ((sum, x), c) in sum.iter_mut().zip(&x).zip(centre) {
                        *sum -= 2.0 * (x - c) * g;
                    }
                }
                sum
            }
            Self::Flat(_) => vec![0.0; VALUES],
            Self::Broken { weights, all } => {
                let mut gradient = transposed_times(weights, cotangent);
                let broken = if *all { VALUES } else { 6 };
                let causes = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                for (g, cause) in gradient[..broken]
                    .iter_mut()
                    .zip(causes.into_iter().cycle())
                {
                    *g = cause;
                }
                gradient
            }
        }
    }

    fn differential(&self, x: &Image, objective: &Objective) -> Differential {
        let logits = self.classify(x);
        let gradient = self.pull(x, &objective.cotangent(&logits).unwrap());
        let gradient = gradient.into_iter().map(|g| g as f32).collect();
        Differential {
            loss: objective.value(&logits).unwrap(),
            gradient: Image::new(SHAPE, gradient).unwrap(),
            logits,
        }
    }

    /// Eight-bit images, some values at the edge of the box, with the classes the model gives them.
    pub(crate) fn samples(&self, count: usize) -> Vec<(Image, usize)> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut level = || f32::from(rng.random_range(-20..276_i16).clamp(0, 255)) / 255.0;
        let mut sample = || {
            let pixels = (0..VALUES).map(|_| level()).collect();
            let image = Image::new(SHAPE, pixels).unwrap();
            let label = argmax(&self.classify(&image));
            (image, label)
        };
        (0..count).map(|_| sample()).collect()
    }
}

fn hidden(inner: &Rows, x: &[f64]) -> Vec<f64> {
    let centred: Vec<f64> = x.iter().map(|x| x - 0.5).collect();
    times(inner, &centred).into_iter().map(f64::tanh).collect()
}

impl Model for Toy {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(ToyWorker(self)))
    }

    fn classes(&self) -> usize {
        self.classify(&Image::zeros(SHAPE)).len()
    }
}

struct ToyWorker<'a>(&'a Toy);

impl Worker for ToyWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        Ok(images.iter().map(|x| self.0.classify(x)).collect())
    }

    fn differentials(
        &mut self,
        images: &[&Image],
        objectives: &[&Objective],
    ) -> Result<Vec<Differential>> {
        let pairs = images.iter().zip(objectives);
        Ok(pairs
            .map(|(x, objective)| self.0.differential(x, objective))
            .collect())
    }
}

/// One picture under attack.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) original: Image,
    pub(crate) goal: Goal,
}

/// Jobs on a model's samples: away from the model's own answer, or to the class after it.
pub(crate) fn jobs(toy: &Toy, targeted: bool, count: usize) -> Vec<Job> {
    let job = |(index, (original, label)): (usize, (Image, usize))| {
        let target = (label + 1) % CLASSES;
        let goal = if targeted {
            Goal::Targeted { label, target }
        } else {
            Goal::Untargeted { label }
        };
        let name = format!("sample {index}");
        Job {
            name,
            original,
            goal,
        }
    };
    toy.samples(count)
        .into_iter()
        .enumerate()
        .map(job)
        .collect()
}

/// Weights that floats hold exactly; none of them is zero.
pub(crate) fn ramp() -> Vec<f64> {
    (0..VALUES).map(|i| (i as f64 - 30.5) / 8.0).collect()
}

/// An image far from the edges of the box whose values floats hold exactly; for [`Toy::ramp`] of class 0 by far.
pub(crate) fn ramp_job(goal: Goal) -> Job {
    let pixel = |i: usize| (20 + i % 13) as f32 / 64.0;
    Job {
        name: "ramp".to_owned(),
        original: Image::new(SHAPE, (0..VALUES).map(pixel).collect()).unwrap(),
        goal,
    }
}

/// How an attack is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) norm: Norm,
    /// `None` for an attack that looks for the smallest norm.
    pub(crate) radius: Option<f64>,
    pub(crate) seed: u64,
    pub(crate) crew: Parallelism,
    pub(crate) budget: Budget,
}

impl Setup {
    pub(crate) fn new(norm: Norm, radius: Option<f64>) -> Self {
        Self {
            norm,
            radius,
            seed: 0,
            crew: Parallelism {
                threads: 1,
                batch: 4,
            },
            budget: Budget::default(),
        }
    }

    pub(crate) fn within(norm: Norm, eps: f64) -> Self {
        Self::new(norm, Some(eps))
    }

    pub(crate) fn region(&self, job: &Job) -> Region {
        Region::new(job.original.clone(), self.norm, self.radius)
    }
}

/// What an attack finds for every job, and what it asked.
pub(crate) fn run(
    toy: &Toy,
    attack: &Attack,
    jobs: &[Job],
    setup: &Setup,
) -> Vec<(Candidate, Spent)> {
    try_run(toy, attack, jobs, setup).unwrap()
}

/// Like [`run`], where the attack may fail.
pub(crate) fn try_run(
    toy: &Toy,
    attack: &Attack,
    jobs: &[Job],
    setup: &Setup,
) -> Result<Vec<(Candidate, Spent)>> {
    let attack = Arc::new(attack.clone());
    let mut found = Vec::new();
    drive(
        &[toy],
        setup.crew,
        jobs.iter().cloned().enumerate(),
        &Halt::new(),
        |(index, job), handle| {
            let (attack, setup) = (Arc::clone(&attack), *setup);
            Box::pin(async move {
                let oracle = Counted::new(&handle, attack.access(), setup.budget);
                let case = Case {
                    region: setup.region(&job),
                    goal: job.goal,
                    starts: Vec::new(),
                    rng: stream(setup.seed, &job.name, attack.name(), 0),
                };
                let candidate = attack.run(&oracle, &case).await?;
                Ok((index, candidate, oracle.spent()))
            })
        },
        |result| {
            found.push(result);
            Ok(())
        },
    )?;
    found.sort_by_key(|(index, ..)| *index);
    assert_eq!(found.len(), jobs.len());
    Ok(found
        .into_iter()
        .map(|(_, candidate, spent)| (candidate, spent))
        .collect())
}
