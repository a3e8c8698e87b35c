//! The pictures of the report: what is computed from an original and its adversarial picture, and how pictures are
//! embedded in the page.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use crate::error::{Error, Result};
use crate::image::Picture;

/// The sign map of a perturbation: black where a channel value decreased, white where it increased, mid-grey (128)
/// where it did not change. This is `0.5 + 0.5 * sign(adversarial - original)`, the middle term of the panel in
/// Goodfellow et al. 2014 (arXiv 1412.6572, figure 1). The two pictures must have the same size.
pub fn sign_map(original: &Picture, adversarial: &Picture) -> Result<Picture> {
    combine(original, adversarial, |from, to| match to.cmp(&from) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => 128,
        std::cmp::Ordering::Greater => 255,
    })
}

/// A perturbation, divided by its largest change.
pub(crate) struct Perturbation {
    /// Mid-grey (128) where nothing changed; white and black where a value rose or fell by [`Perturbation::size`].
    pub(crate) picture: Picture,
    /// Its largest change, in levels of 255. The original plus `size / 255` times this picture, read as −1 to 1, is the
    /// adversarial picture.
    pub(crate) size: u8,
}

/// Returns the difference of two pictures, divided by its largest absolute value.
pub(crate) fn perturbation(original: &Picture, adversarial: &Picture) -> Result<Perturbation> {
    let pairs = original.bytes().iter().zip(adversarial.bytes());
    let size = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let picture = combine(original, adversarial, |from, to| {
        let share = (f64::from(to) - f64::from(from)) / f64::from(size.max(1));
        // From 0 to 255 by construction.
        (127.5 + 127.5 * share).round() as u8
    })?;
    Ok(Perturbation { picture, size })
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
    /// The picture itself, as a `data:` URL.
    pub(super) address: String,
    /// Alternative text.
    pub(super) alt: String,
    /// Width in CSS pixels.
    pub(super) width: usize,
    /// Height in CSS pixels.
    pub(super) height: usize,
    /// Whether it is enlarged, so that its pixels should stay square.
    pub(super) enlarged: bool,
    /// The path of the exact file, relative to the page.
    pub(super) file: Option<String>,
}

/// PNG size in bytes above which a page holds a JPEG instead. With a dozen examples, the page stays small enough to
/// send.
const EXACT_BYTES: usize = 16 << 10;

/// Quality of the JPEGs that replace large pictures, from 1 to 100.
const QUALITY: u8 = 80;

/// Quality of thumbnails.
const THUMBNAIL_QUALITY: u8 = 72;

/// Maximum side of a thumbnail.
const THUMBNAIL_SIDE: usize = 56;

/// Maximum size in bytes of a PNG that is used as its own thumbnail.
const SMALL_BYTES: usize = 1200;

impl Shown {
    /// Small pictures are enlarged by an integer factor; pictures beyond 256 pixels are shown smaller. `file` is the
    /// path of the exact file, relative to the page.
    pub(super) fn new(picture: &Picture, alt: String, file: Option<String>) -> Self {
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
        let png = picture.encode_png();
        let address = match png.len() <= EXACT_BYTES {
            true => address("png", &png),
            false => address("jpeg", &jpeg(picture, QUALITY)),
        };
        Self {
            address,
            alt,
            width: scale(picture.width()),
            height: scale(picture.height()),
            enlarged: side <= ENLARGED / 2,
            file,
        }
    }
}

/// Returns a picture of at most [`THUMBNAIL_SIDE`] pixels as a `data:` URL.
pub(super) fn thumbnail(picture: &Picture) -> String {
    let (height, width) = (picture.height(), picture.width());
    let side = height.max(width);
    if side <= THUMBNAIL_SIDE {
        let png = picture.encode_png();
        return match png.len() <= SMALL_BYTES {
            true => address("png", &png),
            false => address("jpeg", &jpeg(picture, THUMBNAIL_QUALITY)),
        };
    }
    let small = |length: usize| (length * THUMBNAIL_SIDE).div_ceil(side).max(1);
    let small = shrink(picture, small(height), small(width));
    address("jpeg", &jpeg(&small, THUMBNAIL_QUALITY))
}

/// Averages over the pixels that each new pixel covers; sides do not grow.
fn shrink(picture: &Picture, height: usize, width: usize) -> Picture {
    let channels = picture.channels();
    let span = |at: usize, new: usize, old: usize| {
        let first = at * old / new;
        first..((at + 1) * old / new).max(first + 1)
    };
    let mut bytes = Vec::with_capacity(channels * height * width);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                let (mut sum, mut count) = (0_usize, 0);
                for row in span(y, height, picture.height()) {
                    for column in span(x, width, picture.width()) {
                        let at = (row * picture.width() + column) * channels + channel;
                        sum += usize::from(picture.bytes()[at]);
                        count += 1;
                    }
                }
                // A mean of bytes is a byte.
                bytes.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    Picture::new(channels, height, width, bytes).unwrap_or_else(|_| picture.clone())
}

/// The same picture and quality always give the same bytes.
fn jpeg(picture: &Picture, quality: u8) -> Vec<u8> {
    let side = |side| u32::try_from(side).expect("a picture has at most MAX_PIXELS pixels");
    let color = match picture.channels() {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    let mut file = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut file, quality);
    let (width, height) = (side(picture.width()), side(picture.height()));
    match encoder.write_image(picture.bytes(), width, height, color) {
        Ok(()) => file,
        // JPEG sides are limited to 65,535 pixels.
        Err(_) => picture.encode_png(),
    }
}

fn address(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(bytes))
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
    fn original_plus_size_times_perturbation_is_the_adversarial_picture() {
        let original = grey(&[10, 250, 100, 7]);
        for bytes in [
            [18, 255, 92, 7],
            [10, 250, 100, 7],
            [255, 0, 101, 0],
            [11, 249, 100, 8],
        ] {
            let adversarial = grey(&bytes);
            let Perturbation { picture, size } = perturbation(&original, &adversarial).unwrap();
            let pairs = original.bytes().iter().zip(picture.bytes());
            let sum = pairs.map(|(&x, &d)| {
                let share = (f64::from(d) - 127.5) / 127.5;
                (f64::from(x) + f64::from(size) * share).round() as u8
            });
            // A change of more than half the scale is shown to within one level.
            for (sum, byte) in sum.zip(bytes) {
                assert!(
                    sum.abs_diff(byte) <= u8::from(size > 127),
                    "{sum} for {byte}"
                );
            }
        }
        let step = grey(&[18, 255, 92, 15]);
        assert_eq!(perturbation(&original, &step).unwrap().size, 8);
    }

    #[test]
    fn one_step_of_equal_length_is_its_sign_map() {
        let (original, moved) = (grey(&[10, 20, 30]), grey(&[18, 12, 30]));
        let found = perturbation(&original, &moved).unwrap();
        assert_eq!(found.picture, sign_map(&original, &moved).unwrap());
        assert_eq!(found.size, 8);
    }

    #[test]
    fn thumbnails_are_small() {
        let noise = |side: usize| {
            let mut state = 1_u32;
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            Picture::new(3, side, side, (0..3 * side * side).map(next).collect()).unwrap()
        };
        for side in [32, 64, 224] {
            // Noise compresses worst.
            let address = thumbnail(&noise(side));
            assert!(address.starts_with("data:image/jpeg"));
            assert!(address.len() < 7000, "{side}: {}", address.len());
        }
        let flat = Picture::new(1, 28, 28, vec![9; 784]).unwrap();
        assert!(thumbnail(&flat).starts_with("data:image/png"));
        let half = shrink(&grey(&[0, 10, 20, 30]), 1, 2);
        assert_eq!(half, grey(&[5, 25]));
    }

    #[test]
    fn small_pictures_are_enlarged_by_whole_factors_and_large_ones_shrink() {
        let width = |side: usize| {
            let picture = Picture::new(1, side, side, vec![0; side * side]).unwrap();
            Shown::new(&picture, String::new(), None).width
        };
        assert_eq!([28, 32, 64, 224, 299].map(width), [140, 160, 128, 224, 256]);
    }
}
