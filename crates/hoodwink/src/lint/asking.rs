//! Asks a model about pictures, also under other preprocessing than it was opened with.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    Result,
    data::Dataset,
    image::Image,
    model::Classifier,
    oracle::pool::{Model as _, Worker},
    parallel::in_order,
    preprocessing::Preprocessing,
};

/// The maximum number of pictures in a worker's batch.
const BLOCK: usize = 8;

/// The assumed number of multiply-adds of a file that is run as it is.
const UNCOUNTED: u64 = 1 << 30;

/// A model with pictures to ask it about. Their order is shuffled with a fixed seed, because data is often sorted by
/// class.
pub(super) struct Asking<'a> {
    crew: Crew<'a>,
    threads: usize,
    /// Pictures in a worker's batch. Large pictures get small batches, because they take much memory.
    block: usize,
    order: Vec<usize>,
    seen: Vec<(String, String)>,
    /// Called with the number of pictures done in a round, and the number in the round.
    tell: &'a mut dyn FnMut(usize, usize),
}

/// State shared by the threads.
struct Crew<'a> {
    model: &'a Classifier,
    data: &'a Dataset,
    /// Idle workers.
    idle: Mutex<Vec<Box<dyn Worker + 'a>>>,
}

/// The results for a block of pictures: ids and files, and one list of answers for each preprocessing.
type Block = (Vec<(String, String)>, Vec<Vec<Vec<f32>>>);

impl<'a> Asking<'a> {
    pub(super) fn new(
        model: &'a Classifier,
        data: &'a Dataset,
        threads: usize,
        tell: &'a mut dyn FnMut(usize, usize),
    ) -> Self {
        let mut order: Vec<usize> = (0..data.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        Self {
            crew: Crew {
                model,
                data,
                idle: Mutex::default(),
            },
            threads,
            block: BLOCK.min(model.at_once()),
            order,
            seen: Vec::new(),
            tell,
        }
    }

    /// Returns the number of pictures.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the shape of the pictures, `[channels, height, width]`.
    pub(super) fn shape(&self) -> [usize; 3] {
        self.crew.model.input()
    }

    /// Returns the number of multiply-adds of one answer.
    pub(super) fn multiply_adds(&self) -> u64 {
        self.crew.model.multiply_adds().unwrap_or(UNCOUNTED)
    }

    /// Returns the labels of the first `count` pictures, or `None` if the data has no labels.
    pub(super) fn labels(&self, count: usize) -> Option<Vec<usize>> {
        let labels = self.crew.data.labels().ok()?;
        Some(self.order[..count].iter().map(|&at| labels[at]).collect())
    }

    /// Returns the ids and files of the pictures asked about so far.
    pub(super) fn seen(&self) -> &[(String, String)] {
        &self.seen
    }

    /// Returns the answers to a range of pictures, one list for each preprocessing of `shown`. `said` is the
    /// preprocessing that the model was opened with.
    pub(super) fn ask(
        &mut self,
        said: &Preprocessing,
        shown: &[&Preprocessing],
        pictures: Range<usize>,
    ) -> Result<Vec<Vec<Vec<f32>>>> {
        // Read in the order of their files, which may be large.
        let mut places: Vec<usize> = pictures.clone().collect();
        places.sort_by_key(|&place| self.order[place]);
        let blocks: Vec<Vec<usize>> = places
            .chunks(self.block)
            .map(|block| block.iter().map(|&place| self.order[place]).collect())
            .collect();
        let crew = &self.crew;
        let block = |at: usize| crew.ask(said, shown, &blocks[at]);
        let size = self.block;
        let mut tell = |done: usize| (self.tell)((done * size).min(places.len()), places.len());
        let answered = in_order(blocks.len(), self.threads, block, &mut tell)?;
        let mut seen: Vec<(String, String)> = vec![Default::default(); places.len()];
        let mut all = vec![vec![Vec::new(); places.len()]; shown.len()];
        let mut places = places.iter().map(|place| place - pictures.start);
        for (names, answers) in answered {
            let places: Vec<usize> = places.by_ref().take(names.len()).collect();
            for (&place, name) in places.iter().zip(names) {
                seen[place] = name;
            }
            for (all, answers) in all.iter_mut().zip(answers) {
                for (&place, answer) in places.iter().zip(answers) {
                    all[place] = answer;
                }
            }
        }
        if pictures.start == self.seen.len() {
            self.seen.extend(seen);
        }
        Ok(all)
    }
}

impl Crew<'_> {
    fn ask(
        &self,
        said: &Preprocessing,
        shown: &[&Preprocessing],
        pictures: &[usize],
    ) -> Result<Block> {
        let (mut seen, mut images) = (Vec::new(), Vec::new());
        for &at in pictures {
            let sample = self.data.get(at)?;
            images.push(sample.picture.to_image());
            seen.push((sample.id, sample.file));
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut worker = match taken {
            Some(worker) => worker,
            None => self.model.worker()?,
        };
        let answers = shown.iter().map(|other| {
            let disguised: Vec<Image> = images
                .iter()
                .map(|image| said.imitating(other, image))
                .collect();
            worker.logits(&disguised.iter().collect::<Vec<_>>())
        });
        let answers = answers.collect::<Result<_>>()?;
        idle().push(worker);
        Ok((seen, answers))
    }
}
