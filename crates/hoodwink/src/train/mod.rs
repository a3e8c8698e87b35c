//! Trains small classifiers, plainly or adversarially, with the gradients of this project.
//!
//! The result depends on the settings and the data alone, not on the number of threads: every mini-batch is cut into
//! fixed shards, whose gradients are added in order.

mod augment;
mod crew;
mod inner;
mod network;
mod optimiser;

use onnx_grad::{Graph, Lowering, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use augment::Augment;
pub use inner::Adversarial;
pub use network::{Network, Preset, Task};
pub use optimiser::Optimiser;

use crate::{
    Error, Result,
    data::Dataset,
    engine::Engine,
    image::{Image, Picture},
};
use crew::{Crew, Learned, SHARD};
use optimiser::{Descent, Schedule};

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The architecture.
    pub preset: Preset,
    /// Passes over the training pictures; at least 1.
    pub epochs: usize,
    /// Pictures of one step; at least 1.
    pub batch: usize,
    /// The highest learning rate: it rises over the first twentieth of the steps, then falls to zero along a cosine.
    pub learning_rate: f64,
    /// The rule for the step.
    pub optimiser: Optimiser,
    /// This times the weight is added to its gradient.
    pub weight_decay: f64,
    /// Random changes of the training pictures.
    pub augment: Augment,
    /// Adversarial training; plain where `None`.
    pub adversarial: Option<Adversarial>,
    /// Seed of the starting weights, the order of pictures, their changes and the attack's random starts.
    pub seed: u64,
    /// Worker threads; at least 1. Does not change the result.
    pub threads: usize,
}

/// What training reports while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// A step was taken.
    Step {
        /// How many so far.
        done: usize,
        /// How many there will be.
        of: usize,
        /// Mean loss of the mini-batch.
        loss: f64,
    },
    /// An epoch ended.
    Epoch(Epoch),
}

/// What is known of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean loss over the training pictures, each as it was learned from: changed and, in adversarial training,
    /// attacked.
    pub loss: f64,
    /// Part of these that were classified correctly, by the weights of that moment.
    pub train_accuracy: f64,
    /// Part of the held-out pictures that the weights at the end of the epoch classify correctly; `None` without any.
    pub held_out_accuracy: Option<f64>,
}

/// A trained classifier.
#[derive(Clone, Debug)]
pub struct Trained {
    /// From `pixels` `[N, C, H, W]` in \[0, 1\] to `logits` `[N, classes]`, normalisation included.
    pub graph: Graph,
    /// One entry for each epoch.
    pub history: Vec<Epoch>,
}

impl Trained {
    /// The classifier as an ONNX file.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        Ok(onnx_grad::to_onnx(&self.graph, Lowering::Portable)?)
    }
}

/// Trains a network on labelled pictures of one size and looks at `held_out` after every epoch.
///
/// `progress` is told of every step and epoch; an error from it, such as [`Error::Stopped`], ends the training.
pub fn train(
    settings: &Settings,
    engine: &dyn Engine,
    data: &Dataset,
    held_out: Option<&Dataset>,
    mut progress: impl FnMut(Progress) -> Result<()>,
) -> Result<Trained> {
    settings.check()?;
    let training = Pictures::load(data)?;
    let held_out = held_out.map(Pictures::load).transpose()?;
    let task = training.task(data.class_names().map_or(0, <[String]>::len))?;
    if let Some(held_out) = &held_out {
        held_out.fit(&task, data.name())?;
    }

    let mut network = Network::new(
        settings.preset,
        &task,
        &mut settings.rng(Purpose::Weights, 0, 0),
    )?;
    let mut crew = Crew::new(
        &network,
        engine,
        settings.threads,
        settings.adversarial.is_some(),
    )?;
    let mut weights = Weights::of(&network)?;
    let mut descent = Descent::new(settings.optimiser, settings.weight_decay, &weights.sizes());
    let steps_per_epoch = training.len().div_ceil(settings.batch);
    let steps = steps_per_epoch * settings.epochs;
    let schedule = Schedule {
        peak: settings.learning_rate,
        warm_up: steps / 20,
        steps,
    };

    let mut history = Vec::with_capacity(settings.epochs);
    for epoch in 0..settings.epochs {
        let order = shuffled(training.len(), &mut settings.rng(Purpose::Order, epoch, 0));
        let (mut loss, mut correct) = (0.0, 0);
        for (at, batch) in order.chunks(settings.batch).enumerate() {
            let done = epoch * steps_per_epoch + at;
            let passed = done as f64 / steps_per_epoch as f64;
            let attack = settings
                .adversarial
                .map(|adversarial| adversarial.after(passed));
            let bound = weights.tensors()?;
            let shards: Vec<&[usize]> = batch.chunks(SHARD).collect();
            let learned = crew.map(&shards, |worker, shard| {
                let labels = training.labels_of(shard);
                let rng = |purpose, &row| settings.rng(purpose, epoch, row);
                let mut images = shard
                    .iter()
                    .map(|row| {
                        let image = training.pictures[*row].to_image();
                        settings
                            .augment
                            .apply(&image, &mut rng(Purpose::Augment, row))
                    })
                    .collect::<Result<Vec<Image>>>()?;
                if let Some(attack) = &attack {
                    let mut rngs: Vec<_> =
                        shard.iter().map(|row| rng(Purpose::Attack, row)).collect();
                    images = attack.attack(worker, &images, &labels, &bound, &mut rngs)?;
                }
                worker.learn(&images, &labels, &bound)
            })?;
            let sum: f64 = learned.iter().map(|shard| shard.loss).sum();
            if !sum.is_finite() {
                return Err(Error::invalid(format!(
                    "the loss is no longer a number in epoch {}; lower the learning rate",
                    epoch + 1
                )));
            }
            let gradients = weights.mean_gradient(&learned, batch.len())?;
            descent.step(&mut weights.values, &gradients, schedule.rate(done));
            loss += sum;
            correct += learned.iter().map(|shard| shard.correct).sum::<usize>();
            progress(Progress::Step {
                done: done + 1,
                of: steps,
                loss: sum / batch.len() as f64,
            })?;
        }
        let held_out_accuracy = match &held_out {
            Some(pictures) => Some(pictures.accuracy(&mut crew, &weights.tensors()?)?),
            None => None,
        };
        let record = Epoch {
            epoch: epoch + 1,
            loss: loss / training.len() as f64,
            train_accuracy: correct as f64 / training.len() as f64,
            held_out_accuracy,
        };
        history.push(record);
        progress(Progress::Epoch(record))?;
    }
    network.bind(&weights.tensors()?)?;
    Ok(Trained {
        graph: network.graph,
        history,
    })
}

/// What random numbers are for.
#[derive(Clone, Copy)]
enum Purpose {
    Weights,
    Order,
    Augment,
    Attack,
}

impl Settings {
    fn check(&self) -> Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let attack_is_sound = self.adversarial.is_none_or(|attack| {
            attack.steps > 0 && positive(attack.step_size) && positive(attack.ball.eps)
        });
        let momentum_is_sound = match self.optimiser {
            Optimiser::Sgd { momentum } => (0.0..1.0).contains(&momentum),
            Optimiser::Adam => true,
        };
        for (sound, wanted) in [
            (self.epochs > 0, "epochs must be at least 1"),
            (self.batch > 0, "the batch must be at least 1"),
            (
                positive(self.learning_rate),
                "the learning rate must be positive",
            ),
            (
                self.weight_decay.is_finite() && self.weight_decay >= 0.0,
                "the weight decay must not be negative",
            ),
            (momentum_is_sound, "the momentum must be in [0, 1)"),
            (
                attack_is_sound,
                "eps, step size and steps of adversarial training must be positive",
            ),
        ] {
            if !sound {
                return Err(Error::invalid(wanted));
            }
        }
        Ok(())
    }

    /// A stream of its own for each purpose, epoch and picture.
    fn rng(&self, purpose: Purpose, epoch: usize, row: usize) -> ChaCha8Rng {
        let mut key = [0; 32];
        let parts = [self.seed, purpose as u64, epoch as u64, row as u64];
        for (bytes, part) in key.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// `0..count` in random order (Fisher and Yates).
fn shuffled(count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

/// The values of all weights, in the network's order.
struct Weights {
    shapes: Vec<Vec<usize>>,
    values: Vec<Vec<f32>>,
}

impl Weights {
    fn of(network: &Network) -> Result<Self> {
        let (mut shapes, mut values) = (Vec::new(), Vec::new());
        for &id in &network.weights {
            let tensor = network
                .graph
                .as_constant(id)
                .and_then(|t| Some((t.shape(), t.as_f32()?)));
            let (shape, elements) =
                tensor.ok_or_else(|| Error::invalid("a weight is no float constant"))?;
            shapes.push(shape.to_vec());
            values.push(elements.to_vec());
        }
        Ok(Self { shapes, values })
    }

    fn sizes(&self) -> Vec<usize> {
        self.values.iter().map(Vec::len).collect()
    }

    fn tensors(&self) -> Result<Vec<Tensor>> {
        let pairs = self.shapes.iter().zip(&self.values);
        pairs
            .map(|(shape, values)| Ok(Tensor::f32(shape.clone(), values.as_slice())?))
            .collect()
    }

    /// The shards' gradients added in their order, over the number of pictures.
    fn mean_gradient(&self, shards: &[Learned], pictures: usize) -> Result<Vec<Vec<f32>>> {
        let mut sums: Vec<Vec<f32>> = self
            .values
            .iter()
            .map(|values| vec![0.0; values.len()])
            .collect();
        for shard in shards {
            for (sum, gradient) in sums.iter_mut().zip(&shard.gradients) {
                let gradient = gradient
                    .as_f32()
                    .filter(|gradient| gradient.len() == sum.len())
                    .ok_or_else(|| {
                        Error::invalid("a weight's gradient has another shape than the weight")
                    })?;
                for (sum, value) in sum.iter_mut().zip(gradient) {
                    *sum += value;
                }
            }
        }
        for value in sums.iter_mut().flatten() {
            *value /= pictures as f32;
        }
        Ok(sums)
    }
}

/// A data set in memory.
struct Pictures {
    pictures: Vec<Picture>,
    labels: Vec<usize>,
}

impl Pictures {
    fn load(data: &Dataset) -> Result<Self> {
        let labels = data.labels()?.to_vec();
        let pictures: Vec<Picture> = (0..data.len())
            .map(|row| Ok(data.get(row)?.picture))
            .collect::<Result<_>>()?;
        let shape = |picture: &Picture| [picture.channels(), picture.height(), picture.width()];
        if let Some(odd) = pictures
            .iter()
            .position(|one| shape(one) != shape(&pictures[0]))
        {
            return Err(Error::invalid(format!(
                "{}[{odd}] has shape {:?} and the first picture {:?}; --resize and --crop make them equal",
                data.name(),
                shape(&pictures[odd]),
                shape(&pictures[0])
            )));
        }
        Ok(Self { pictures, labels })
    }

    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn shape(&self) -> [usize; 3] {
        let first = &self.pictures[0];
        [first.channels(), first.height(), first.width()]
    }

    fn labels_of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|&row| self.labels[row]).collect()
    }

    /// What a network for these pictures must do; `named` classes are counted even where none is shown.
    fn task(&self, named: usize) -> Result<Task> {
        let channels = self.shape()[0];
        let count = (self.len() * self.pictures[0].bytes().len() / channels) as f64;
        let (mut sums, mut squares) = (vec![0_u64; channels], vec![0_u64; channels]);
        for picture in &self.pictures {
            for pixel in picture.bytes().chunks_exact(channels) {
                for (channel, &level) in pixel.iter().enumerate() {
                    sums[channel] += u64::from(level);
                    squares[channel] += u64::from(level) * u64::from(level);
                }
            }
        }
        let mean =
            |sums: &[u64]| -> Vec<f64> { sums.iter().map(|&sum| sum as f64 / count).collect() };
        let (means, squares) = (mean(&sums), mean(&squares));
        let deviation = |(mean, square): (&f64, &f64)| {
            // One level of grey at least, so that flat pictures do not divide by zero.
            ((square - mean * mean).max(1.0).sqrt() / 255.0) as f32
        };
        let shown = self.labels.iter().max().map_or(0, |label| label + 1);
        Ok(Task {
            input: self.shape(),
            classes: named.max(shown),
            deviation: means.iter().zip(&squares).map(deviation).collect(),
            mean: means.iter().map(|mean| (mean / 255.0) as f32).collect(),
        })
    }

    /// Fails where these pictures are not such as the network is made for.
    fn fit(&self, task: &Task, training: &str) -> Result<()> {
        if self.shape() == task.input && self.labels.iter().all(|&label| label < task.classes) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the held-out pictures have another shape or more classes than {training}"
        )))
    }

    /// Part that is classified correctly.
    fn accuracy(&self, crew: &mut Crew, weights: &[Tensor]) -> Result<f64> {
        let rows: Vec<usize> = (0..self.len()).collect();
        let shards: Vec<&[usize]> = rows.chunks(SHARD).collect();
        let correct = crew.map(&shards, |worker, shard| {
            let images: Vec<Image> = shard
                .iter()
                .map(|&row| self.pictures[row].to_image())
                .collect();
            let seen = worker.classes(&images, weights)?;
            Ok(seen
                .iter()
                .zip(self.labels_of(shard))
                .filter(|(seen, label)| *seen == label)
                .count())
        })?;
        Ok(correct.iter().sum::<usize>() as f64 / self.len() as f64)
    }
}

#[cfg(test)]
mod tests;
