//! The mistakes that a model is surest of.

use super::answers::Answers;
use super::asking::{Asked, AskedUnknown};
use super::logits::softmax;
use super::{accuracy::largest, sets::PictureSet};
use crate::data::Dataset;
use crate::error::Result;
use crate::image::Picture;

/// The longer side of a picture on the page, in pixels.
const SIDE: usize = 192;

/// A picture that the model is sure of and wrong about.
#[derive(Clone, Debug)]
pub struct WrongAnswer {
    /// What it shows.
    pub truth: String,
    /// What the model says.
    pub said: String,
    /// How sure it is, from 0 to 1, over the classes in play.
    pub confidence: f64,
    /// Where the picture is from.
    pub file: String,
    /// The picture itself, small.
    pub picture: Picture,
}

impl WrongAnswer {
    /// The `most` surest wrong answers to labelled pictures, surest first; `names` call the classes in play.
    ///
    /// # Errors
    /// If a picture cannot be read again.
    pub fn surest(
        asked: &Asked,
        set: &PictureSet,
        names: &[String],
        most: usize,
    ) -> Result<Vec<Self>> {
        let answers = &asked.answers;
        let mut wrong: Vec<usize> = (0..answers.len())
            .filter(|&at| !answers.right()[at])
            .collect();
        wrong.sort_by(|&a, &b| by_confidence(answers, a, b));
        let mistake = |&at: &usize| {
            Ok(Self {
                truth: names[answers.labels()[at]].clone(),
                said: names[answers.predictions()[at]].clone(),
                confidence: answers.confidences()[at],
                file: set.data().file(asked.indices[at])?,
                picture: small(set.data(), asked.indices[at])?,
            })
        };
        wrong.iter().take(most).map(mistake).collect()
    }

    /// The `most` surest answers to pictures of unknown classes, all of which are wrong.
    ///
    /// # Errors
    /// If a picture cannot be read again.
    pub fn surest_unknown(
        asked: &AskedUnknown,
        data: &Dataset,
        names: &[String],
        most: usize,
    ) -> Result<Vec<Self>> {
        let mut answers: Vec<(usize, usize, f64)> = (asked.logits.rows())
            .zip(&asked.indices)
            .map(|(row, &index)| {
                let said = largest(row);
                (index, said, softmax(row)[said])
            })
            .collect();
        answers.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        let mistake = |&(index, said, confidence): &(usize, usize, f64)| {
            Ok(Self {
                truth: "unknown".to_owned(),
                said: names[said].clone(),
                confidence,
                file: data.file(index)?,
                picture: small(data, index)?,
            })
        };
        answers.iter().take(most).map(mistake).collect()
    }
}

/// Surest first; of equals the earlier picture.
fn by_confidence(answers: &Answers, a: usize, b: usize) -> std::cmp::Ordering {
    let confidence = |at: usize| answers.confidences()[at];
    confidence(b).total_cmp(&confidence(a)).then(a.cmp(&b))
}

/// The whole picture, made smaller if it is large.
fn small(data: &Dataset, index: usize) -> Result<Picture> {
    let picture = data.original(index)?;
    let (height, width) = (picture.height(), picture.width());
    let side = height.max(width);
    if side <= SIDE {
        return Ok(picture);
    }
    let scaled = |length: usize| (length * SIDE).div_ceil(side).max(1);
    picture.resize(scaled(height), scaled(width))
}
