//! Pictures from and to files: PNG, JPEG, WebP and BMP in, PNG out.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader,
};

use super::{MAX_PIXELS, Picture};
use crate::error::{Error, Result};

impl Picture {
    /// The picture in a PNG, JPEG, WebP or BMP file; `file` names it in errors.
    ///
    /// The content decides the format, not the name. Palettes become RGB, grey stays grey, and of
    /// 16-bit values the high byte is kept (as Pillow does). An EXIF orientation is applied; colour
    /// profiles and gamma are not. Of an animation the first frame counts.
    ///
    /// Refused, by name: a broken or truncated file, transparency (what the model sees would depend
    /// on a background the file does not give; an alpha channel that is opaque everywhere is
    /// dropped), and more than [`MAX_PIXELS`] pixels, which is checked before memory is taken.
    pub fn decode(bytes: &[u8], file: &str) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("{file} cannot be read as a picture: {error}"))
        };
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| broken(&error))?;
        match reader.format() {
            Some(ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp) => {}
            Some(ImageFormat::Jpeg) if jpeg_is_whole(bytes) => {}
            Some(ImageFormat::Jpeg) => return Err(broken(&"the file is truncated")),
            _ => {
                return Err(Error::unsupported(format!(
                    "{file} is not a PNG, JPEG, WebP or BMP file"
                )));
            }
        }
        let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MAX_PIXELS as u64 {
            return Err(Error::unsupported(format!(
                "{file} has {height}x{width} pixels; the limit is {MAX_PIXELS} in all"
            )));
        }
        let orientation = decoder.orientation().map_err(|error| broken(&error))?;
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
        decoded.apply_orientation(orientation);
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        let color = decoded.color();
        let channels = usize::from(color.channel_count()) - usize::from(color.has_alpha());
        let bytes =
            opaque(levels(decoded, file)?, channels, color.has_alpha()).ok_or_else(|| {
                Error::unsupported(format!(
                    "{file} is transparent in places, and the file does not say what lies behind: \
                 flatten it onto a background first"
                ))
            })?;
        Self::new(channels, height, width, bytes)
    }

    /// The picture as a PNG file. The same picture always gives the same bytes.
    pub fn encode_png(&self) -> Vec<u8> {
        let side = |side| u32::try_from(side).expect("a picture has at most MAX_PIXELS pixels");
        let color = match self.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut file = Vec::new();
        PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive)
            .write_image(&self.bytes, side(self.width), side(self.height), color)
            .expect("8-bit grey and RGB are PNG types, and writing to memory cannot fail");
        file
    }
}

/// The 8-bit values of a decoded file, alpha included.
fn levels(decoded: DynamicImage, file: &str) -> Result<Vec<u8>> {
    let high_bytes = |values: Vec<u16>| values.iter().map(|value| (value >> 8) as u8).collect();
    Ok(match decoded {
        DynamicImage::ImageLuma8(pixels) => pixels.into_raw(),
        DynamicImage::ImageLumaA8(pixels) => pixels.into_raw(),
        DynamicImage::ImageRgb8(pixels) => pixels.into_raw(),
        DynamicImage::ImageRgba8(pixels) => pixels.into_raw(),
        DynamicImage::ImageLuma16(pixels) => high_bytes(pixels.into_raw()),
        DynamicImage::ImageLumaA16(pixels) => high_bytes(pixels.into_raw()),
        DynamicImage::ImageRgb16(pixels) => high_bytes(pixels.into_raw()),
        DynamicImage::ImageRgba16(pixels) => high_bytes(pixels.into_raw()),
        other => {
            return Err(Error::unsupported(format!(
                "{file} holds pixels of type {:?}; 8 and 16 bits per channel are read",
                other.color()
            )));
        }
    })
}

/// The values without the alpha channel; `None` if a pixel is not opaque.
fn opaque(values: Vec<u8>, channels: usize, has_alpha: bool) -> Option<Vec<u8>> {
    if !has_alpha {
        return Some(values);
    }
    let pixels = values.chunks_exact(channels + 1);
    pixels
        .clone()
        .all(|pixel| pixel[channels] == u8::MAX)
        .then(|| {
            pixels
                .flat_map(|pixel| &pixel[..channels])
                .copied()
                .collect()
        })
}

/// Whether the end marker is there. The decoder fills what is missing of a truncated file with
/// grey, which would be measured as if it were the picture.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 2;
    let mut in_scan = false;
    while let Some(&[prefix, marker]) = bytes.get(at..at + 2) {
        match (prefix, marker) {
            (0xFF, END_OF_IMAGE) => return true,
            // Fill byte.
            (0xFF, 0xFF) => at += 1,
            // An escaped 0xFF, or a restart marker: both belong to the scan.
            (0xFF, 0x00 | 0xD0..=0xD7) => at += 2,
            (0xFF, _) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                    return false;
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                in_scan = marker == START_OF_SCAN;
            }
            _ if in_scan => at += 1,
            _ => return false,
        }
    }
    false
}
