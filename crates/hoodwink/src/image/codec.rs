//! Pictures from and to files: PNG, JPEG, WebP, BMP, TIFF and GIF in, PNG out.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader,
};

use super::{MAX_PIXELS, Picture, jpeg};
use crate::error::{Error, Result};

impl Picture {
    /// The picture in a PNG, JPEG, WebP, BMP, TIFF or GIF file; `file` names it in errors.
    ///
    /// The content decides the format, not the name. Palettes become RGB, grey stays grey, and of
    /// 16-bit values the high byte is kept. An EXIF orientation is applied (Pillow does so only when
    /// asked); colour profiles and gamma are not. Of an animation the first frame counts.
    ///
    /// Refused, by name: a broken or truncated file, transparency (what the model sees would depend
    /// on a background the file does not give; an alpha channel that is opaque everywhere is
    /// dropped), CMYK in a TIFF, and more than [`MAX_PIXELS`] pixels, which is checked before memory is taken.
    pub fn decode(bytes: &[u8], file: &str) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("{file} cannot be read as a picture: {error}"))
        };
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| broken(&error))?;
        let format = reader.format();
        match format {
            Some(
                ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Bmp
                | ImageFormat::Tiff
                | ImageFormat::Gif,
            ) => {}
            Some(ImageFormat::Jpeg) => {
                if let Some(picture) = jpeg::decode(bytes, file)? {
                    return Ok(picture);
                }
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "{file} is not a PNG, JPEG, WebP, BMP, TIFF or GIF file"
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
        if format == Some(ImageFormat::Tiff)
            && decoder.original_color_type() == ExtendedColorType::Cmyk8
        {
            return Err(Error::unsupported(format!(
                "{file} is a TIFF of CMYK: save it as RGB first"
            )));
        }
        let orientation = decoder.orientation().map_err(|error| broken(&error))?;
        let decoded = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
        Self::upright(decoded, orientation, file)
    }

    /// The picture of decoded pixels, turned as the file says.
    pub(super) fn upright(
        mut decoded: DynamicImage,
        orientation: Orientation,
        file: &str,
    ) -> Result<Self> {
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
        // The default would make photographs with noise no smaller, and took a fifth of a run on them.
        PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
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

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use image::{ImageBuffer, Luma};

    use super::*;

    /// A picture of 2x3 pixels.
    const RGB: [u8; 18] = [
        255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 128, 64, 32, 250, 251, 252,
    ];

    const GREY: [u8; 6] = [0, 17, 34, 200, 254, 255];

    /// Files of 2x3 pixels that Pillow 13.0.0 wrote, and what they hold. The low bytes of
    /// `grey16.png` are 0, 255, 128, 127, 1 and 255.
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

    /// 16 rows of 24 pixels, RGB = (10 x, 15 y, 6 (x + y)) at quality 95 without subsampling; its
    /// EXIF orientation is 6: to be turned clockwise.
    const TURNED_JPEG: &str = "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAQABgDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD8t/h5+yl/q/8AiW+n8Fc2DzLzPn+FuPvh9892+Hn7KX+r/wCJb6fwV9Vg8y8z+keFuPvh9891+Hn7KX+r/wCJb/45X1WDzLzP6Q4W4++H3z0X4efspf6v/iW+n8FfzZg8y21P8BuFuPvh9891+Hn7KX+r/wCJb/45X1WDzLbU/pDhbj74ffPdvh5+yl9z/iW/+OV9Vg8y21P6R4W4++H3z//Z";

    /// 4x4 pixels of CMYK, which Pillow 13.0.0 takes for RGB (216, 172, 119).
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
        // `ImageOps.exif_transpose` of Pillow 13.0.0; decoders may differ by rounding.
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
                "not a PNG, JPEG, WebP, BMP, TIFF or GIF",
            ),
            (
                "empty.jpg",
                Vec::new(),
                "not a PNG, JPEG, WebP, BMP, TIFF or GIF",
            ),
            ("huge.png", huge_png, "the limit is"),
        ] {
            let error = Picture::decode(&content, file).unwrap_err().to_string();
            assert!(error.starts_with(file) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn truncated_files_are_refused() {
        let mut files = vec![("turned.jpg", bytes(TURNED_JPEG))];
        files.extend(FILES.map(|(file, base64, _)| (file, bytes(base64))));
        for (file, whole) in files {
            let (last, name) = match file.rsplit_once('.') {
                // The check sums and the end mark of a PNG come after its last pixel.
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
                    // Whether it still is a picture depends on the place.
                    let _ = Picture::decode(&damaged, "damaged");
                }
            }
        }
    }
}
