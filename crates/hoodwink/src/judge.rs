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
    let png = on_lattice(&center, ball, &candidate).encode_png();
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

/// The 8-bit picture nearest to `image`, if it is in the ball; else each value is rounded towards the original, which
/// lies on the lattice itself, so no norm grows.
fn on_lattice(center: &Image, ball: &Ball, image: &Image) -> Picture {
    let nearest = image.to_picture();
    if ball.contains(center, &nearest.to_image()) {
        return nearest;
    }
    let mut inward = image.clone();
    for (x, &center) in inward.pixels_mut().iter_mut().zip(center.pixels()) {
        // A value that float rounding left a hair below a level counts as on it.
        let slack = 1e-3;
        let levels = f64::from(*x - center) * 255.0;
        let whole = (levels.abs() + slack).floor().copysign(levels);
        *x = center + (whole / 255.0) as f32;
    }
    inward.to_picture()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threat::Norm;

    #[test]
    fn a_saved_picture_never_leaves_the_ball() {
        let original = Picture::new(1, 1, 4, vec![0, 100, 200, 255]).unwrap();
        let center = original.to_image();
        for (norm, eps, steps, expected) in [
            // Whole levels stay.
            (
                Norm::Linf,
                8.0 / 255.0,
                [8.0, -8.0, 8.0, -8.0],
                [8, 92, 208, 247],
            ),
            // 2.6 levels would round to 3, over an eps of 2.6 levels.
            (
                Norm::Linf,
                2.6 / 255.0,
                [2.6, -2.6, 2.6, -2.6],
                [2, 98, 202, 253],
            ),
            (
                Norm::L2,
                2.4 / 255.0,
                [1.0, -1.5, 1.5, -0.5],
                [1, 99, 201, 255],
            ),
            (
                Norm::L1,
                3.0 / 255.0,
                [0.6, 0.6, 0.6, -0.6],
                [0, 100, 200, 255],
            ),
        ] {
            let ball = Ball { norm, eps };
            let mut image = center.clone();
            for (x, step) in image.pixels_mut().iter_mut().zip(steps) {
                *x += step / 255.0;
            }
            ball.project(&center, &mut image);
            let picture = on_lattice(&center, &ball, &image);
            assert!(ball.contains(&center, &picture.to_image()), "{norm}");
            assert_eq!(picture.bytes(), expected, "{norm}");
        }
    }
}
