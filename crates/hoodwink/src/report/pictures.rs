//! The pictures of the report: what is derived from an original and its adversarial twin, and how a
//! picture gets into the page.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::error::{Error, Result};
use crate::image::Picture;

/// The direction in which every channel value was moved: black where it fell, white where it rose, mid-grey
/// (128) where it stayed. This is `0.5 + 0.5 * sign(adversarial - original)`, the middle term of the panel in
/// Goodfellow et al. 2014 (arXiv 1412.6572, figure 1). The two pictures must have the same size.
pub fn sign_map(original: &Picture, adversarial: &Picture) -> Result<Picture> {
    combine(original, adversarial, |from, to| match to.cmp(&from) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => 128,
        std::cmp::Ordering::Greater => 255,
    })
}

/// The difference of two pictures around mid-grey, multiplied by a factor that makes it visible.
pub(super) fn difference(original: &Picture, adversarial: &Picture) -> Result<(Picture, u8)> {
    const FACTORS: [u8; 11] = [100, 50, 40, 30, 20, 15, 10, 8, 5, 3, 2];
    let pairs = original.bytes().iter().zip(adversarial.bytes());
    let largest = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let fits = |factor: &u8| u32::from(*factor) * u32::from(largest) <= 100;
    let factor = match largest {
        0 => 1,
        _ => FACTORS.into_iter().find(fits).unwrap_or(1),
    };
    let picture = combine(original, adversarial, |from, to| {
        let moved = (i32::from(to) - i32::from(from)) * i32::from(factor);
        (128 + moved).clamp(0, 255) as u8
    })?;
    Ok((picture, factor))
}

/// Whether the adversarial picture is exactly `clip(original + levels * sign)`, `levels` in 1/255.
pub(super) fn is_one_step(original: &Picture, adversarial: &Picture, levels: f64) -> bool {
    let levels = levels.round() as i32;
    let pairs = original.bytes().iter().zip(adversarial.bytes());
    pairs.into_iter().all(|(&from, &to)| {
        let (from, to) = (i32::from(from), i32::from(to));
        to == (from + levels * (to - from).signum()).clamp(0, 255)
    })
}

fn combine(a: &Picture, b: &Picture, of: impl Fn(u8, u8) -> u8) -> Result<Picture> {
    let shape = |p: &Picture| (p.channels(), p.height(), p.width());
    if shape(a) != shape(b) {
        return Err(Error::invalid(format!(
            "an original of (channels, height, width) {:?} cannot have an adversarial picture of {:?}",
            shape(a),
            shape(b)
        )));
    }
    let bytes = a.bytes().iter().zip(b.bytes()).map(|(&a, &b)| of(a, b));
    Picture::new(a.channels(), a.height(), a.width(), bytes.collect())
}

/// A picture as the page shows it.
pub(super) struct Shown {
    /// The PNG itself, as a `data:` address.
    pub(super) address: String,
    /// What it shows, for those who cannot see it.
    pub(super) alt: String,
    /// Width in CSS pixels.
    pub(super) width: usize,
    /// Height in CSS pixels.
    pub(super) height: usize,
    /// Whether it is enlarged, so that its pixels should stay square.
    pub(super) enlarged: bool,
}

impl Shown {
    /// Small pictures are enlarged by a whole factor, those beyond 256 pixels shown smaller.
    pub(super) fn new(picture: &Picture, alt: String) -> Self {
        const LIMIT: usize = 256;
        const ENLARGED: usize = 160;
        let side = picture.width().max(picture.height());
        let scale = |length: usize| {
            if side <= ENLARGED {
                length * (ENLARGED / side)
            } else if side <= LIMIT {
                length
            } else {
                (length * LIMIT).div_ceil(side)
            }
        };
        let address = format!(
            "data:image/png;base64,{}",
            BASE64_STANDARD.encode(picture.encode_png())
        );
        Self {
            address,
            alt,
            width: scale(picture.width()),
            height: scale(picture.height()),
            enlarged: side <= ENLARGED / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(bytes: &[u8]) -> Picture {
        Picture::new(1, 1, bytes.len(), bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_sign_map_is_black_grey_or_white() {
        let map = sign_map(&grey(&[10, 10, 10, 0]), &grey(&[9, 10, 18, 255])).unwrap();
        assert_eq!(map, grey(&[0, 128, 255, 255]));
        assert!(sign_map(&grey(&[1, 2]), &grey(&[1])).is_err());
    }

    #[test]
    fn differences_are_amplified_as_far_as_they_fit() {
        let cases: [(u8, u8, u8, u8); 4] = [
            (100, 100, 1, 128),
            (100, 108, 10, 128 + 80),
            (100, 99, 100, 28),
            (0, 255, 1, 255),
        ];
        for (from, to, factor, shown) in cases {
            let (picture, found) = difference(&grey(&[from]), &grey(&[to])).unwrap();
            assert_eq!((found, picture), (factor, grey(&[shown])), "{from} to {to}");
        }
    }

    #[test]
    fn one_step_means_eps_times_sign_then_clip() {
        let original = grey(&[10, 250, 100]);
        assert!(is_one_step(&original, &grey(&[18, 255, 92]), 8.0));
        assert!(!is_one_step(&original, &grey(&[18, 255, 95]), 8.0));
    }

    #[test]
    fn small_pictures_are_enlarged_by_whole_factors_and_large_ones_shrink() {
        let width = |side: usize| {
            let picture = Picture::new(1, side, side, vec![0; side * side]).unwrap();
            Shown::new(&picture, String::new()).width
        };
        assert_eq!([28, 32, 64, 224, 299].map(width), [140, 160, 128, 224, 256]);
    }
}
