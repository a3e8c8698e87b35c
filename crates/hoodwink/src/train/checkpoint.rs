//! Checkpoints: the state from which an interrupted training resumes as if nothing had happened.
//!
//! A checkpoint is a file in the format of the crate `safetensors`. It contains the weights and the optimiser's state
//! for them. Its metadata holds, under `hoodwink`, the progress of the training and everything that the result depends
//! on, as TOML. Random numbers need no state: they are keyed by seed, epoch and picture.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::{Duration, Instant},
};

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::{Epoch, optimiser::Descent, weights::Weights};
use crate::{
    Error, Result,
    files::{self, is_missing},
};

/// The key of the metadata.
const KEY: &str = "hoodwink";

/// The maximum size of the metadata, including the history.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Where and how often checkpoints are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The file. Training resumes from an existing file; each new checkpoint replaces it atomically.
    pub path: PathBuf,
    /// Time between two checkpoints. The start and an interruption write one too. Zero: after every step.
    pub every: Duration,
}

/// The progress of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standing {
    /// Steps taken.
    pub(super) step: usize,
    /// Sum of the losses in the current epoch.
    pub(super) loss: f64,
    /// Pictures of the current epoch that were classified correctly.
    pub(super) correct: usize,
    /// The completed epochs.
    pub(super) history: Vec<Epoch>,
}

impl Standing {
    /// Returns whether this state is possible, if the current epoch has seen at most `pictures` pictures.
    pub(super) fn is_possible(&self, steps_per_epoch: usize, pictures: usize) -> bool {
        let share = |share: &f64| (0.0..=1.0).contains(share);
        let epoch = |(at, epoch): (usize, &Epoch)| {
            epoch.epoch == at + 1
                && epoch.loss.is_finite()
                && share(&epoch.train_accuracy)
                && epoch.held_out_accuracy.as_ref().is_none_or(share)
                && epoch.held_out_robust_accuracy.as_ref().is_none_or(share)
        };
        self.history.len() == self.step / steps_per_epoch
            && self.history.iter().enumerate().all(epoch)
            && self.correct <= pictures
            && self.loss.is_finite()
    }
}

/// The metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Everything that the result depends on.
    record: BTreeMap<String, String>,
    standing: Standing,
}

/// Writes the checkpoints of one training.
pub(super) struct Keeper<'a> {
    checkpoint: &'a Checkpoint,
    record: BTreeMap<String, String>,
    last: Instant,
}

impl<'a> Keeper<'a> {
    /// Creates a keeper. `record` is everything that the result depends on.
    pub(super) fn new(checkpoint: &'a Checkpoint, record: BTreeMap<String, String>) -> Self {
        Self {
            checkpoint,
            record,
            last: Instant::now(),
        }
    }

    /// Reads the checkpoint, if there is one, into `weights` and `descent`, and returns the progress.
    ///
    /// Refuses a checkpoint of a training with a different record, and names the differences.
    pub(super) fn take_up(
        &self,
        weights: &mut Weights,
        descent: &mut Descent,
    ) -> Result<Option<Standing>> {
        let broken = |why: &str| self.broken(why);
        let values: usize = weights.sizes().iter().sum();
        let most = MAX_HEADER_BYTES + 3 * 4 * values as u64;
        let path = files::unlinked(&self.checkpoint.path)?;
        let bytes = match files::read(path, most) {
            Err(error) if is_missing(&error) => return Ok(None),
            Err(Error::Unsupported(_)) => return Err(broken("it is too large")),
            bytes => bytes?,
        };
        let header = SafeTensors::read_metadata(&bytes)
            .map_err(|error| broken(&error.to_string()))?
            .1;
        let text = header.metadata().as_ref().and_then(|all| all.get(KEY));
        let header: Header = toml::from_str(text.ok_or_else(|| broken("it lacks its settings"))?)
            .map_err(|error| broken(error.message()))?;
        self.refuse_differences(&header.record)?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| broken(&error.to_string()))?;
        for (name, shape, values) in parts(weights, descent) {
            let stored = tensors.tensor(&name).ok();
            let stored = stored
                .filter(|stored| stored.dtype() == Dtype::F32 && stored.shape() == shape)
                .ok_or_else(|| broken(&format!("it lacks {name}")))?;
            let numbers = stored.data().chunks_exact(4);
            for (value, number) in values.iter_mut().zip(numbers) {
                *value = f32::from_le_bytes([number[0], number[1], number[2], number[3]]);
            }
        }
        Ok(Some(header.standing))
    }

    /// Creates the error that the file cannot be used.
    pub(super) fn broken(&self, why: &str) -> Error {
        Error::invalid(format!(
            "{} is not a checkpoint of this training ({why}); delete it to start again",
            self.checkpoint.path.display()
        ))
    }

    fn refuse_differences(&self, there: &BTreeMap<String, String>) -> Result<()> {
        let value = |record: &BTreeMap<String, String>, key: &str| {
            record.get(key).cloned().unwrap_or("absent".to_owned())
        };
        let mut keys: Vec<&String> = there.keys().chain(self.record.keys()).collect();
        keys.sort();
        keys.dedup();
        let differences: Vec<String> = keys
            .into_iter()
            .map(|key| (key, value(there, key), value(&self.record, key)))
            .filter(|(_, old, new)| old != new)
            .map(|(key, old, new)| format!("{key}: {old} there, {new} now"))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        let said = format!(
            "{} belongs to a training with other settings; use the same settings, name another checkpoint, or delete it to \
             start again",
            self.checkpoint.path.display()
        );
        Err(Error::several(said, differences))
    }

    /// Writes a checkpoint if one is due.
    pub(super) fn keep_now_and_then(
        &mut self,
        standing: &Standing,
        weights: &mut Weights,
        descent: &mut Descent,
    ) -> Result<()> {
        if self.last.elapsed() < self.checkpoint.every {
            return Ok(());
        }
        self.last = Instant::now();
        self.keep(standing, weights, descent)
    }

    /// Writes a checkpoint. Does not change the values.
    pub(super) fn keep(
        &self,
        standing: &Standing,
        weights: &mut Weights,
        descent: &mut Descent,
    ) -> Result<()> {
        let path = &self.checkpoint.path;
        let unwritable = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("{} cannot be written: {error}", path.display()))
        };
        let header = Header {
            record: self.record.clone(),
            standing: standing.clone(),
        };
        let header = toml::to_string(&header).map_err(|error| unwritable(&error))?;
        let tensors = parts(weights, descent)
            .into_iter()
            .map(|(name, shape, values)| (name, Stored { shape, values }));
        let metadata = HashMap::from([(KEY.to_owned(), header)]);
        let bytes =
            safetensors::serialize(tensors, Some(metadata)).map_err(|error| unwritable(&error))?;
        files::write(path, &bytes)
    }
}

/// One tensor of a checkpoint: its name, shape and values.
type Part<'a> = (String, Vec<usize>, &'a mut [f32]);

/// Returns everything that changes from step to step, by name.
fn parts<'a>(weights: &'a mut Weights, descent: &'a mut Descent) -> Vec<Part<'a>> {
    let (first, second) = descent.memory();
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (role, values) in [
        ("weight", &mut weights.values),
        ("first", first),
        ("second", second),
    ] {
        for ((name, shape), values) in weights.names.iter().zip(&weights.shapes).zip(values) {
            parts.push((format!("{role}/{name}"), shape.clone(), values));
        }
    }
    parts
}

struct Stored<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.values.iter().flat_map(|value| value.to_le_bytes());
        bytes.collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}
