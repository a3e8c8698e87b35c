//! The judge: the only code that decides whether an attack succeeded.
//!
//! It projects the candidate, measures every norm and asks the model again, all on its own. Then it rounds the
//! candidate to 8 bits, writes a PNG, decodes it with the real decoder, and asks once more. Its findings can be
//! compared with any radius.

use crate::{
    Result,
    image::{Image, Picture},
    oracle::{Scores, argmax, confidence},
    results::{Seen, Verdict},
    threat::{Distances, Goal, Norm, Region},
};

/// The findings about a candidate, with the picture that is saved for it.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// About the projected candidate.
    pub float: Finding,
    /// About the PNG.
    pub saved: Finding,
    /// The content of the PNG file.
    pub png: Vec<u8>,
}

/// The findings about one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The model's prediction.
    pub seen: Seen,
    /// Whether the prediction reaches the goal and the image respects the pixel box and the mask.
    pub reached: bool,
    /// Measured distances from the original.
    pub norms: Distances,
}

impl Finding {
    /// Returns the verdict at a radius. Without a radius every distance is accepted.
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
    // Frees the candidate, since pictures may be large and the rest only uses the saved one.
    drop(candidate);
    let picture = Picture::decode(&png, "adversarial.png")?;
    let saved = finding(model, region, goal, &picture.to_image()).await?;
    Ok(Judgement { float, saved, png })
}

/// Returns the prediction from logits.
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
