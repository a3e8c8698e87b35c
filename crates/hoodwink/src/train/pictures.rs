//! The training pictures, in memory.

use onnx_grad::Tensor;
use sha2::{Digest, Sha256};

use super::{
    Adversarial, Task,
    crew::{Crew, SHARD},
};
use crate::{
    Error, Result,
    data::Dataset,
    image::{Image, Picture},
    parallel::in_order,
};

/// The most that the decoded pictures of a set may take.
const MAX_BYTES: usize = 8 << 30;

/// A data set in memory.
pub(super) struct Pictures {
    pub(super) pictures: Vec<Picture>,
    pub(super) labels: Vec<usize>,
    named_classes: usize,
}

/// How many of the pictures a network classifies correctly.
pub(super) struct Accuracy {
    pub(super) clean: f64,
    /// After an attack; `None` without one.
    pub(super) robust: Option<f64>,
}

impl Pictures {
    /// Reads all of `data`, which must have labels and pictures of one shape.
    pub(super) fn load(data: &Dataset, threads: usize) -> Result<Self> {
        let labels = data.labels()?.to_vec();
        let first = data.get(0)?.picture;
        if first.bytes().len().saturating_mul(data.len()) > MAX_BYTES {
            return Err(Error::unsupported(format!(
                "{} pictures of {}x{} do not fit into memory: resize them to fewer pixels, or take fewer of them",
                data.len(),
                first.height(),
                first.width()
            )));
        }
        let one = |row: usize| {
            let picture = data.get(row)?.picture;
            if shape(&picture) != shape(&first) {
                return Err(Error::invalid(format!(
                    "{}[{row}] has shape {:?} and the first picture {:?}; resize or crop them to one size",
                    data.name(),
                    shape(&picture),
                    shape(&first)
                )));
            }
            Ok(picture)
        };
        let pictures = in_order(data.len(), threads, one, &mut |_| {})?;
        Ok(Self {
            pictures,
            labels,
            named_classes: data.class_names().map_or(0, <[String]>::len),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.pictures.len()
    }

    pub(super) fn labels_of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|&row| self.labels[row]).collect()
    }

    /// SHA-256 over shape, labels and bytes, in hexadecimal.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let sizes = shape(&self.pictures[0]);
        for number in sizes.into_iter().chain([self.named_classes, self.len()]) {
            hash.update((number as u64).to_le_bytes());
        }
        for (picture, &label) in self.pictures.iter().zip(&self.labels) {
            hash.update((label as u64).to_le_bytes());
            hash.update(picture.bytes());
        }
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a network for these pictures must do; classes that have names are counted even where none is shown.
    pub(super) fn task(&self) -> Task {
        let input = shape(&self.pictures[0]);
        let channels = input[0];
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
        Task {
            input,
            classes: self.named_classes.max(shown),
            deviation: means.iter().zip(&squares).map(deviation).collect(),
            mean: means.iter().map(|mean| (mean / 255.0) as f32).collect(),
        }
    }

    /// Fails where these pictures are not such as the network is made for.
    pub(super) fn fit(&self, task: &Task, training: &str) -> Result<()> {
        let is_known = |&label: &usize| label < task.classes;
        if shape(&self.pictures[0]) == task.input && self.labels.iter().all(is_known) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the held-out pictures have another shape or more classes than {training}"
        )))
    }

    /// Part that is classified correctly, as it is and under an attack whose random numbers for a row are `rng(row)`.
    pub(super) fn accuracy(
        &self,
        crew: &mut Crew,
        weights: &[Tensor],
        attack: Option<&Adversarial>,
        rng: impl Fn(usize) -> rand_chacha::ChaCha8Rng + Sync,
    ) -> Result<Accuracy> {
        let rows: Vec<usize> = (0..self.len()).collect();
        let shards: Vec<&[usize]> = rows.chunks(SHARD).collect();
        let right = crew.map(&shards, |worker, shard| {
            let images: Vec<Image> = shard
                .iter()
                .map(|&row| self.pictures[row].to_image())
                .collect();
            let labels = self.labels_of(shard);
            let right = |seen: Vec<usize>| seen.iter().zip(&labels).filter(|(a, b)| a == b).count();
            let clean = right(worker.classes(&images, weights)?);
            let robust = match attack {
                None => 0,
                Some(attack) => {
                    let mut rngs: Vec<_> = shard.iter().map(|&row| rng(row)).collect();
                    let moved = attack.attack(worker, &images, &labels, weights, &mut rngs)?;
                    right(worker.classes(&moved, weights)?)
                }
            };
            Ok((clean, robust))
        })?;
        let part = |count: usize| count as f64 / self.len() as f64;
        Ok(Accuracy {
            clean: part(right.iter().map(|(clean, _)| clean).sum()),
            robust: attack.map(|_| part(right.iter().map(|(_, robust)| robust).sum())),
        })
    }
}

/// `[channels, height, width]`.
fn shape(picture: &Picture) -> [usize; 3] {
    [picture.channels(), picture.height(), picture.width()]
}
