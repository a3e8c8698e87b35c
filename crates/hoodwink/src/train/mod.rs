//! Trains small classifiers, plainly or adversarially, with the gradients of this project.
//!
//! The result depends only on the settings, the data and the engine, not on the number of threads or on interruptions.
//! Every mini-batch is cut into fixed shards, whose gradients are added in order. A checkpoint holds everything that
//! changes from step to step.

mod architecture;
mod augment;
mod checkpoint;
mod crew;
mod history;
mod inner;
mod network;
mod optimiser;
mod pictures;
mod schedule;
mod settings;
mod weights;

use onnx_grad::{Graph, Lowering};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

pub use architecture::{Architecture, Layer, Preset};
pub use augment::Augment;
pub use checkpoint::Checkpoint;
pub use history::{Epoch, to_csv};
pub use inner::Adversarial;
pub use network::{Network, Task};
pub use optimiser::Optimiser;
pub use schedule::Schedule;
pub use settings::Settings;

use crate::{Error, Result, data::Dataset, engine::Engine, image::Image, parallel::useful};
use checkpoint::{Keeper, Standing};
use crew::{Crew, Learned, SHARD};
use optimiser::Descent;
use pictures::Pictures;
use settings::Purpose;
use weights::Weights;

/// A progress report of the training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// A checkpoint was found.
    TakenUp {
        /// Steps already taken.
        done: usize,
        /// Total number of steps.
        of: usize,
    },
    /// A step was taken.
    Step {
        /// Steps taken so far.
        done: usize,
        /// Total number of steps.
        of: usize,
        /// Mean loss of the mini-batch.
        loss: f64,
    },
    /// An epoch ended; holds all epochs so far. Reported before the epoch's last step, so that stopping there loses no
    /// epoch.
    Epoch(&'a [Epoch]),
}

/// A trained classifier.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Maps `pixels` `[N, C, H, W]` in \[0, 1\] to `logits` `[N, classes]`, including the normalisation.
    pub graph: Graph,
    /// One entry per epoch.
    pub history: Vec<Epoch>,
}

impl Trained {
    /// Returns the classifier as an ONNX file.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        Ok(onnx_grad::to_onnx(
            &onnx_grad::fold(&self.graph)?,
            Lowering::Portable,
        )?)
    }
}

/// Trains a network on labelled pictures of one size, and measures it on `held_out` after every epoch.
///
/// With a `checkpoint`, training resumes from an existing file and gives the same bytes as without an interruption. A
/// file of a training with other settings, data or engine is refused. The file remains after the training and then
/// holds the state of the last step.
///
/// `progress` is called for every step and epoch. If it returns an error, such as [`Error::Stopped`], the training ends
/// after a last checkpoint.
pub fn train(
    settings: &Settings,
    engine: &dyn Engine,
    data: &Dataset,
    held_out: Option<&Dataset>,
    checkpoint: Option<&Checkpoint>,
    progress: impl FnMut(Progress<'_>) -> Result<()>,
) -> Result<Trained> {
    settings.check()?;
    let training = Pictures::load(data, settings.threads)?;
    let held_out = held_out
        .map(|data| Pictures::load(data, settings.threads))
        .transpose()?;
    let task = training.task();
    if let Some(held_out) = &held_out {
        held_out.fit(&task, data.name())?;
    }
    let record = || {
        let mut record = settings.record();
        let digest = |pictures: &Pictures| pictures.digest()[..16].to_owned();
        let held_out = held_out.as_ref().map_or("none".to_owned(), digest);
        record.insert("pictures".to_owned(), digest(&training));
        record.insert("held-out pictures".to_owned(), held_out);
        record.insert("engine".to_owned(), engine.version());
        record.insert("hoodwink".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        record
    };

    let mut rng = settings.rng(Purpose::Weights, 0, 0);
    let mut network = Network::new(&settings.network, &task, &mut rng)?;
    let weights = Weights::of(&network)?;
    let mut training = Training {
        settings,
        crew: Crew::new(
            &network,
            engine,
            useful(settings.threads, training.len().div_ceil(SHARD)),
            settings.adversarial.is_some(),
        )?,
        descent: Descent::new(settings.optimiser, settings.weight_decay, &weights.sizes()),
        weights,
        standing: Standing::default(),
        keeper: checkpoint.map(|checkpoint| Keeper::new(checkpoint, record())),
        pictures: training,
        held_out,
    };
    training.run(progress)?;
    network.bind(&training.weights.tensors()?)?;
    Ok(Trained {
        graph: network.graph,
        history: training.standing.history,
    })
}

/// A training in progress.
struct Training<'a> {
    settings: &'a Settings,
    pictures: Pictures,
    held_out: Option<Pictures>,
    crew: Crew,
    weights: Weights,
    descent: Descent,
    standing: Standing,
    keeper: Option<Keeper<'a>>,
}

impl Training<'_> {
    fn run(&mut self, mut progress: impl FnMut(Progress<'_>) -> Result<()>) -> Result<()> {
        let steps_per_epoch = self.pictures.len().div_ceil(self.settings.batch);
        let steps = steps_per_epoch * self.settings.epochs;
        self.take_up(steps, steps_per_epoch, &mut progress)?;
        let mut order = Vec::new();
        while self.standing.step < steps {
            let (epoch, at) = (
                self.standing.step / steps_per_epoch,
                self.standing.step % steps_per_epoch,
            );
            if at == 0 || order.is_empty() {
                let mut rng = self.settings.rng(Purpose::Order, epoch, 0);
                order = shuffled(self.pictures.len(), &mut rng);
            }
            let from = at * self.settings.batch;
            let batch = &order[from..order.len().min(from + self.settings.batch)];
            let loss = self.step(batch, epoch, steps_per_epoch, steps)?;
            if at + 1 == steps_per_epoch {
                self.end_epoch(epoch)?;
            }
            let standing = &self.standing;
            let told = match at + 1 == steps_per_epoch {
                true => progress(Progress::Epoch(&standing.history)),
                false => Ok(()),
            };
            let told = told.and_then(|()| {
                progress(Progress::Step {
                    done: standing.step,
                    of: steps,
                    loss,
                })
            });
            if let Some(keeper) = &mut self.keeper {
                let (weights, descent) = (&mut self.weights, &mut self.descent);
                if told.is_err() || standing.step == steps {
                    keeper.keep(standing, weights, descent)?;
                } else {
                    keeper.keep_now_and_then(standing, weights, descent)?;
                }
            }
            told?;
        }
        Ok(())
    }

    /// Resumes from the checkpoint, or writes the first one.
    fn take_up(
        &mut self,
        steps: usize,
        steps_per_epoch: usize,
        progress: &mut impl FnMut(Progress<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        match keeper.take_up(&mut self.weights, &mut self.descent)? {
            Some(standing) => {
                let pictures = self
                    .settings
                    .batch
                    .saturating_mul(standing.step % steps_per_epoch);
                if standing.step > steps || !standing.is_possible(steps_per_epoch, pictures) {
                    return Err(keeper.broken("its progress is impossible"));
                }
                self.descent.go_on_after(standing.step);
                self.standing = standing;
                progress(Progress::TakenUp {
                    done: self.standing.step,
                    of: steps,
                })
            }
            // Fails now if the folder is not writable, instead of after half an hour.
            None => keeper.keep(&self.standing, &mut self.weights, &mut self.descent),
        }
    }

    /// Learns from one mini-batch and returns its mean loss.
    fn step(
        &mut self,
        batch: &[usize],
        epoch: usize,
        steps_per_epoch: usize,
        steps: usize,
    ) -> Result<f64> {
        let (settings, pictures) = (self.settings, &self.pictures);
        let done = self.standing.step;
        let passed = done as f64 / steps_per_epoch as f64;
        let attack = settings.adversarial.and_then(|attack| attack.after(passed));
        let bound = self.weights.tensors()?;
        let shards: Vec<&[usize]> = batch.chunks(SHARD).collect();
        let learned: Vec<Learned> = self.crew.map(&shards, |worker, shard| {
            let labels = pictures.labels_of(shard);
            let rng = |purpose, &row| settings.rng(purpose, epoch, row);
            let mut images = shard
                .iter()
                .map(|row| {
                    let image = pictures.pictures[*row].to_image();
                    settings
                        .augment
                        .apply(&image, &mut rng(Purpose::Augment, row))
                })
                .collect::<Result<Vec<Image>>>()?;
            if let Some(attack) = &attack {
                let mut rngs: Vec<_> = shard.iter().map(|row| rng(Purpose::Attack, row)).collect();
                images = attack.attack(worker, &images, &labels, &bound, &mut rngs)?;
            }
            worker.learn(&images, &labels, &bound)
        })?;
        let loss: f64 = learned.iter().map(|shard| shard.loss).sum();
        if !loss.is_finite() {
            return Err(Error::invalid(format!(
                "the loss is NaN in epoch {}; lower the learning rate",
                epoch + 1
            )));
        }
        let gradients = self.weights.mean_gradient(&learned, batch.len())?;
        let rate = settings.learning_rate * settings.schedule.share(done, steps);
        self.descent
            .step(&mut self.weights.values, &gradients, rate);
        self.standing.step += 1;
        self.standing.loss += loss;
        self.standing.correct += learned.iter().map(|shard| shard.correct).sum::<usize>();
        Ok(loss / batch.len() as f64)
    }

    /// Records the epoch and measures the accuracies.
    fn end_epoch(&mut self, epoch: usize) -> Result<()> {
        let settings = self.settings;
        let measured = match &self.held_out {
            Some(pictures) => Some(pictures.accuracy(
                &mut self.crew,
                &self.weights.tensors()?,
                settings.adversarial.as_ref(),
                // The same random starts in every epoch make the epochs comparable.
                |row| settings.rng(Purpose::HeldOutAttack, 0, row),
            )?),
            None => None,
        };
        let count = self.pictures.len() as f64;
        let standing = &mut self.standing;
        standing.history.push(Epoch {
            epoch: epoch + 1,
            loss: std::mem::take(&mut standing.loss) / count,
            train_accuracy: std::mem::take(&mut standing.correct) as f64 / count,
            held_out_accuracy: measured.as_ref().map(|measured| measured.clean),
            held_out_robust_accuracy: measured.and_then(|measured| measured.robust),
        });
        Ok(())
    }
}

/// Returns `0..count` in random order (Fisher and Yates).
fn shuffled(count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

#[cfg(test)]
mod tests;
