//! Asking a model about sets of pictures.

use std::collections::BTreeMap;

use super::answers::Answers;
use super::logits::Logits;
use super::sets::PictureSet;
use super::subset::Subset;
use crate::data::{Dataset, Sample};
use crate::oracle::pool::{Model, Parallelism, drive};
use crate::oracle::{Halt, Scores};
use crate::{Error, Result, counted, legible};

/// How a model is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// `[channels, height, width]` of the pictures that it takes.
    pub input: [usize; 3],
    /// How much runs at once.
    pub crew: Parallelism,
    /// Whether a picture that cannot be read is left out instead of being an error.
    pub skip_broken: bool,
}

/// What a model said about labelled pictures.
pub struct Asked {
    /// The answers, in the order of the pictures.
    pub answers: Answers,
    /// The position in the data set of each picture that was answered about.
    pub indices: Vec<usize>,
    /// Pictures that could not be read, each with the reason.
    pub broken: Vec<String>,
}

impl Asked {
    /// How many pictures could not be read, in a sentence.
    pub fn left_out(&self) -> Option<String> {
        (!self.broken.is_empty()).then(|| {
            format!(
                "{} could not be read and {} left out.",
                counted(self.broken.len(), "picture", "pictures"),
                if self.broken.len() == 1 { "is" } else { "are" }
            )
        })
    }
}

/// What a model said about pictures of unknown classes.
pub struct AskedUnknown {
    /// The logits of the classes in play, in the order of the pictures.
    pub logits: Logits,
    /// The position in the data set of each picture that was answered about.
    pub indices: Vec<usize>,
    /// Pictures that could not be read, each with the reason.
    pub broken: Vec<String>,
}

impl Asking {
    /// Asks about the pictures whose class is in play: `places` are from [`PictureSet::places`]. `tell` is given how many were
    /// asked about, of how many.
    ///
    /// # Errors
    /// If a picture cannot be read, has another shape than the model takes, or is answered by NaN.
    pub fn labelled(
        &self,
        model: &dyn Model,
        set: &PictureSet,
        places: &[Option<usize>],
        subset: &Subset,
        tell: impl FnMut(usize, usize),
    ) -> Result<Asked> {
        let wanted: Vec<usize> = (0..places.len())
            .filter(|&index| places[index].is_some())
            .collect();
        let mut asked = Asked {
            answers: Answers::new(subset)?,
            indices: Vec::new(),
            broken: Vec::new(),
        };
        asked.broken = self.ask(model, set.data(), &wanted, tell, |index, file, logits| {
            let Some(place) = places[index] else {
                return Ok(());
            };
            asked.indices.push(index);
            asked.answers.push(logits, place, file)
        })?;
        Ok(asked)
    }

    /// Asks about pictures of unknown classes.
    ///
    /// # Errors
    /// As [`Asking::labelled`].
    pub fn unknown(
        &self,
        model: &dyn Model,
        data: &Dataset,
        subset: &Subset,
        tell: impl FnMut(usize, usize),
    ) -> Result<AskedUnknown> {
        let wanted: Vec<usize> = (0..data.len()).collect();
        let mut asked = AskedUnknown {
            logits: Logits::new(subset.len())?,
            indices: Vec::new(),
            broken: Vec::new(),
        };
        asked.broken = self.ask(model, data, &wanted, tell, |index, file, logits| {
            asked.indices.push(index);
            asked.logits.push(&subset.select(logits), file)
        })?;
        Ok(asked)
    }

    /// Asks about some pictures and gives the answers to `each` in their order, whatever order they come in.
    fn ask(
        &self,
        model: &dyn Model,
        data: &Dataset,
        wanted: &[usize],
        mut tell: impl FnMut(usize, usize),
        mut each: impl FnMut(usize, &str, &[f64]) -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut waiting: BTreeMap<usize, Seen> = BTreeMap::new();
        let (mut done, mut next) = (0, 0);
        let mut broken = Vec::new();
        drive(
            &[model],
            self.crew,
            wanted.iter().copied().enumerate(),
            &Halt::new(),
            |(at, index), handle| {
                Box::pin(async move {
                    let sample = match data.get(index) {
                        Ok(sample) => sample,
                        Err(error) if self.skip_broken => {
                            return Ok((at, Seen::Broken(error.to_string())));
                        }
                        Err(error) => return Err(unreadable(&error)),
                    };
                    self.check(&sample)?;
                    let logits = Scores::of(&handle)
                        .logits(&sample.picture.to_image())
                        .await?;
                    Ok((at, Seen::Logits(sample.file, logits)))
                })
            },
            |(at, seen)| {
                waiting.insert(at, seen);
                done += 1;
                tell(done, wanted.len());
                while let Some(seen) = waiting.remove(&next) {
                    match seen {
                        Seen::Broken(reason) => broken.push(reason),
                        Seen::Logits(file, logits) => {
                            let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
                            each(wanted[next], &legible::name(&file), &logits)?;
                        }
                    }
                    next += 1;
                }
                Ok(())
            },
        )?;
        if broken.len() == wanted.len() {
            return Err(Error::invalid(format!(
                "none of the {} of {} can be read; the first: {}",
                counted(wanted.len(), "picture", "pictures"),
                data.name(),
                broken.first().map_or("", String::as_str)
            )));
        }
        Ok(broken)
    }

    fn check(&self, sample: &Sample) -> Result<()> {
        let picture = &sample.picture;
        let shape = [picture.channels(), picture.height(), picture.width()];
        if shape == self.input {
            return Ok(());
        }
        let shown = |[channels, height, width]: [usize; 3]| {
            format!(
                "{} and {height}x{width} pixels",
                counted(channels, "channel", "channels")
            )
        };
        Err(Error::invalid(format!(
            "{} has {}, and the model takes {}; resize or crop the pictures",
            legible::name(&sample.file),
            shown(shape),
            shown(self.input)
        )))
    }
}

/// What became of a picture.
enum Seen {
    Logits(String, Vec<f32>),
    Broken(String),
}

fn unreadable(error: &Error) -> Error {
    Error::invalid(format!(
        "{error}; or leave out pictures that cannot be read"
    ))
}
