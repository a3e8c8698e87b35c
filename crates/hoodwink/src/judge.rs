//! The judge alone decides whether an attack succeeded.
//!
//! It projects the candidate itself, measures every norm itself and asks the model again; then it rounds the
//! candidate to 8 bits, writes a PNG, reads it back through the real decoder, and asks once more.

use crate::{
    Result,
    image::{Image, Picture},
    oracle::{Scores, argmax, confidence},
    results::{Seen, Verdict},
    threat::{Ball, Goal, distances},
};

/// Both verdicts on a candidate, and the picture that the second one is about.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// On the candidate, projected.
    pub float: Verdict,
    /// On the PNG.
    pub saved: Verdict,
    /// What the PNG shows.
    pub picture: Picture,
    /// Bytes of the PNG.
    pub png: Vec<u8>,
}

/// Judges a candidate.
pub async fn judge(
    oracle: &impl Scores,
    original: &Picture,
    ball: &Ball,
    goal: Goal,
    mut candidate: Image,
) -> Result<Judgement> {
    let center = original.to_image();
    ball.project(&center, &mut candidate);
    let float = verdict(oracle, &center, ball, goal, &candidate).await?;
    let png = ball.on_lattice(&center, &candidate).encode_png();
    // Pictures may be large, and what follows is about the saved one.
    drop(candidate);
    let picture = Picture::decode(&png, "adversarial.png")?;
    let saved = verdict(oracle, &center, ball, goal, &picture.to_image()).await?;
    Ok(Judgement {
        float,
        saved,
        picture,
        png,
    })
}

/// What the model says about an image.
pub async fn see(oracle: &impl Scores, image: &Image) -> Result<Seen> {
    Ok(seen(&oracle.logits(image).await?))
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

async fn verdict(
    oracle: &impl Scores,
    center: &Image,
    ball: &Ball,
    goal: Goal,
    image: &Image,
) -> Result<Verdict> {
    let logits = oracle.logits(image).await?;
    Ok(Verdict {
        seen: seen(&logits),
        success: goal.reached(&logits) && ball.contains(center, image),
        norms: distances(center, image),
    })
}
