//! Unpacks pages to exactly the declared size.

use std::io::Read;

use parquet::basic::Compression;
use parquet::errors::Result;

use super::compact::broken;

/// Unpacks a page. Refuses pages that give more or less than `length` bytes, and never unpacks more than that.
pub(super) fn unpack(codec: Compression, packed: &[u8], length: usize) -> Result<Vec<u8>> {
    let unpacked = match codec {
        Compression::UNCOMPRESSED => packed.to_vec(),
        Compression::SNAPPY => match snap::raw::decompress_len(packed) {
            Ok(told) if told == length => snap::raw::Decoder::new()
                .decompress_vec(packed)
                .map_err(|error| broken(error.to_string()))?,
            _ => return Err(broken("a page declares two different sizes")),
        },
        Compression::GZIP(_) => all(flate2::read::MultiGzDecoder::new(packed), length)?,
        Compression::ZSTD(_) => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(packed)
                .map_err(|error| broken(error.to_string()))?;
            all(decoder, length)?
        }
        Compression::BROTLI(_) => {
            all(brotli_decompressor::Decompressor::new(packed, 4096), length)?
        }
        Compression::LZ4_RAW => block(packed, length)?,
        // Writers use this name for three formats.
        Compression::LZ4 => match hadoop(packed, length) {
            Some(unpacked) => unpacked,
            None => all(lz4_flex::frame::FrameDecoder::new(packed), length)
                .or_else(|_| block(packed, length))?,
        },
        other => {
            return Err(broken(format!(
                "its pages are compressed with {other}, which is not supported"
            )));
        }
    };
    match unpacked.len() == length {
        true => Ok(unpacked),
        false => Err(broken("a page does not unpack to its declared size")),
    }
}

/// Reads a decoder's output up to one byte beyond the expected end.
fn all(decoder: impl Read, length: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(length + 1);
    decoder.take(length as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

fn block(packed: &[u8], length: usize) -> Result<Vec<u8>> {
    lz4_flex::block::decompress(packed, length).map_err(|error| broken(error.to_string()))
}

/// Unpacks Hadoop's frames: each block follows two big-endian lengths, unpacked and packed.
fn hadoop(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    while !packed.is_empty() {
        let (lengths, rest) = packed.split_first_chunk::<8>()?;
        let at = |half: usize| {
            let bytes = lengths[4 * half..][..4].try_into().ok()?;
            usize::try_from(u32::from_be_bytes(bytes)).ok()
        };
        let (whole, part) = (at(0)?, at(1)?);
        if whole > length - unpacked.len() || part > rest.len() {
            return None;
        }
        let (part, rest) = rest.split_at(part);
        unpacked.extend(
            block(part, whole)
                .ok()
                .filter(|block| block.len() == whole)?,
        );
        packed = rest;
    }
    (unpacked.len() == length).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::basic::{BrotliLevel, GzipLevel, ZstdLevel};

    use super::*;

    /// An LZ4 block that contains only this text as literals.
    fn literals(text: &[u8]) -> Vec<u8> {
        [&[(text.len() as u8) << 4], text].concat()
    }

    #[test]
    fn a_page_has_the_size_that_it_says() {
        let text = b"hoodwinked";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let hadoop = |whole: u32| {
            let block = literals(text);
            [
                &whole.to_be_bytes()[..],
                &(block.len() as u32).to_be_bytes(),
                &block,
            ]
            .concat()
        };
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(text).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(
            &text[..],
            ruzstd::encoding::CompressionLevel::Uncompressed,
        );
        for (codec, packed) in [
            (Compression::UNCOMPRESSED, text.to_vec()),
            (
                Compression::SNAPPY,
                snap::raw::Encoder::new().compress_vec(text).unwrap(),
            ),
            (
                Compression::GZIP(GzipLevel::default()),
                gzip.finish().unwrap(),
            ),
            (Compression::ZSTD(ZstdLevel::default()), zstd),
            (Compression::LZ4_RAW, literals(text)),
            (Compression::LZ4, literals(text)),
            (Compression::LZ4, frame.finish().unwrap()),
            (Compression::LZ4, hadoop(10)),
        ] {
            assert_eq!(unpack(codec, &packed, 10).unwrap(), text, "{codec}");
            for wrong in [0, 9, 11, 1 << 20] {
                assert!(unpack(codec, &packed, wrong).is_err(), "{codec} {wrong}");
            }
            for cut in 0..packed.len().min(8) {
                assert!(
                    unpack(codec, &packed[..cut], 10).is_err(),
                    "{codec} cut to {cut}"
                );
            }
        }
        assert!(unpack(Compression::LZ4, &hadoop(u32::MAX), 10).is_err());
        assert!(unpack(Compression::LZO, text, 10).is_err());
        let noise = [0xa5; 64];
        assert!(unpack(Compression::BROTLI(BrotliLevel::default()), &noise, 10).is_err());
    }
}
