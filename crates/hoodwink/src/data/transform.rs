//! The steps from the picture in the file to the picture that the model gets.

use std::{fmt, str::FromStr};

use super::interpolation::{Interpolation, PRECISION_BITS, Taps};
use crate::error::{Error, Result};
use crate::image::{MAX_PIXELS, Picture};

/// Steps applied to every picture before the model sees it, in this order: channels, resize, crop.
///
/// The result has 8 bits again, so it is an exact starting point for an attack. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transform {
    /// 3 repeats a grey picture three times; 1 converts an RGB picture to luma (ITU-R 601-2, like Pillow's mode `L`).
    /// `None` keeps the channels.
    pub channels: Option<usize>,
    /// The size to scale to.
    pub resize: Option<Resize>,
    /// The filter for scaling.
    pub interpolation: Interpolation,
    /// The centre crop.
    pub crop: Option<Crop>,
}

/// A size to scale to, in pixels, with antialiasing as in Pillow and torchvision.
///
/// Written `256` (the short side) or `224x320` (height x width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Scale the short side to this many pixels and keep the aspect ratio; the long side is rounded down.
    ShortSide(usize),
    /// Scale to exactly this size, whatever the aspect ratio.
    Exact {
        /// Height.
        height: usize,
        /// Width.
        width: usize,
    },
}

impl FromStr for Resize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let side = |text: &str| text.parse().ok().filter(|&side: &usize| side > 0);
        let size = match text.split_once('x') {
            None => side(text).map(Self::ShortSide),
            Some((height, width)) => side(height)
                .zip(side(width))
                .map(|(height, width)| Self::Exact { height, width }),
        };
        size.ok_or_else(|| {
            Error::invalid(format!(
                "{text:?} is not a size: write 256 for the short side, or 224x320 for height and width"
            ))
        })
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSide(side) => write!(f, "{side}"),
            Self::Exact { height, width } => write!(f, "{height}x{width}"),
        }
    }
}

/// A rectangle cut from the centre of a picture, in pixels.
///
/// Written `224` (a square) or `224x320` (height x width), for the rounding of transformers `224:down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
    /// How to round if the remaining pixels cannot be divided evenly.
    pub half_pixel: HalfPixel,
}

/// The position of a crop if the number of remaining pixels is odd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfPixel {
    /// An even number of pixels remains before it, as in torchvision and timm.
    #[default]
    ToEven,
    /// One pixel less remains before it than behind it, as in Hugging Face's transformers.
    Down,
}

impl Crop {
    /// Returns a square crop, positioned as in torchvision and timm.
    pub fn square(side: usize) -> Self {
        Self {
            height: side,
            width: side,
            half_pixel: HalfPixel::ToEven,
        }
    }
}

impl FromStr for Crop {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (size, half_pixel) = match text.split_once(':') {
            None => (text, Some(HalfPixel::ToEven)),
            Some((size, word)) => (size, (word == "down").then_some(HalfPixel::Down)),
        };
        let (height, width) = size.split_once('x').unwrap_or((size, size));
        let side = |text: &str| text.parse().ok().filter(|&side: &usize| side > 0);
        let sides = side(height).zip(side(width)).zip(half_pixel);
        let ((height, width), half_pixel) = sides.ok_or_else(|| {
            Error::invalid(format!(
                "{text:?} is not a crop size: write 224 for a square, or 224x320 for height and width"
            ))
        })?;
        Ok(Self {
            height,
            width,
            half_pixel,
        })
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.height == self.width {
            true => write!(f, "{}", self.height)?,
            false => write!(f, "{}x{}", self.height, self.width)?,
        }
        match self.half_pixel {
            HalfPixel::ToEven => Ok(()),
            HalfPixel::Down => f.write_str(":down"),
        }
    }
}

impl Resize {
    /// Whether a crop is larger than resized pictures, whatever their original size.
    fn is_beyond(self, crop: Crop) -> bool {
        match self {
            Self::ShortSide(side) => side < crop.height.min(crop.width),
            Self::Exact { height, width } => height < crop.height || width < crop.width,
        }
    }

    /// Returns the height and width after scaling a picture of `height` x `width`.
    fn target(self, height: usize, width: usize) -> (usize, usize) {
        match self {
            Self::Exact { height, width } => (height, width),
            Self::ShortSide(side) => {
                let long = side.saturating_mul(height.max(width)) / height.min(width);
                if height <= width {
                    (side, long)
                } else {
                    (long, side)
                }
            }
        }
    }
}

impl Transform {
    /// Returns a notice for the user, as a sentence.
    pub(super) fn notice(&self) -> Option<String> {
        let (resize, crop) = (self.resize?, self.crop?);
        resize.is_beyond(crop).then(|| {
            format!(
                "Pictures are resized to {resize} and then cropped to {crop}, which is larger, so they get a black border."
            )
        })
    }

    /// Returns the picture as the model gets it. If a crop is larger than a resized picture, the border is black, as in
    /// torchvision, timm and transformers.
    ///
    /// Refuses a picture that is smaller than the crop and not resized, and sizes above the limit of a picture.
    pub fn apply(&self, picture: Picture) -> Result<Picture> {
        let mut picture = match self.channels {
            None => picture,
            Some(channels) => with_channels(picture, channels)?,
        };
        if let Some(resize) = self.resize {
            picture = scaled(picture, resize, self.interpolation)?;
        }
        if let Some(crop) = self.crop {
            picture = cropped(picture, crop, self.resize.is_some())?;
        }
        Ok(picture)
    }
}

fn with_channels(picture: Picture, channels: usize) -> Result<Picture> {
    let bytes = match (picture.channels(), channels) {
        (1, 1) | (3, 3) => return Ok(picture),
        (1, 3) => picture.bytes().iter().flat_map(|&grey| [grey; 3]).collect(),
        (3, 1) => picture.bytes().chunks_exact(3).map(luma).collect(),
        (_, other) => {
            return Err(Error::invalid(format!(
                "a picture has 1 channel (grey) or 3 (RGB), not {other}"
            )));
        }
    };
    Picture::new(channels, picture.height(), picture.width(), bytes)
}

/// Computes ITU-R 601-2 luma in Pillow's 16-bit fixed-point arithmetic: 0.299 R + 0.587 G + 0.114 B.
fn luma(rgb: &[u8]) -> u8 {
    let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}

impl Picture {
    /// Scales the picture to this height and width, with antialiasing, like Pillow's `resize` with `BILINEAR`.
    ///
    /// # Errors
    /// A side of 0, or more than [`MAX_PIXELS`] pixels.
    pub fn resize(self, height: usize, width: usize) -> Result<Self> {
        if height == 0 || width == 0 {
            return Err(Error::invalid("a picture cannot have a side of 0 pixels"));
        }
        let size = Resize::Exact { height, width };
        scaled(self, size, Interpolation::default())
    }
}

fn scaled(picture: Picture, resize: Resize, interpolation: Interpolation) -> Result<Picture> {
    let (channels, from_height, from_width) =
        (picture.channels(), picture.height(), picture.width());
    let (height, width) = resize.target(from_height, from_width);
    // Each pass rounds to bytes, so the order matters. Pillow 13 scales the height first if it loses more than twice as
    // many pixels as the width; earlier versions always scale the width first.
    let lost = from_height.saturating_sub(height) as i128;
    let height_first = lost > 0 && lost > 2 * (from_width as i128 - width as i128);
    let between = match height_first {
        true => height.saturating_mul(from_width),
        false => from_height.saturating_mul(width),
    };
    let largest = height.saturating_mul(width).max(between);
    if height == 0 || width == 0 || largest > MAX_PIXELS {
        return Err(Error::invalid(format!(
            "cannot scale a picture of {from_height}x{from_width} to {height}x{width}: between the two passes \
             it would have no pixels, or more than {MAX_PIXELS}"
        )));
    }
    let scale = |bytes: &[u8], from, to, inner| scaled_axis(interpolation, bytes, from, to, inner);
    let bytes = match height_first {
        true => {
            let low = scale(picture.bytes(), from_height, height, from_width * channels);
            scale(&low, from_width, width, channels)
        }
        false => {
            let narrow = scale(picture.bytes(), from_width, width, channels);
            scale(&narrow, from_height, height, width * channels)
        }
    };
    Picture::new(channels, height, width, bytes)
}

/// Scales one axis of an array `[.., from, inner]` to `[.., to, inner]`, in Pillow's fixed-point arithmetic, so that
/// the bytes are the ones a training script saw.
fn scaled_axis(
    interpolation: Interpolation,
    values: &[u8],
    from: usize,
    to: usize,
    inner: usize,
) -> Vec<u8> {
    let taps = Taps::all(interpolation, from, to);
    let mut sums = vec![0; inner];
    let mut scaled = Vec::with_capacity(values.len() / from * to);
    for line in values.chunks_exact(from * inner) {
        for taps in &taps {
            sums.fill(1_i64 << (PRECISION_BITS - 1));
            let sources = line.chunks_exact(inner).skip(taps.first);
            for (weight, source) in taps.weights.iter().zip(sources) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    *sum += weight * i64::from(value);
                }
            }
            scaled.extend(
                sums.iter()
                    .map(|sum| (sum >> PRECISION_BITS).clamp(0, 255) as u8),
            );
        }
    }
    scaled
}

fn cropped(picture: Picture, crop: Crop, may_pad: bool) -> Result<Picture> {
    let (channels, height, width) = (picture.channels(), picture.height(), picture.width());
    let fits = crop.height <= height && crop.width <= width;
    let pixels = crop.height.saturating_mul(crop.width);
    if !(1..=MAX_PIXELS).contains(&pixels) || !(fits || may_pad) {
        return Err(Error::invalid(format!(
            "cannot crop {}x{} from a picture of {height}x{width}; resize it first",
            crop.height, crop.width
        )));
    }
    let rows = Span::new(height, crop.height, crop.half_pixel);
    let columns = Span::new(width, crop.width, crop.half_pixel);
    let mut bytes = vec![0; pixels * channels];
    let from = (picture.bytes().chunks_exact(width * channels)).skip(rows.from);
    let to = (bytes.chunks_exact_mut(crop.width * channels)).skip(rows.to);
    let length = columns.length * channels;
    for (to, from) in to.zip(from).take(rows.length) {
        to[columns.to * channels..][..length]
            .copy_from_slice(&from[columns.from * channels..][..length]);
    }
    Picture::new(channels, crop.height, crop.width, bytes)
}

/// The pixels of an axis that a crop keeps.
struct Span {
    /// The position of the first in the picture.
    from: usize,
    /// The position of the first in the crop.
    to: usize,
    length: usize,
}

impl Span {
    fn new(side: usize, crop: usize, half_pixel: HalfPixel) -> Self {
        let over = side.saturating_sub(crop);
        let missing = crop.saturating_sub(side);
        let (from, to) = match half_pixel {
            HalfPixel::ToEven => ((over as f64 / 2.0).round_ties_even() as usize, missing / 2),
            HalfPixel::Down => (over / 2, missing.div_ceil(2)),
        };
        Self {
            from,
            to,
            length: side.min(crop),
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::testing::assets;

    fn grey(height: usize, width: usize, bytes: impl Into<Vec<u8>>) -> Picture {
        Picture::new(1, height, width, bytes.into()).unwrap()
    }

    fn resize(text: &str) -> Transform {
        Transform {
            resize: Some(text.parse().unwrap()),
            ..Transform::default()
        }
    }

    /// Cut of the 299x299 photograph from its top left (height, width), short side, crop, and the
    /// SHA-256 of all prepared bytes. From torchvision 0.29.2 on Pillow 13.0.0:
    /// `Compose([Resize(side), CenterCrop(crop)])` of the 100 photographs, sorted by name.
    const TORCHVISION: [(usize, usize, usize, usize, &str); 5] = [
        (
            299,
            299,
            256,
            224,
            "87e227abcda0c63b88a38c94d4d4b0df6443e4cb11afe20d9fa876ea23dcf20e",
        ),
        (
            299,
            299,
            183,
            160,
            "2ff6b1ec29924c12e5cc9334adf5d605e243255bc4ab66c33b2c1a6877ca8187",
        ),
        (
            299,
            299,
            320,
            299,
            "e520e645170b8d2407e77152ed41bd6cfef0f91763c078eeeb980d2123838b65",
        ),
        (
            299,
            201,
            128,
            113,
            "d5f42093b6a792e35dc9d02906b4708f5c69accc566bc030b039fc4e4a70c39b",
        ),
        (
            150,
            299,
            128,
            113,
            "a943f89988629fb86feffb3634a46753ec409266440e7a0bd94fc29cbca12710",
        ),
    ];

    /// The same photographs through Pillow's `convert("L")`.
    const PILLOW_LUMA: &str = "9e86146fbc622d3b78c4bd23aa6f028585dd4a5c12d00a0456ef827002c9f891";

    fn photographs() -> Vec<Picture> {
        let folder = assets().join("imagenet/images");
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
            .collect();
        files.sort();
        assert_eq!(files.len(), 100, "{}", folder.display());
        let decode = |path| Picture::decode(&std::fs::read(path).unwrap(), "a photograph");
        files.iter().map(|path| decode(path).unwrap()).collect()
    }

    fn top_left(picture: &Picture, height: usize, width: usize) -> Picture {
        let rows = picture
            .bytes()
            .chunks_exact(picture.width() * 3)
            .take(height);
        let bytes = rows.flat_map(|row| &row[..width * 3]).copied().collect();
        Picture::new(3, height, width, bytes).unwrap()
    }

    #[test]
    fn photographs_come_out_as_torchvision_prepares_them() {
        let photographs = photographs();
        for (height, width, side, crop, expected) in TORCHVISION {
            let transform = Transform {
                resize: Some(Resize::ShortSide(side)),
                crop: Some(Crop::square(crop)),
                ..Transform::default()
            };
            let mut hash = Sha256::new();
            for photograph in &photographs {
                let prepared = transform
                    .apply(top_left(photograph, height, width))
                    .unwrap();
                hash.update(prepared.bytes());
            }
            let found = crate::data::hex(&hash.finalize());
            assert_eq!(found, expected, "{height}x{width} to {side}, crop {crop}");
        }
        let to_grey = Transform {
            channels: Some(1),
            ..Transform::default()
        };
        let mut hash = Sha256::new();
        for photograph in photographs {
            hash.update(to_grey.apply(photograph).unwrap().bytes());
        }
        assert_eq!(crate::data::hex(&hash.finalize()), PILLOW_LUMA);
    }

    /// What becomes of the picture 0 50 100 / 150 200 250, from Pillow 13.0.0:
    /// `Image.fromarray(x).resize((width, height), BILINEAR)`.
    const SMALL: [(&str, &[u8]); 4] = [
        ("1x1", &[125]),
        ("2x2", &[19, 81, 169, 231]),
        (
            "3x5",
            &[
                0, 20, 50, 80, 100, 75, 95, 125, 155, 175, 150, 170, 200, 230, 250,
            ],
        ),
        (
            "4x3",
            &[0, 50, 100, 38, 88, 138, 113, 163, 213, 150, 200, 250],
        ),
    ];

    #[test]
    fn small_pictures_scale_as_in_pillow() {
        let ramp = [0, 50, 100, 150, 200, 250];
        for (to, expected) in SMALL {
            let scaled = resize(to).apply(grey(2, 3, ramp)).unwrap();
            assert_eq!(scaled.bytes(), expected, "{to}");
        }
    }

    /// Short side and crop, and the SHA-256 of the 100 photographs so prepared, from Pillow 13.0.0.
    const OTHER_FILTERS: [(Interpolation, usize, usize, &str); 6] = [
        (
            Interpolation::Bicubic,
            256,
            224,
            "d48c3e93846327c04b5f344b2ec87f8d16fbc8b1e682ea73b357d2300fa5b7f4",
        ),
        (
            Interpolation::Bicubic,
            183,
            160,
            "2f5fcab97f5870831b0b61d89c270709a7da24c6843b9ff506bb27217bea6a37",
        ),
        (
            Interpolation::Bicubic,
            320,
            299,
            "bc13dba6fcc3f87bd683bcbecf8a895ac113555c24622e54f5ec309b66e5e70c",
        ),
        (
            Interpolation::Lanczos,
            256,
            224,
            "999a922056394625b46a815c6dd0537809ab53abc0bc5fa6d4c888391b69b8a9",
        ),
        (
            Interpolation::Lanczos,
            183,
            160,
            "0f12bdfcfa3210e9a3972f6899d1c852679ec04aacc3ec0e4103b808332f8ac0",
        ),
        (
            Interpolation::Lanczos,
            320,
            299,
            "47ce5fbc82287bc62c6a2cf3640bea9453cb6723fcf3c6c53d4a975c1fed2475",
        ),
    ];

    #[test]
    fn photographs_come_out_as_pillow_scales_them() {
        let photographs = photographs();
        for (interpolation, side, crop, expected) in OTHER_FILTERS {
            let transform = Transform {
                resize: Some(Resize::ShortSide(side)),
                interpolation,
                crop: Some(Crop::square(crop)),
                ..Transform::default()
            };
            let mut hash = Sha256::new();
            for photograph in &photographs {
                hash.update(transform.apply(photograph.clone()).unwrap().bytes());
            }
            let found = crate::data::hex(&hash.finalize());
            assert_eq!(found, expected, "{interpolation:?} to {side}, crop {crop}");
        }
    }

    #[test]
    fn the_short_side_decides_and_the_long_side_is_cut_down() {
        for (height, width, side, expected) in [
            (299, 299, 256, (256, 256)),
            (100, 151, 50, (50, 75)),
            (151, 100, 50, (75, 50)),
            (3, 2, 7, (10, 7)),
        ] {
            let found = Resize::ShortSide(side).target(height, width);
            assert_eq!(found, expected, "{height}x{width}");
        }
    }

    #[test]
    fn the_crop_lies_where_torchvision_puts_it() {
        // Half a pixel goes to the even offset: room of 1, 3 and 5 starts at 0, 2 and 2.
        for (width, expected) in [(1, 0), (2, 0), (3, 1), (4, 2), (5, 2), (6, 2), (7, 3)] {
            let transform = Transform {
                crop: Some(Crop::square(1)),
                ..Transform::default()
            };
            let row: Vec<u8> = (0..width).collect();
            let cropped = transform.apply(grey(1, width.into(), row)).unwrap();
            assert_eq!(cropped.bytes(), [expected], "{width}");
        }
    }

    #[test]
    fn channels_change_only_on_demand() {
        let rgb = Picture::new(3, 1, 2, vec![255, 0, 0, 10, 20, 30]).unwrap();
        let to = |channels| Transform {
            channels: Some(channels),
            ..Transform::default()
        };
        // 0.299 * 255 = 76.2; 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.2.
        let luma = to(1).apply(rgb.clone()).unwrap();
        assert_eq!(luma, grey(1, 2, [76, 18]));
        let repeated = to(3).apply(luma).unwrap();
        assert_eq!(repeated.bytes(), [76, 76, 76, 18, 18, 18]);
        assert_eq!(Transform::default().apply(rgb.clone()).unwrap(), rgb);
        assert!(to(4).apply(rgb).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let line = || grey(1, 4, [0; 4]);
        for (transform, says) in [
            (resize("60000"), "pixels"),
            (resize("1x18446744073709551615"), "pixels"),
            (resize("18446744073709551615"), "pixels"),
            (
                Transform {
                    crop: Some(Crop::square(2)),
                    ..Transform::default()
                },
                "resize it first",
            ),
        ] {
            let error = transform.apply(line()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for text in ["", "0", "-1", "224x", "x224", "224x0", "a"] {
            assert!(text.parse::<Resize>().is_err(), "{text}");
        }
    }
}
