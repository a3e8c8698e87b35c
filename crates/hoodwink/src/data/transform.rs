//! From the picture in the file to the picture the model is shown.

use std::{fmt, str::FromStr};

use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::{Error, Result};
use crate::image::{MAX_PIXELS, Picture};

/// What is done to every picture before the model sees it, in this order: channels, resize, crop.
///
/// The result is again 8-bit, so it is an exact starting point for an attack. The default changes
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transform {
    /// 3 repeats a grey picture three times; 1 turns an RGB picture into its luma (ITU-R 601-2, as
    /// Pillow's mode `L`). `None` leaves the channels as they are.
    pub channels: Option<usize>,
    /// The size to scale to.
    pub resize: Option<Resize>,
    /// Side, in pixels, of the square cut from the centre.
    pub crop: Option<usize>,
}

/// A size to scale to, bilinear with antialiasing, as Pillow and torchvision do. All in pixels.
///
/// Written `256` (the short side) or `224x320` (height x width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Scale the short side to this many pixels and keep the aspect ratio; the long side is rounded
    /// down.
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

impl Resize {
    /// Height and width of a picture of `height` x `width` after scaling.
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
    /// The picture as the model is to see it.
    ///
    /// Refuses a picture that is smaller than the crop, and sizes beyond what a picture may have.
    pub fn apply(&self, picture: Picture) -> Result<Picture> {
        let mut picture = match self.channels {
            None => picture,
            Some(channels) => with_channels(picture, channels)?,
        };
        if let Some(resize) = self.resize {
            picture = scaled(picture, resize)?;
        }
        if let Some(side) = self.crop {
            picture = cropped(picture, side)?;
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

/// ITU-R 601-2 luma in the 16-bit fixed point of Pillow: 0.299 R + 0.587 G + 0.114 B.
fn luma(rgb: &[u8]) -> u8 {
    let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}

fn scaled(picture: Picture, resize: Resize) -> Result<Picture> {
    let (from_height, from_width) = (picture.height(), picture.width());
    let (height, width) = resize.target(from_height, from_width);
    if (height, width) == (from_height, from_width) {
        return Ok(picture);
    }
    if height == 0 || width == 0 || height.saturating_mul(width) > MAX_PIXELS {
        return Err(Error::invalid(format!(
            "cannot scale a picture of {from_height}x{from_width} to {height}x{width}: \
             a picture has between 1 and {MAX_PIXELS} pixels"
        )));
    }
    let pixel = match picture.channels() {
        1 => PixelType::U8,
        _ => PixelType::U8x3,
    };
    let failed = |error: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "cannot scale a picture of {from_height}x{from_width} to {height}x{width}: {error}"
        ))
    };
    // A picture's pixel count is capped well below u32::MAX, and so is each of its sides.
    let source = ImageRef::new(
        from_width as u32,
        from_height as u32,
        picture.bytes(),
        pixel,
    )
    .map_err(|error| failed(&error))?;
    let mut target = Pixels::new(width as u32, height as u32, pixel);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|error| failed(&error))?;
    Picture::new(picture.channels(), height, width, target.into_vec())
}

fn cropped(picture: Picture, side: usize) -> Result<Picture> {
    let (channels, height, width) = (picture.channels(), picture.height(), picture.width());
    if side == 0 || side > height || side > width {
        return Err(Error::invalid(format!(
            "cannot cut {side}x{side} from a picture of {height}x{width}: resize it first"
        )));
    }
    // torchvision rounds half a pixel to the even side.
    let offset = |room: usize| (room as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (offset(height - side), offset(width - side));
    let bytes = picture
        .bytes()
        .chunks_exact(width * channels)
        .skip(top)
        .take(side)
        .flat_map(|row| &row[left * channels..(left + side) * channels])
        .copied()
        .collect();
    Picture::new(channels, side, side, bytes)
}
