//! Recognises copies of a picture that were saved again or resized.

use super::transform::{Resize, Transform};
use crate::error::Result;
use crate::image::Picture;

/// Minimum side of a picture with a likeness, in pixels. Digits of 28 pixels are as close to each other as to copies of
/// themselves.
pub const SMALLEST_SIDE: usize = 32;

/// Height and width of the thumbnail.
pub(super) const HEIGHT: usize = 16;
pub(super) const WIDTH: usize = 17;

/// Maximum number of the 256 hash bits that may differ between copies. It only saves comparisons of thumbnails:
/// unrelated pictures differ in about 128 bits.
const MOST_BITS: u32 = 80;

/// Maximum root mean square difference of the thumbnails of two copies, as a share of the smaller contrast.
pub(super) const LARGEST_DIFFERENCE: f64 = 0.2;

/// Minimum contrast, in levels. Plainer pictures cannot be distinguished.
const LEAST_CONTRAST: f64 = 4.0;

/// The features of a picture that survive resizing and lossy saving: a grey thumbnail and its difference hash.
#[derive(Clone, Debug)]
pub struct Likeness {
    thumbnail: [u8; HEIGHT * WIDTH],
    /// One bit per pair of neighbours in a row of the thumbnail: whether the right one is brighter.
    hash: [u64; 4],
    /// Standard deviation of the thumbnail, in levels, after subtracting a linear slope.
    contrast: f64,
}

impl Likeness {
    /// Returns the likeness of a picture, or `None` if it is too small or too plain: a single colour, or only a linear
    /// slope.
    pub fn of(picture: Picture) -> Result<Option<Self>> {
        if picture.height().min(picture.width()) < SMALLEST_SIDE {
            return Ok(None);
        }
        let reduce = Transform {
            channels: Some(1),
            resize: Some(Resize::Exact {
                height: HEIGHT,
                width: WIDTH,
            }),
            ..Transform::default()
        };
        let reduced = reduce.apply(picture)?;
        let mut thumbnail = [0; HEIGHT * WIDTH];
        thumbnail.copy_from_slice(reduced.bytes());
        let contrast = contrast(&thumbnail);
        Ok((contrast >= LEAST_CONTRAST).then(|| Self {
            hash: hash(&thumbnail),
            thumbnail,
            contrast,
        }))
    }

    pub(super) fn thumbnail(&self) -> &[u8; HEIGHT * WIDTH] {
        &self.thumbnail
    }

    pub(super) fn contrast(&self) -> f64 {
        self.contrast
    }

    /// Returns the distance of two likenesses, from 0 to 0.2, if they belong to copies, else `None`.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        let pairs = self.hash.iter().zip(&other.hash);
        let bits: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
        if bits > MOST_BITS {
            return None;
        }
        let pairs = self.thumbnail.iter().zip(&other.thumbnail);
        let squares = pairs.map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2));
        let mean = squares.sum::<u64>() as f64 / self.thumbnail.len() as f64;
        let distance = mean.sqrt() / self.contrast.min(other.contrast);
        (distance <= LARGEST_DIFFERENCE).then_some(distance)
    }
}

fn hash(thumbnail: &[u8; HEIGHT * WIDTH]) -> [u64; 4] {
    let mut hash = [0; 4];
    let neighbours = thumbnail.chunks_exact(WIDTH).flat_map(|row| row.windows(2));
    for (at, pair) in neighbours.enumerate() {
        hash[at / 64] |= u64::from(pair[1] > pair[0]) << (at % 64);
    }
    hash
}

/// Returns the contrast that a linear slope does not explain: two skies are not copies because both get darker towards
/// the top.
fn contrast(thumbnail: &[u8; HEIGHT * WIDTH]) -> f64 {
    let centred = |at: usize, side: usize| at as f64 - (side - 1) as f64 / 2.0;
    let (mut sum, mut squares) = (0.0, 0.0);
    // The axes are centred, so that mean and slopes are independent.
    let (mut across, mut down, mut across_unit, mut down_unit) = (0.0, 0.0, 0.0, 0.0);
    for (at, &level) in thumbnail.iter().enumerate() {
        let (level, x, y) = (
            f64::from(level),
            centred(at % WIDTH, WIDTH),
            centred(at / WIDTH, HEIGHT),
        );
        sum += level;
        squares += level * level;
        across += level * x;
        down += level * y;
        across_unit += x * x;
        down_unit += y * y;
    }
    let count = thumbnail.len() as f64;
    let explained = sum * sum / count + across * across / across_unit + down * down / down_unit;
    ((squares - explained).max(0.0) / count).sqrt()
}

#[cfg(test)]
mod tests {
    use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};

    use super::super::{DataOptions, Dataset, Interpolation};
    use super::*;
    use crate::testing::assets;

    fn likeness(picture: Picture) -> Option<Likeness> {
        Likeness::of(picture).unwrap()
    }

    fn resized(picture: &Picture, side: usize, interpolation: Interpolation) -> Picture {
        let resize = Transform {
            resize: Some(Resize::ShortSide(side)),
            interpolation,
            ..Transform::default()
        };
        resize.apply(picture.clone()).unwrap()
    }

    fn saved(picture: &Picture, quality: u8) -> Picture {
        let (width, height) = (picture.width(), picture.height());
        let file = compress(
            picture.bytes(),
            width,
            height,
            PixelFormat::Rgb,
            quality,
            Subsampling::S420,
        );
        Picture::decode(&file.unwrap(), "a copy").unwrap()
    }

    fn pictures(path: &str) -> Vec<Picture> {
        let data = Dataset::open(&assets().join(path), &DataOptions::default()).unwrap();
        (0..data.len())
            .map(|index| data.get(index).unwrap().picture)
            .collect()
    }

    /// Returns the pairs that count as copies.
    fn pairs(likenesses: &[Option<Likeness>]) -> usize {
        let mut found = 0;
        for (at, one) in likenesses.iter().enumerate() {
            for other in &likenesses[..at] {
                let both = one.as_ref().zip(other.as_ref());
                found +=
                    usize::from(both.is_some_and(|(one, other)| one.distance(other).is_some()));
            }
        }
        found
    }

    #[test]
    fn copies_of_photographs_are_found_and_no_others() {
        let photographs = pictures("imagenet/images");
        let originals: Vec<_> = photographs.iter().cloned().map(likeness).collect();
        assert_eq!(pairs(&originals), 0);
        for (photograph, original) in photographs.iter().zip(&originals) {
            let half = resized(photograph, 149, Interpolation::Bicubic);
            let standard = resized(photograph, 256, Interpolation::Bilinear);
            for (what, copy) in [
                ("quality 50", saved(photograph, 50)),
                ("quality 75", saved(photograph, 75)),
                ("quality 90", saved(photograph, 90)),
                ("half, quality 75", saved(&half, 75)),
                ("half", half),
                ("256 pixels, quality 50", saved(&standard, 50)),
                ("256 pixels", standard),
            ] {
                let copy = likeness(copy).unwrap();
                let distance = original.as_ref().unwrap().distance(&copy);
                assert!(distance.is_some(), "{what}");
            }
        }
    }

    #[test]
    fn small_pictures_are_told_apart() {
        let mut cifar = pictures("cifar10/test_0-499_x_u8_NHWC.npy");
        let copies: Vec<Picture> = cifar.iter().map(|picture| saved(picture, 75)).collect();
        let found = cifar.iter().zip(&copies).filter(|(picture, copy)| {
            let [one, other] = [*picture, *copy].map(|picture| likeness(picture.clone()));
            one.zip(other)
                .is_some_and(|(one, other)| one.distance(&other).is_some())
        });
        assert_eq!(found.count(), 500);
        cifar.extend(pictures("cifar10/train_0-1999_x_u8_NHWC.npy"));
        let likenesses: Vec<_> = cifar.into_iter().map(likeness).collect();
        assert!(likenesses.iter().all(Option::is_some));
        assert_eq!(pairs(&likenesses), 0);
    }

    #[test]
    fn plain_and_tiny_pictures_have_no_likeness() {
        let drawn = |side: usize, level: &dyn Fn(usize, usize) -> usize| {
            let levels = (0..side * side).map(|at| level(at % side, at / side) as u8);
            likeness(Picture::new(1, side, side, levels.collect()).unwrap())
        };
        let disc = |x: usize, y: usize| usize::from(x.abs_diff(20).pow(2) + y.pow(2) < 300) * 200;
        for (what, found, expected) in [
            ("one colour", drawn(64, &|_, _| 90), false),
            ("a slope", drawn(64, &|x, y| 2 * x + y), false),
            (
                "fine noise",
                drawn(64, &|x, y| 90 + (x * 7 + y * 13) % 3),
                false,
            ),
            ("a disc", drawn(64, &disc), true),
            ("a small disc", drawn(32, &disc), true),
            ("a tiny disc", drawn(31, &disc), false),
        ] {
            assert_eq!(found.is_some(), expected, "{what}");
        }
    }
}
