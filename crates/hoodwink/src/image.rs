//! Pictures (8-bit, as stored in files) and images (float, as attacks move them).

mod codec;
mod jpeg;

use std::sync::Arc;

use crate::error::{Error, Result};

/// The maximum number of pixels of a picture. A larger one is assumed to be a mistake or an attack on the machine's
/// memory.
pub const MAX_PIXELS: usize = 1 << 26;

/// An 8-bit picture as a file stores it: grey (1 channel) or RGB (3 channels), rows from top to bottom, channels
/// interleaved (`HWC`).
///
/// Every picture enters and leaves the program in this form. So an original always lies on the 8-bit lattice, and an
/// adversarial picture can be saved without leaving its eps ball.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    channels: usize,
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl Picture {
    /// Creates a picture from its interleaved bytes. `channels` must be 1 or 3, no side may be 0, the number of pixels
    /// is at most [`MAX_PIXELS`], and `bytes` must hold exactly `height * width * channels` values.
    pub fn new(channels: usize, height: usize, width: usize, bytes: Vec<u8>) -> Result<Self> {
        let pixels = height.saturating_mul(width);
        let fits = matches!(channels, 1 | 3)
            && (1..=MAX_PIXELS).contains(&pixels)
            && pixels * channels == bytes.len();
        if !fits {
            return Err(Error::invalid(format!(
                "a picture of {channels} channels, {height}x{width}, cannot have {} bytes",
                bytes.len()
            )));
        }
        Ok(Self {
            channels,
            height,
            width,
            bytes,
        })
    }

    /// Returns the number of channels: 1 (grey) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the interleaved bytes, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Converts the picture to pixel space: divides every byte by 255 and separates the planes (`CHW`).
    pub fn to_image(&self) -> Image {
        let plane = self.height * self.width;
        let mut pixels = vec![0.0; self.bytes.len()];
        for (at, values) in self.bytes.chunks_exact(self.channels).enumerate() {
            for (channel, &value) in values.iter().enumerate() {
                pixels[channel * plane + at] = f32::from(value) / 255.0;
            }
        }
        Image {
            shape: [self.channels, self.height, self.width],
            pixels: Arc::new(pixels),
        }
    }
}

/// A float image in pixel space: `[channels, height, width]`, values in \[0, 1\], planes separate.
///
/// The same type carries gradients and perturbations, whose values may leave \[0, 1\].
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    shape: [usize; 3],
    /// Shared until someone changes it, so that questions and answers carry images without a copy.
    pixels: Arc<Vec<f32>>,
}

impl Image {
    /// Creates an image from its planes. The number of `pixels` must match `shape`.
    pub fn new(shape: [usize; 3], pixels: Vec<f32>) -> Result<Self> {
        if shape.iter().product::<usize>() != pixels.len() {
            return Err(Error::invalid(format!(
                "an image of shape {shape:?} cannot have {} values",
                pixels.len()
            )));
        }
        Ok(Self {
            shape,
            pixels: Arc::new(pixels),
        })
    }

    /// Creates an image of this shape with all values zero.
    pub fn zeros(shape: [usize; 3]) -> Self {
        Self {
            shape,
            pixels: Arc::new(vec![0.0; shape.iter().product()]),
        }
    }

    /// Returns `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Returns the values, plane after plane.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// Returns the values for changes in place. Copies them first if a clone of the image shares them.
    pub fn pixels_mut(&mut self) -> &mut [f32] {
        Arc::make_mut(&mut self.pixels).as_mut_slice()
    }

    /// Returns the nearest picture on the 8-bit lattice: values clamped to \[0, 1\] and rounded to multiples of 1/255.
    pub fn to_picture(&self) -> Picture {
        let [channels, height, width] = self.shape;
        let plane = height * width;
        let mut bytes = vec![0; self.pixels.len()];
        for (at, values) in bytes.chunks_exact_mut(channels).enumerate() {
            for (channel, value) in values.iter_mut().enumerate() {
                let level = self.pixels[channel * plane + at].clamp(0.0, 1.0) * 255.0;
                *value = level.round() as u8;
            }
        }
        Picture {
            channels,
            height,
            width,
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_survives_the_way_to_floats_and_back() {
        let picture = Picture::new(1, 16, 16, (0..=255).collect()).unwrap();
        assert_eq!(picture.to_image().to_picture(), picture);
    }

    #[test]
    fn channels_are_interleaved_in_pictures_and_apart_in_images() {
        let picture = Picture::new(3, 1, 2, vec![255, 0, 51, 0, 255, 102]).unwrap();
        let image = picture.to_image();
        assert_eq!(image.shape(), [3, 1, 2]);
        assert_eq!(image.pixels(), [1.0, 0.0, 0.0, 1.0, 0.2, 0.4]);
        assert_eq!(image.to_picture(), picture);
    }

    #[test]
    fn a_wrong_size_is_refused() {
        assert!(Picture::new(3, 2, 2, vec![0; 11]).is_err());
        assert!(Picture::new(2, 1, 1, vec![0; 2]).is_err());
        assert!(Image::new([1, 2, 2], vec![0.0; 5]).is_err());
    }
}
