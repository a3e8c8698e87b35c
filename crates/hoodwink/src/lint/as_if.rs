//! Scores under other preprocessing than the model was opened with.

use crate::{
    Result, image::Picture, model::Classifier, oracle::pool::Model as _,
    preprocessing::Preprocessing,
};

/// Returns the logits of a picture under each preprocessing of `shown`. `said` is the preprocessing that the model was
/// opened with.
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
