//! Decodes JPEGs to the same bytes as libjpeg-turbo, which training scripts use.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{ComponentInfo, DecodeLimits, Decoder, PixelFormat};

use super::{MAX_PIXELS, Picture};
use crate::error::{Error, Result};
use crate::legible;
use crate::panics::caught;

/// The maximum number of scans of a progressive file. Encoders write about ten, and each costs a pass over the whole
/// picture.
const MAX_SCANS: usize = 256;

/// The maximum number of pixels over all passes if a file has more than [`FREE_SCANS`].
const MAX_PASSED: usize = 1 << 28;
const FREE_SCANS: usize = 24;

/// Decodes a JPEG file. `file` names it in errors. See [`Picture::decode`].
///
/// Returns `None` for kinds of files that hardly any encoder writes. They are left to another decoder, since damaged
/// files of these kinds make this one panic.
pub(super) fn decode(bytes: &[u8], file: &str) -> Result<Option<Picture>> {
    let broken = |error: &dyn std::fmt::Display| {
        let what = legible::name(&error.to_string());
        Error::invalid(format!("{file} cannot be read as a picture: {what}"))
    };
    let scans = scans(bytes).ok_or_else(|| broken(&"the file is truncated"))?;
    let limits = DecodeLimits {
        max_pixels: MAX_PIXELS as u64,
        max_scans: MAX_SCANS,
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(|error| broken(&error))?;
    let header = decoder.header();
    let (height, width) = (header.height(), header.width());
    if height * width > MAX_PIXELS {
        return Err(Error::unsupported(format!(
            "{file} has {height}x{width} pixels; the limit is {MAX_PIXELS} in all"
        )));
    }
    if scans > most_scans(height * width) {
        return Err(Error::unsupported(format!(
            "{file} has {height}x{width} pixels in {scans} scans, more than any encoder writes; save it again as a new file"
        )));
    }
    if header.precision != 8 || header.is_lossless || !is_usual(&header.components) {
        return Ok(None);
    }
    let is_grey = header.components.len() == 1;
    decoder.set_output_format(match is_grey {
        true => PixelFormat::Grayscale,
        false => PixelFormat::Rgb,
    });
    // Fuzzing found no panic here, but the decoder is young and the files are untrusted.
    let image = caught(|| decoder.decode_image())
        .map_err(|_| broken(&"the decoder failed"))?
        .map_err(|error| broken(&error))?;
    let orientation = image.exif_orientation().and_then(Orientation::from_exif);
    let (width, height) = (image.width as u32, image.height as u32);
    let decoded = match is_grey {
        true => GrayImage::from_raw(width, height, image.data).map(DynamicImage::ImageLuma8),
        false => RgbImage::from_raw(width, height, image.data).map(DynamicImage::ImageRgb8),
    };
    let decoded = decoded.ok_or_else(|| broken(&"its pixels do not fill it"))?;
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Picture::upright(decoded, orientation, file).map(Some)
}

fn most_scans(pixels: usize) -> usize {
    (MAX_PASSED / pixels.max(1)).clamp(FREE_SCANS, MAX_SCANS)
}

/// Returns whether the components are sampled as in nearly all files: grey, 4:4:4, 4:2:2, 4:4:0, 4:2:0, or CMYK without
/// subsampling.
fn is_usual(components: &[ComponentInfo]) -> bool {
    let sampling = |of: &ComponentInfo| (of.horizontal_sampling, of.vertical_sampling);
    let samplings: Vec<(u8, u8)> = components.iter().map(sampling).collect();
    match samplings[..] {
        [luma, (1, 1), (1, 1)] => matches!(luma, (1 | 2, 1 | 2)),
        _ => matches!(samplings.len(), 1 | 4) && samplings.iter().all(|&of| of == (1, 1)),
    }
}

/// Counts the scans of a file, or returns `None` if the end marker is missing. Decoders fill the missing part of a
/// truncated file with grey, which would be measured as part of the picture.
fn scans(bytes: &[u8]) -> Option<usize> {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: u8 = 0xD9;
    let (mut at, mut scans) = (2, 0);
    let mut in_scan = false;
    while let Some(&[prefix, marker]) = bytes.get(at..at + 2) {
        match (prefix, marker) {
            (0xFF, END_OF_IMAGE) => return Some(scans),
            // Fill byte.
            (0xFF, 0xFF) => at += 1,
            // An escaped 0xFF, or a restart marker: both belong to the scan.
            (0xFF, 0x00 | 0xD0..=0xD7) => at += 2,
            (0xFF, _) => {
                let &[high, low] = bytes.get(at + 2..at + 4)? else {
                    return None;
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                in_scan = marker == START_OF_SCAN;
                scans += usize::from(in_scan);
            }
            _ if in_scan => at += 1,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    /// Files written by Pillow 13.0.0, with the SHA-256 of the bytes that it decodes them to (CMYK as RGB) with
    /// libjpeg-turbo 3.2.0.
    #[rustfmt::skip]
    const PILLOW: [(&str, &str, &str); 8] = [
        ("4:4:4", "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/wAARCAASABUDAREAAhEBAxEB/8QAGAABAAMBAAAAAAAAAAAAAAAABgEEBQf/xAAmEAACAQQCAAUFAAAAAAAAAAABAgMABAURBhIHEyEiUTFBYXFy/8QAFwEBAQEBAAAAAAAAAAAAAAAABwYFA//EACgRAAEDAwMBCQEAAAAAAAAAAAECAwQABREGEiExExQWQVFhgaHwkf/aAAwDAQACEQMRAD8AUYvlePv7NYZ1XsR67qEj2OW/IDccZP0B6n2/da3Jlsdtsfcijef4Zj85Iz2kilj9ABqkGPaJMNskObiPLGM/OaMH9QyO87FjisWDw9yNmpSLt1NZaru2ThYwRSlZZbDkYKWOatcm4rcYp2ktWbrrXt+1c9I6gYjyt8gcEYPtyOfr90rleNStuNdkuj+GzeTxV5uZmZVPzulWfMtimStLiTjyBBPwKlYFoYuTu4Cuo43n9qbUeeoD/BoVm21bz63U8biT/TVx4eVHSEIqL1meP3sW/Z3WHHAB4op1Nw8cVgzwQkEmJN/yK22Vq9aoNGKO4c0QyoC3WlAA/FUUU5RS86o4Ff/Z", "b1a8eb162b4819dace03eb099c94a62419d7f97e1428c8c5f526bf71db001dd1"),
        ("4:2:2, odd sides", "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/wAARCAARABUDASEAAhEBAxEB/8QAGAAAAgMAAAAAAAAAAAAAAAAAAAYEBQf/xAAlEAAABQMDBAMAAAAAAAAAAAAAAQIEBQMGEhEzQQcUIVETMXH/xAAYAQEBAAMAAAAAAAAAAAAAAAAGBAMFB//EACgRAAAFAgUCBwAAAAAAAAAAAAABAgMFBBEGITEyYRNRFSI1QYGx0f/aAAwDAQACEQMRAD8AaIy645+zTRrkglqLTyFy4LMjpxZraVEms+PY0uHIeoT1H72Isi5PXPj94sceKH34hTbBaCkodPpBojGjlifoAr8WZVmYbx9TTKpUGos7CTdFquopZ1GalY8kkL0NOycU7I6prWkj+vIQYUmqRcU42+dlFmXN/Yub/fYjBqVeZm65DJ6jUoy/m3aJ7gi+TnUAAuxLqlmruEJwa2vInQhIndk/wZ863DGOG2ABE+v/ACKZ1uADFvaQ7a7uMf/Z", "99925ea0f46a5e3f6d0ab735bb1911a02f2f567f1cb47a7f9581167788db45e0"),
        ("4:2:0, odd sides", "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/wAARCAAdACUDASIAAhEBAxEB/8QAGQAAAwEBAQAAAAAAAAAAAAAABAYHAAUD/8QAJhAAAQMEAQMEAwAAAAAAAAAAAQIEBQADBhEhEhNBByIxURRhcf/EABgBAAMBAQAAAAAAAAAAAAAAAAMFBgQA/8QAIhEAAQQCAgIDAQAAAAAAAAAAAQACAwQFEQYTITFBUYHR/9oADAMBAAIRAxEAPwBmj8ujXbAW3ISFEeaVZrFmGQuCWnSVHnigsvxB0wSpTNR0PjVcLG5GXiXCO8lZBOyaWcZwbbshlqyaAGz/ABdnomzzMgxcn4mBtgEtCI79jZA50DQbvOZGKudhwFaHB3VRjc5ZXGItOwkHWuaVshhIrIrvcsFHUo64qjnotj3JYYdBEy+WdSpNo3YvJ+QgonKY+Qam7eSnq/dah7Ppo5so1ZJ6TzxWpa4USdtk0Flq8VxssLX9mtrl2/UYOXAsOx50d1SMbZwk60SD0C5rjfmpXM4kxLxVxKlJO/Ar0ZuXMKgfj31HX3SyjIyAiWmdE+x9o+ExNfLWX3oHFpHlOmZYYuwhS2Sv5qpyxcTMZIAHuFCT8+DTI1zORd3k2b/vR9FVUOEimUo2671hIUR4qgt8jmjrdEzNtPs+ysMlyxLlem6A9gXLi/UFFhmlDhPvH3WoPIcWZW3wCCUjR4ArUoZWoStD9Hyq99jEtOg0hf/Z", "ada719b2942eaa425bb901b9bde4842abb72d44cff91f7828ff8c7b1389bdfae"),
        ("4:2:0, progressive", "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wgARCAASACEDASIAAhEBAxEB/8QAGAABAQEBAQAAAAAAAAAAAAAAAAQFAwH/xAAZAQACAwEAAAAAAAAAAAAAAAAEBQABAgP/2gAMAwEAAhADEAAAAa4+Uo8s568JGpXRa/QmFvXO9GR+4BAf/8QAGxAAAwEBAQEBAAAAAAAAAAAAAAECAwQUEiL/2gAIAQEAAQUCneHN4zq1zXmPoqD1G+Dkxu4qemfm4jU8ZQ0jU53+j//EAB4RAAIBAwUAAAAAAAAAAAAAAAEDAAIEEwUQEjE0/9oACAEDAQE/AbmnkRSkx7sa8bBMaon1TUext//EAB0RAAICAQUAAAAAAAAAAAAAAAABAgMRBBASIjL/2gAIAQIBAT8B0lUHLKZPip9kZpKReNv/xAAaEAACAgMAAAAAAAAAAAAAAAAAIQERECAi/9oACAEBAAY/AmIuCpxyMqRb/wD/xAAbEAADAQADAQAAAAAAAAAAAAAAAREhEDFRQf/aAAgBAQABPyGSkvChF8E8UjKG8o86EGlp4EZ6GfTK/T//2gAMAwEAAgADAAAAEOhjwgAP/8QAGhEBAAEFAAAAAAAAAAAAAAAAARAAIUGBsf/aAAgBAwEBPxAtZ0x3LmHpM//EABoRAAEFAQAAAAAAAAAAAAAAAAEAEBEhMVH/2gAIAQIBAT8QGoo4jg0N4Wjf/8QAIBABAAIBBAIDAAAAAAAAAAAAAQARITFRYXEQQYGRsf/aAAgBAQABPxAiAU9x0ocy0ShnEzxonFCVT8TTSu7ZqFJUfqs+JuUvcqP5TI6OpR7285H3P//Z", "903b2fa69327dad6526d84853fac44e1ef0d79b91ccc3e6f13b4b1f819363dac"),
        ("4:2:0, restarts", "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAASACEDASIAAhEBAxEB/8QAGAABAQEBAQAAAAAAAAAAAAAAAAUEAgb/xAApEAABAwMDAgUFAAAAAAAAAAABAAIEAwURBhIiEyEUFlFxkTFBUmGB/8QAGgEAAgIDAAAAAAAAAAAAAAAAAgUABAEDBv/EACURAAEEAAMJAQAAAAAAAAAAAAABAgMEBREhBhIUMTIzNUGBUf/dAAQAAf/aAAwDAQACEQMRAD8ArxL5DrRg2sGgkfdR59ki3WoXUCB+1lv9jrRgTHJ/ilWafOhSNtXdjOclUMIqQvkR7X5J+ExONJXtjpP+H//Qz09NTLa3q0SSB37LPX1HLhu6dXOAvXR9TRXROnX25Iwok+BCuryaZbkrM6xtnykbobL9xa1ZK9hmq+z/0Zvmtvoi0+Tmoj36Qk4eof/SrSSXM5En3U2rTp4PBvwiLnqfIW0/KfT/04N24k7e3sutP1H+JHN319URE3sqXNo+pp//1Lm535H5RESsXn//2Q==", "903b2fa69327dad6526d84853fac44e1ef0d79b91ccc3e6f13b4b1f819363dac"),
        ("RGB inside", "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy/8AAEQgAEAAQA1IRAEcRAEIRAP/EABgAAAMBAQAAAAAAAAAAAAAAAAUGBwII/8QAIhAAAgEEAwEAAwEAAAAAAAAAAQIDBAUGEQAHIRIxMkET/9oADANSAEcAQgAAPwCqTNFj+M68UhONNi7OsWRwrDXrGGYaP1xW6y67lzaWoqJ6l6S3UrIryLGS0rE7KIT4CF/J91tfDvnL+XXKS+ZCY1JYF+avnWlgySBpqFow7DY+eMmc9YjEqRbnbqqapoDII3SVNvDseMWUaIJ2N6XW1Hu98tXbORrR0LU8b681rk6yTp242uRqi2M2h6PngzqTsWlxFam2XVZjb6mVZEkiUN/jJ4rMw/JUqF3okj48B2eRzBrRJeb8srKWBbfAFuy7J8RqBHUiUop/u+M3YnZVvv8AbDZbI00kLyK09SyfKyKNMFUMPr9tbOl/X+g8/9k=", "c6eacfa24dd4f1c3cc859947b061ce8416f68eeaac24b79b0a6d142280bcfdd2"),
        ("grey", "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/wAALCAAJABMBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABgUH/8QAIhAAAQMDAwUAAAAAAAAAAAAAAgABBAUGEQMScQcxMzRB/9oACAEBAAA/AE9Mu2lzIYaUraOcM7ujlz2nSqye+I4sRP2Z1AHplMEWYc7fij6iT2r7A8rXY/gDhf/Z", "09a53868850c790d38660b5d01bc9569b55cfb8586fec3ee80b16b48f1a85a3e"),
        ("CMYK", "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy/8AAFAgADAAQBEMRAE0RAFkRAEsRAP/EABkAAAIDAQAAAAAAAAAAAAAAAAAHAgUGCP/EACQQAAIABgMBAAIDAAAAAAAAAAECAAMEBQYREiExBxMVIkFR/9oADgRDAE0AWQBLAAA/AGpOaVj+M66UhI1Ni+nWLI5Kya9ZYZho8oxnzDEaXMsle31tTOkU8mmaof8ADrm2iqgAnYHbA70fNf3sP+OX8uuUy+ZCZaksC8SvnzSwZJIadQtLDsNjjGl+hYNQ4XUW39fVVE6TVrMBWo4llZCvewB0Qw611r076IfP1WtnU9qZJbaXjCFyS1U9orGaiaZLIPX8oXmOX2547cFr7TVvS1IUpyUAhlPoIIII8OiPQD6BBCCxOSlZkYM4cjzi3w3Mr3S1CS0qyV343cX10ya85NPkzrxXPUvJUrLBVUVQTs6VQBs9bOtnQ/wQR//Z", "34de5bb5961cb9163fcb2863ed3cff2c8264686d550a403516b64cbcd373092c"),
    ];

    #[test]
    fn files_are_decoded_to_the_bytes_of_pillow() {
        for (what, base64, expected) in PILLOW {
            let file = BASE64_STANDARD.decode(base64).unwrap();
            let picture = decode(&file, what).unwrap().unwrap();
            assert_eq!(
                picture.channels(),
                if what == "grey" { 1 } else { 3 },
                "{what}"
            );
            let found = crate::data::hex(&Sha256::digest(picture.bytes()));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn scans_are_counted() {
        let file = BASE64_STANDARD.decode(PILLOW[3].1).unwrap();
        assert_eq!(scans(&file), Some(10));
        let last = file
            .windows(2)
            .rposition(|pair| pair == [0xff, 0xda])
            .unwrap();
        let (start, end) = (&file[..file.len() - 2], &file[file.len() - 2..]);
        let scan = &start[last..];
        let many = [start, &scan.repeat(1000), end].concat();
        assert_eq!(scans(&many), Some(1010));
        let error = decode(&many, "a.jpg").unwrap_err().to_string();
        assert!(error.contains("scan count"), "{error}");
        assert_eq!(
            [1, 1 << 20, 1 << 22, 1 << 26].map(most_scans),
            [256, 256, 64, 24]
        );
    }

    #[test]
    fn damaged_and_truncated_files_never_panic() {
        for (what, base64, _) in PILLOW {
            let whole = BASE64_STANDARD.decode(base64).unwrap();
            for at in 0..whole.len() {
                for flip in [0x01, 0x80, 0xFF] {
                    let mut damaged = whole.clone();
                    damaged[at] ^= flip;
                    // Whether it is still a picture depends on the place.
                    let _ = decode(&damaged, what);
                }
            }
            for length in 0..whole.len() - 2 {
                assert!(
                    decode(&whole[..length], what).is_err(),
                    "{what} cut to {length}"
                );
            }
        }
    }
}
