//! The judge alone decides whether an attack succeeded.
//!
//! It projects the candidate itself, measures every norm itself and asks the model again; then it rounds the
//! candidate to 8 bits, writes a PNG, reads it back through the real decoder, and asks once more. What it finds can be held
//! against any radius.

use crate::{
    Result,
    image::{Image, Picture},
    oracle::{Scores, argmax, confidence},
    results::{Seen, Verdict},
    threat::{Distances, Goal, Norm, Region},
};

/// What was found about a candidate, and the picture that it is saved as.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// On the candidate, projected.
    pub float: Finding,
    /// On the PNG.
    pub saved: Finding,
    /// Bytes of the PNG.
    pub png: Vec<u8>,
}

/// What was found about one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// What the model says about it.
    pub seen: Seen,
    /// Whether that reaches the goal, and the image keeps to the pixel box and the mask.
    pub reached: bool,
    /// Its measured distances from the original.
    pub norms: Distances,
}

impl Finding {
    /// The verdict at a radius; without one, any distance will do.
    pub fn verdict(&self, norm: Norm, radius: Option<f64>) -> Verdict {
        Verdict {
            seen: self.seen,
            success: self.reached && radius.is_none_or(|eps| norm.within(&self.norms, eps)),
            norms: self.norms,
        }
    }
}

/// Judges a candidate around the original of a region.
pub async fn judge(
    model: Scores<'_>,
    region: &Region,
    goal: Goal,
    mut candidate: Image,
) -> Result<Judgement> {
    region.project(&mut candidate);
    let float = finding(model, region, goal, &candidate).await?;
    let png = region.on_lattice(&candidate).encode_png();
    // Pictures may be large, and what follows is about the saved one.
    drop(candidate);
    let picture = Picture::decode(&png, "adversarial.png")?;
    let saved = finding(model, region, goal, &picture.to_image()).await?;
    Ok(Judgement { float, saved, png })
}

/// The prediction behind logits.
pub fn seen(logits: &[f32]) -> Seen {
    let label = argmax(logits);
    Seen {
        // No classifier has more than 4 billion classes.
        label: label as u32,
        confidence: confidence(logits, label),
    }
}

async fn finding(model: Scores<'_>, region: &Region, goal: Goal, image: &Image) -> Result<Finding> {
    let logits = model.logits(image).await?;
    Ok(Finding {
        seen: seen(&logits),
        reached: goal.reached(&logits) && region.within(None).contains(image),
        norms: region.distances(image),
    })
}
