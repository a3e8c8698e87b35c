//! Reads pictures from PNG, JPEG, WebP, BMP, TIFF, GIF and PNM files, and writes PNG files.

use std::io::Cursor;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits,
};

use super::{MAX_PIXELS, Picture, jpeg};
use crate::counted;
use crate::error::{Error, Result};
use crate::files;
use crate::legible;

/// Bytes that a decoder may use in addition to its pixels: for colour profiles, hidden frames and tables.
const SPARE_BYTES: u64 = 1 << 25;

/// The maximum file size.
const MAX_FILE_BYTES: u64 = 1 << 28;

impl Picture {
    /// Reads a picture from a file of at most 256 MiB; see [`Picture::decode`].
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = files::read(path, MAX_FILE_BYTES)?;
        Self::decode(&bytes, &legible::name(&path.display().to_string()))
    }

    /// Decodes a PNG, JPEG, WebP, BMP, TIFF, GIF or PNM (PPM, PGM, PBM) file. `file` names it in errors.
    ///
    /// The content determines the format, not the name. Palettes become RGB and grey stays grey. 16-bit values keep
    /// only their high byte. An EXIF orientation is applied (Pillow does this only on request); colour profiles and
    /// gamma are ignored. An animation gives its first frame.
    ///
    /// Refused, with the file's name: a broken or truncated file; transparency (the pixels would depend on a background
    /// that the file does not define, but a fully opaque alpha channel is dropped); CMYK in a TIFF; and more than
    /// [`MAX_PIXELS`] pixels, which is checked before memory is allocated.
    pub fn decode(bytes: &[u8], file: &str) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| {
            let what = legible::name(&error.to_string());
            Error::invalid(format!("{file} cannot be read as a picture: {what}"))
        };
        let mut reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| broken(&error))?;
        let format = reader.format();
        match format {
            Some(
                ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Bmp
                | ImageFormat::Tiff
                | ImageFormat::Gif
                | ImageFormat::Pnm,
            ) => {}
            Some(ImageFormat::Jpeg) => {
                if let Some(picture) = jpeg::decode(bytes, file)? {
                    return Ok(picture);
                }
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "{file} is not a PNG, JPEG, WebP, BMP, TIFF, GIF or PNM file"
                )));
            }
        }
        if format == Some(ImageFormat::WebP) && !is_whole_webp(bytes) {
            return Err(broken(&"the file is truncated"));
        }
        let spare = |pixels: u64| {
            let mut limits = Limits::no_limits();
            limits.max_alloc = Some(pixels.saturating_add(SPARE_BYTES));
            limits
        };
        // A PNG unpacks its colour profile before it declares its size; the other decoders get their limit afterwards.
        reader.limits(match format {
            Some(ImageFormat::Png) => spare(0),
            _ => Limits::no_limits(),
        });
        let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MAX_PIXELS as u64 {
            return Err(Error::unsupported(format!(
                "{file} has {height}x{width} pixels; the limit is {MAX_PIXELS} in all"
            )));
        }
        if width == 0 || height == 0 {
            return Err(broken(&"it has no pixels"));
        }
        let most = most_pixels(format, bytes.len() as u64);
        if u64::from(width) * u64::from(height) > most {
            return Err(broken(&format!(
                "its {} bytes cannot hold {height}x{width} pixels",
                bytes.len()
            )));
        }
        if format == Some(ImageFormat::Tiff)
            && decoder.original_color_type() == ExtendedColorType::Cmyk8
        {
            return Err(Error::unsupported(format!(
                "{file} is a TIFF of CMYK: save it as RGB first"
            )));
        }
        let limits = spare(decoder.total_bytes());
        decoder.set_limits(limits).map_err(|error| broken(&error))?;
        let orientation = decoder.orientation().map_err(|error| broken(&error))?;
        let decoded = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
        Self::upright(decoded, orientation, file)
    }

    /// Decodes a PNG file of this shape, `[channels, height, width]`. `file` names it in errors. Another format or size
    /// is refused before anything is unpacked.
    pub fn decode_png(bytes: &[u8], file: &str, shape: [usize; 3]) -> Result<Self> {
        let [channels, height, width] = shape;
        // The header is the first chunk.
        let side = |at: usize| {
            let side = bytes.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*side) as usize)
        };
        let begins = bytes.starts_with(b"\x89PNG\r\n\x1a\n");
        if begins && (side(20), side(16)) == (Some(height), Some(width)) {
            let picture = Self::decode(bytes, file)?;
            if [picture.channels, picture.height, picture.width] == shape {
                return Ok(picture);
            }
        }
        Err(Error::invalid(format!(
            "{file} is not a PNG of {height}x{width} pixels with {}",
            counted::channels(channels)
        )))
    }

    /// Converts decoded pixels to a picture and applies the orientation.
    pub(super) fn upright(
        mut decoded: DynamicImage,
        orientation: Orientation,
        file: &str,
    ) -> Result<Self> {
        decoded.apply_orientation(orientation);
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        let color = decoded.color();
        let channels = usize::from(color.channel_count()) - usize::from(color.has_alpha());
        let bytes = levels(decoded, channels, file)?.ok_or_else(|| {
            Error::unsupported(format!(
                "{file} is partly transparent, and the file does not define the background: flatten it onto a background \
                 first"
            ))
        })?;
        Self::new(channels, height, width, bytes)
    }

    /// Encodes the picture as a PNG file. The same picture always gives the same bytes.
    pub fn encode_png(&self) -> Vec<u8> {
        let side = |side| u32::try_from(side).expect("a picture has at most MAX_PIXELS pixels");
        let color = match self.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut file = Vec::new();
        // The default compression does not make noisy photographs smaller, and took a fifth of the time of a run.
        PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
            .write_image(&self.bytes, side(self.width), side(self.height), color)
            .expect("8-bit grey and RGB are PNG types, and writing to memory cannot fail");
        file
    }
}

/// Returns the maximum number of pixels that this many bytes can encode. Deflate packs 1,032 bytes into one, and a byte
/// of a PNG may hold eight pixels. A code of a GIF has 12 bits and encodes fewer than 4,096 pixels. A PNM is not
/// compressed. Other formats equal pixels without a bound.
fn most_pixels(format: Option<ImageFormat>, bytes: u64) -> u64 {
    match format {
        Some(ImageFormat::Png) => bytes.saturating_mul(8 * 1032),
        Some(ImageFormat::Gif) => bytes.saturating_mul(4096 * 8 / 12),
        Some(ImageFormat::Pnm) => bytes.saturating_mul(8),
        _ => u64::MAX,
    }
}

/// Returns the 8-bit values of a decoded file without alpha, or `None` if a pixel is not opaque.
fn levels(decoded: DynamicImage, channels: usize, file: &str) -> Result<Option<Vec<u8>>> {
    Ok(match decoded {
        DynamicImage::ImageLuma8(pixels) => Some(pixels.into_raw()),
        DynamicImage::ImageRgb8(pixels) => Some(pixels.into_raw()),
        DynamicImage::ImageLumaA8(pixels) => opaque(pixels.into_raw(), channels),
        DynamicImage::ImageRgba8(pixels) => opaque(pixels.into_raw(), channels),
        DynamicImage::ImageLuma16(pixels) => Some(pixels.as_raw().iter().map(high_byte).collect()),
        DynamicImage::ImageRgb16(pixels) => Some(pixels.as_raw().iter().map(high_byte).collect()),
        DynamicImage::ImageLumaA16(pixels) => opaque16(pixels.as_raw(), channels),
        DynamicImage::ImageRgba16(pixels) => opaque16(pixels.as_raw(), channels),
        other => {
            return Err(Error::unsupported(format!(
                "{file} has pixels of type {:?}; only 8 and 16 bits per channel are supported",
                other.color()
            )));
        }
    })
}

/// Removes the alpha channel in place.
fn opaque(mut values: Vec<u8>, channels: usize) -> Option<Vec<u8>> {
    let pixels = values.len() / (channels + 1);
    for pixel in 0..pixels {
        let from = pixel * (channels + 1);
        if values[from + channels] != u8::MAX {
            return None;
        }
        values.copy_within(from..from + channels, pixel * channels);
    }
    values.truncate(pixels * channels);
    Some(values)
}

fn high_byte(value: &u16) -> u8 {
    (value >> 8) as u8
}

/// Like [`opaque`], but keeps the high bytes of 16-bit values.
fn opaque16(values: &[u16], channels: usize) -> Option<Vec<u8>> {
    let pixels = values.chunks_exact(channels + 1);
    let is_opaque = |pixel: &[u16]| high_byte(&pixel[channels]) == u8::MAX;
    pixels.clone().all(is_opaque).then(|| {
        pixels
            .flat_map(|pixel| pixel[..channels].iter().map(high_byte))
            .collect()
    })
}

/// Returns whether every part of a WebP lies inside the file. Its decoder allocates the declared size of a part.
fn is_whole_webp(bytes: &[u8]) -> bool {
    let size = |at: usize| {
        let size = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(size)).ok()
    };
    let Some(end) = size(4).and_then(|size| size.checked_add(8)) else {
        return false;
    };
    // Anything may follow the declared content.
    let end = end.min(bytes.len());
    let mut at = 12;
    while at + 8 <= end {
        let Some(size) = size(at + 4) else {
            return false;
        };
        at = at
            .saturating_add(8)
            .saturating_add(size)
            .saturating_add(size & 1);
    }
    // The byte that pads a part to an even size may be missing.
    at <= bytes.len() + 1
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use image::{ImageBuffer, Luma};

    use super::*;

    /// A picture of 2x3 pixels.
    const RGB: [u8; 18] = [
        255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 128, 64, 32, 250, 251, 252,
    ];

    const GREY: [u8; 6] = [0, 17, 34, 200, 254, 255];

    /// Files of 2x3 pixels written by Pillow 13.0.0, with their contents. The low bytes of `grey16.png` are 0, 255,
    /// 128, 127, 1 and 255.
    #[rustfmt::skip]
    const FILES: [(&str, &str, &[u8]); 10] = [
        ("rgb.png", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAGElEQVR4nGP4z8DAAMFcInINDgq/fv8BADlTBwu1bXbzAAAAAElFTkSuQmCC", &RGB),
        ("rgb.bmp", "Qk1OAAAAAAAAADYAAAAoAAAAAwAAAAIAAAABABgAAAAAABgAAADEDgAAxA4AAAAAAAAAAAAAHhQKIECA/Pv6AAAAAAD/AP8A/wAAAAAA", &RGB),
        ("rgb.webp", "UklGRkYAAABXRUJQVlA4TDoAAAAvAkAAAC+gEAAapjByyF/ubBoK0jZgJmFqZ/4qCEAAwRT/J9b8B/AP4iEO0SwBgQBlrHhgm4j+x3gB", &RGB),
        ("palette.png", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACBAMAAABvWnspAAAAElBMVEX6+/wA/wCAQCAKFB7/AAAAAP+PBLlTAAAADklEQVR4nGN05GcwYgAAAfEAhLB+fWEAAAAASUVORK5CYII=", &RGB),
        ("grey.png", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAAAAAC4HznGAAAAEElEQVR4nGNkEBRkOPHvPwAGHgLpY0bYwQAAAABJRU5ErkJggg==", &GREY),
        ("bilevel.png", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACAQAAAAC1D1u3AAAADElEQVR4nGNgYHgAAADkAOGrztgkAAAAAElFTkSuQmCC", &[0, 0, 0, 255, 255, 255]),
        ("grey16.png", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACEAAAAADoj+WFAAAAFklEQVR4nGNkYBD8L9jIcKL+H+P//wAdkQXo+lqYGwAAAABJRU5ErkJggg==", &GREY),
        ("rgb.gif", "R0lGODdhAwACAIIAAPr7/AD/AIBAIAoUHv8AAAAA/wAAAAAAACwAAAAAAwACAAAICQAJBCgwQACAgAA7", &RGB),
        ("rgb.tif", "SUkqAAgAAAAKAAABBAABAAAAAwAAAAEBBAABAAAAAgAAAAIBAwADAAAAhgAAAAMBAwABAAAAAQAAAAYBAwABAAAAAgAAABEBBAABAAAAjAAAABUBAwABAAAAAwAAABYBBAABAAAAAgAAABcBBAABAAAAEgAAABwBAwABAAAAAQAAAAAAAAAIAAgACAD/AAAA/wAAAP8KFB6AQCD6+/w=", &RGB),
        ("opaque.png", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAYAAACddGYaAAAAI0lEQVR4nGP4z8Dwn+E/w38Ghv//mbhF5BgaHBUYfv3+ywAAg6gKDTFVwz8AAAAASUVORK5CYII=", &RGB),
    ];

    /// The RGB picture with one pixel of alpha 254.
    const TRANSPARENT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAYAAACddGYaAAAAI0lEQVR4nGP4z8Dwn+E/w38Ghv//mbhF5BgaHBX+//r9lwEAiKMLDIedm58AAAAASUVORK5CYII=";

    /// 16 rows of 24 pixels, RGB = (10 x, 15 y, 6 (x + y)) at quality 95 without subsampling. Its EXIF orientation 6
    /// asks for a clockwise turn.
    const TURNED_JPEG: &str = "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAQABgDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD8t/h5+yl/q/8AiW+n8Fc2DzLzPn+FuPvh9892+Hn7KX+r/wCJb6fwV9Vg8y8z+keFuPvh9891+Hn7KX+r/wCJb/45X1WDzLzP6Q4W4++H3z0X4efspf6v/iW+n8FfzZg8y21P8BuFuPvh9891+Hn7KX+r/wCJb/45X1WDzLbU/pDhbj74ffPdvh5+yl9z/iW/+OV9Vg8y21P6R4W4++H3z//Z";

    /// 4x4 pixels of CMYK, which Pillow 13.0.0 decodes to RGB (216, 172, 119).
    const CMYK_JPEG: &str = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJCgoK/8AAFAgABAAEBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwD91K/Qytyv2Er/2Q==";

    fn bytes(base64: &str) -> Vec<u8> {
        BASE64_STANDARD.decode(base64).unwrap()
    }

    #[test]
    fn files_by_another_program_are_read_exactly() {
        for (file, base64, expected) in FILES {
            let picture = Picture::decode(&bytes(base64), file).unwrap();
            let size = (picture.height(), picture.width());
            assert_eq!((size, picture.bytes()), ((2, 3), expected), "{file}");
        }
    }

    #[test]
    fn a_jpeg_is_turned_as_its_exif_says() {
        let picture = Picture::decode(&bytes(TURNED_JPEG), "turned.jpg").unwrap();
        assert_eq!((picture.height(), picture.width()), (24, 16));
        // Expected values: `ImageOps.exif_transpose` of Pillow 13.0.0. Decoders may differ by rounding.
        for ((row, column), expected) in [
            ((0, 0), [0, 224, 89]),
            ((0, 15), [0, 0, 2]),
            ((23, 0), [229, 224, 228]),
            ((23, 15), [230, 0, 137]),
            ((12, 8), [119, 106, 115]),
        ] {
            let found = &picture.bytes()[(row * 16 + column) * 3..][..3];
            let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 2);
            assert!(close, "{row}, {column}: {found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_jpeg_for_print_has_the_colours_that_pillow_gives_it() {
        let picture = Picture::decode(&bytes(CMYK_JPEG), "print.jpg").unwrap();
        for pixel in picture.bytes().chunks(3) {
            let close = pixel
                .iter()
                .zip([216, 172, 119])
                .all(|(a, b)| a.abs_diff(b) <= 2);
            assert!(close, "{pixel:?}");
        }
    }

    #[test]
    fn a_png_gives_the_picture_back_and_is_always_the_same() {
        for (channels, height, width, values) in [(3, 2, 3, &RGB[..]), (1, 3, 2, &GREY)] {
            let picture = Picture::new(channels, height, width, values.to_vec()).unwrap();
            let file = picture.encode_png();
            assert_eq!(Picture::decode(&file, "a.png").unwrap(), picture);
            assert_eq!(picture.encode_png(), file);
        }
    }

    #[test]
    fn what_is_not_a_plain_picture_is_refused_by_name() {
        let huge: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_pixel(1 << 14, 1 << 13, Luma([0]));
        let mut huge_png = Vec::new();
        huge.write_to(&mut Cursor::new(&mut huge_png), ImageFormat::Png)
            .unwrap();
        for (file, content, says) in [
            ("glass.png", bytes(TRANSPARENT), "flatten it"),
            (
                "notes.png",
                b"just words".to_vec(),
                "not a PNG, JPEG, WebP, BMP, TIFF, GIF or PNM",
            ),
            (
                "empty.jpg",
                Vec::new(),
                "not a PNG, JPEG, WebP, BMP, TIFF, GIF or PNM",
            ),
            ("huge.png", huge_png, "the limit is"),
        ] {
            let error = Picture::decode(&content, file).unwrap_err().to_string();
            assert!(error.starts_with(file) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_png_of_another_shape_is_refused() {
        let picture = Picture::new(3, 2, 3, RGB.to_vec()).unwrap();
        let png = picture.encode_png();
        assert_eq!(Picture::decode_png(&png, "a", [3, 2, 3]).unwrap(), picture);
        let (_, bmp, _) = FILES.iter().find(|(name, ..)| *name == "rgb.bmp").unwrap();
        for (file, shape) in [
            (&png, [3, 3, 2]),
            (&png, [1, 2, 3]),
            (&png[..20].to_vec(), [3, 2, 3]),
            (&bytes(bmp), [3, 2, 3]),
        ] {
            let error = Picture::decode_png(file, "a", shape).unwrap_err();
            assert!(
                error.to_string().starts_with("a is not a PNG of"),
                "{error}"
            );
        }
    }

    #[test]
    fn files_are_as_large_as_their_pixels_need() {
        let plain = Picture::new(1, 3000, 4000, vec![0; 12_000_000]).unwrap();
        assert_eq!(Picture::decode(&plain.encode_png(), "a").unwrap(), plain);
        let (_, gif, _) = FILES.iter().find(|(name, ..)| *name == "rgb.gif").unwrap();
        let mut gif = bytes(gif);
        let mut png = plain.encode_png()[..60].to_vec();
        for (file, at) in [(&mut gif, 6), (&mut png, 60)] {
            if let Some(size) = file.get_mut(at..at + 4) {
                size.copy_from_slice(&[0x40, 0x1F, 0x40, 0x1F]);
            }
            let error = Picture::decode(file, "a").unwrap_err().to_string();
            assert!(error.contains("bytes cannot hold"), "{error}");
        }
    }

    /// A PNG of one grey pixel with an additional chunk before its pixels.
    fn png_with(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let png = Picture::new(1, 1, 1, vec![7]).unwrap().encode_png();
        let chunk = [kind, content].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&chunk);
        let length = (content.len() as u32).to_be_bytes();
        let sum = sum.sum().to_be_bytes();
        [&png[..33], &length, &chunk, &sum, &png[33..]].concat()
    }

    #[test]
    fn what_is_said_about_a_picture_takes_little_memory() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut std::io::repeat(0).take(300 << 20), &mut packed).unwrap();
        let packed = packed.finish().unwrap();
        let before = memory_stats::memory_stats().unwrap().physical_mem;
        for (kind, start) in [
            (b"iCCP", &b"a\0\0"[..]),
            (b"zTXt", b"a\0\0"),
            (b"iTXt", b"a\0\x01\0\0\0"),
        ] {
            let png = png_with(kind, &[start, &packed].concat());
            let picture = Picture::decode(&png, "a.png").unwrap();
            assert_eq!(picture.bytes(), [7]);
        }
        let after = memory_stats::memory_stats().unwrap().physical_mem;
        assert!(after.saturating_sub(before) < 150 << 20, "{before} {after}");
    }

    #[test]
    fn parts_that_are_larger_than_the_file_are_refused() {
        let webp = bytes(FILES[2].1);
        for size in [webp.len() as u32, 1 << 30, u32::MAX] {
            let extra = [b"EXIF", &size.to_le_bytes()[..]].concat();
            let mut longer = [&webp[..], &extra].concat();
            let length = (longer.len() as u32 - 8).to_le_bytes();
            longer[4..8].copy_from_slice(&length);
            let error = Picture::decode(&longer, "a.webp").unwrap_err().to_string();
            assert!(error.contains("truncated"), "{error}");
        }
        // A frame of 65,535 pixels square on a screen of 3x2.
        let mut gif = bytes(FILES[7].1);
        let frame = gif.iter().rposition(|&byte| byte == b',').unwrap();
        gif[frame + 5..frame + 9].fill(0xff);
        assert!(Picture::decode(&gif, "a.gif").is_err());
    }

    #[test]
    fn transparency_is_found_in_16_bits_too() {
        let wide = |alpha: u16| {
            let pixel = image::Rgba([0x1234, 0xff00, 0x00ff, alpha]);
            let picture = ImageBuffer::from_pixel(2, 3, pixel);
            let mut png = Vec::new();
            DynamicImage::ImageRgba16(picture)
                .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
                .unwrap();
            Picture::decode(&png, "a.png")
        };
        assert_eq!(wide(0xffff).unwrap().bytes(), [0x12, 0xff, 0].repeat(6));
        assert!(wide(0xfeff).unwrap_err().to_string().contains("flatten it"));
    }

    #[test]
    fn truncated_files_are_refused() {
        let mut files = vec![("turned.jpg", bytes(TURNED_JPEG))];
        files.extend(FILES.map(|(file, base64, _)| (file, bytes(base64))));
        for (file, whole) in files {
            let (last, name) = match file.rsplit_once('.') {
                // The checksums and the end marker of a PNG come after its last pixel.
                Some((_, "png")) => (whole.len() - 17, file),
                _ => (whole.len() - 3, file),
            };
            for length in 0..last {
                let found = Picture::decode(&whole[..length], name);
                assert!(found.is_err(), "{file} cut to {length} of {}", whole.len());
            }
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        let mut files = vec![bytes(TURNED_JPEG)];
        files.extend(FILES.map(|(_, base64, _)| bytes(base64)));
        for whole in files {
            for at in 0..whole.len() {
                for flip in [0x01, 0x10, 0x80, 0xFF] {
                    let mut damaged = whole.clone();
                    damaged[at] ^= flip;
                    // Whether it is still a picture depends on the place.
                    let _ = Picture::decode(&damaged, "damaged");
                }
            }
        }
    }
}
