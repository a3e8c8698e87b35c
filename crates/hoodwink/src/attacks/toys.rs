//! Small models as graphs, asked through the ordinary programs and engine, and how to attack them.

use std::sync::{Arc, LazyLock};

use onnx_grad::{DType, Dim, Graph, Op, Reduction, Tensor, ValueId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Attack, Candidate, Case, Edit, Fitting, random::stream};
use crate::{
    Result, engine,
    image::Image,
    model::Classifier,
    oracle::{
        Budget, Counted, Halt, Spent, argmax,
        pool::{Model, Parallelism, Worker, drive},
    },
    threat::{Goal, Norm, Region},
};

pub(crate) const SHAPE: [usize; 3] = [3, 4, 4];
pub(crate) const VALUES: usize = 48;
pub(crate) const CLASSES: usize = 5;

pub(crate) type Rows = Vec<Vec<f32>>;

/// A classifier of images of shape [`SHAPE`].
pub(crate) struct Toy(Classifier);

fn random_rows(count: usize, length: usize, scale: f64, seed: u64) -> Rows {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || {
        (0..length)
            .map(|_| rng.random_range(-scale..scale) as f32)
            .collect()
    };
    (0..count).map(|_| row()).collect()
}

/// Part of a graph over batches of pictures.
struct Sketch(Graph);

impl Sketch {
    fn apply(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.0.add(op, inputs).unwrap()
    }

    fn rows(&mut self, rows: &Rows) -> ValueId {
        let values: Vec<f32> = rows.concat();
        let shape = [rows.len(), rows[0].len()];
        self.0.constant(Tensor::f32(shape, values).unwrap())
    }

    /// `rows x` for each row vector `x` of a batch.
    fn times(&mut self, rows: &Rows, x: ValueId) -> ValueId {
        let rows = self.rows(rows);
        let columns = self.apply(Op::Transpose { perm: vec![1, 0] }, &[rows]);
        self.apply(Op::MatMul, &[x, columns])
    }
}

impl Toy {
    /// The model whose logits `sketch` computes from `[N, VALUES]`.
    fn of(sketch: impl FnOnce(&mut Sketch, ValueId) -> ValueId) -> Self {
        let mut all = Sketch(Graph::new());
        let [channels, height, width] = SHAPE.map(Dim::Fixed);
        let shape = vec![Dim::Batch(1), channels, height, width];
        let pixels = all.0.input("x", DType::F32, shape);
        let shape = vec![Dim::Batch(1), Dim::Fixed(VALUES)];
        let flat = all.apply(Op::Reshape { shape }, &[pixels]);
        let logits = sketch(&mut all, flat);
        all.0.output("logits", logits);
        let engine = engine::open(engine::Choice::Rten).unwrap();
        Self(Classifier::of_graph(&all.0, engine).unwrap())
    }

    /// `W x`.
    pub(crate) fn of_weights(weights: &Rows) -> Self {
        Self::of(|graph, x| graph.times(weights, x))
    }

    pub(crate) fn linear() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| Toy::of_weights(&linear_weights()));
        &TOY
    }

    /// Logits `[0, w x]` with the weights of [`ramp`].
    pub(crate) fn ramp() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| {
            let weights = ramp().into_iter().map(|w| w as f32).collect();
            Toy::of_weights(&vec![vec![0.0; VALUES], weights])
        });
        &TOY
    }

    /// `V tanh(W (x - 1/2))`.
    pub(crate) fn tanh() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| {
            Toy::of(|graph, x| {
                let half = graph.0.scalar(0.5);
                let centred = graph.apply(Op::Sub, &[x, half]);
                let inner = graph.times(&random_rows(12, VALUES, 1.0, 2), centred);
                let hidden = graph.apply(Op::Tanh, &[inner]);
                graph.times(&random_rows(CLASSES, 12, 1.0, 3), hidden)
            })
        });
        &TOY
    }

    /// `-|x - c|^2` for the centre `c` of each class.
    pub(crate) fn quadratic() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| {
            Toy::of(|graph, x| {
                let mut centres = random_rows(CLASSES, VALUES, 0.5, 4);
                centres.iter_mut().flatten().for_each(|c| *c += 0.5);
                let centres = graph.rows(&centres);
                let shape = vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(VALUES)];
                let x = graph.apply(Op::Reshape { shape }, &[x]);
                let offset = graph.apply(Op::Sub, &[x, centres]);
                let squares = graph.apply(Op::Mul, &[offset, offset]);
                let sum = Op::Reduce {
                    kind: Reduction::Sum,
                    axes: vec![2],
                    keep_dims: false,
                };
                let distances = graph.apply(sum, &[squares]);
                graph.apply(Op::Neg, &[distances])
            })
        });
        &TOY
    }

    /// Always the same logits.
    pub(crate) fn flat() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| {
            Toy::of(|graph, x| {
                let nothing = graph.times(&vec![vec![0.0; VALUES]; CLASSES], x);
                let logits = graph.rows(&vec![vec![0.5, 2.0, -1.0, 0.0, 1.0]]);
                graph.apply(Op::Add, &[nothing, logits])
            })
        });
        &TOY
    }

    /// Like [`Toy::linear`], but the gradients of the first values are NaN and infinities.
    pub(crate) fn broken() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| broken(6));
        &TOY
    }

    /// Likewise, but of all values.
    pub(crate) fn wholly_broken() -> &'static Self {
        static TOY: LazyLock<Toy> = LazyLock::new(|| broken(VALUES));
        &TOY
    }

    /// The logits of one image.
    pub(crate) fn classify(&self, x: &Image) -> Vec<f32> {
        let mut worker = self.0.worker().unwrap();
        worker.logits(&[x]).unwrap().remove(0)
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

/// The weights of [`Toy::linear`].
pub(crate) fn linear_weights() -> Rows {
    random_rows(CLASSES, VALUES, 1.0, 1)
}

/// [`Toy::linear`] with broken gradients of so many values.
fn broken(count: usize) -> Toy {
    Toy::of(|graph, x| {
        let causes = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let factors = causes.into_iter().cycle().take(count);
        let factors = factors.chain(std::iter::repeat(1.0)).take(VALUES).collect();
        let factors = graph.rows(&vec![factors]);
        let spoiled = graph.apply(Op::Mul, &[x, factors]);
        let weights = linear_weights();
        let [value, slope] = [x, spoiled].map(|x| graph.times(&weights, x));
        graph.apply(Op::StraightThrough, &[value, slope])
    })
}

impl Model for Toy {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        self.0.worker()
    }

    fn classes(&self) -> usize {
        self.0.classes()
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

/// What an attack fits to all jobs together, and what it asked; within the radius of `setup`.
pub(crate) fn fit(
    toy: &Toy,
    attack: &Attack,
    jobs: &[Job],
    setup: &Setup,
) -> (Result<Edit>, Spent) {
    let fitting = Fitting {
        pictures: jobs
            .iter()
            .map(|job| (job.original.clone(), job.goal))
            .collect(),
        norm: setup.norm,
        eps: setup.radius.unwrap(),
        rng: stream(setup.seed, "", attack.name(), 0),
    };
    let mut found = Vec::new();
    drive(
        &[toy],
        setup.crew,
        std::iter::once((attack.clone(), fitting)),
        &Halt::new(),
        |(attack, fitting), handle| {
            let budget = setup.budget;
            Box::pin(async move {
                let oracle = Counted::new(&handle, attack.access(), budget);
                let edit = attack.fit(&oracle, &fitting).await;
                Ok((edit, oracle.spent()))
            })
        },
        |one| {
            found.push(one);
            Ok(())
        },
    )
    .unwrap();
    found.remove(0)
}
