//! What a model says about a picture with other preprocessing in front of it.

use crate::{
    Result, image::Picture, model::Classifier, oracle::pool::Model as _,
    preprocessing::Preprocessing,
};

/// The logits of a picture for each preprocessing, where `said` is the one in front of the model.
///
/// # Errors
/// If the engine fails.
pub fn as_if(
    model: &Classifier,
    said: &Preprocessing,
    picture: &Picture,
    others: &[Preprocessing],
) -> Result<Vec<Vec<f32>>> {
    let original = picture.to_image();
    let mut worker = model.worker()?;
    let answer = |other: &Preprocessing| {
        let mut logits = worker.logits(&[&said.imitating(other, &original)])?;
        Ok(logits.pop().unwrap_or_default())
    };
    others.iter().map(answer).collect()
}
