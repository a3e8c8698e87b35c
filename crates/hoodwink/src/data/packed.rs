//! Pictures of one shape, stored one after the other: the formats of MNIST and CIFAR.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::rows::{Rows, read_part};
use crate::error::{Error, Result};
use crate::image::{MAX_PIXELS, Picture};

/// The most bytes that a compressed file may unpack to, and that a file of labels may have.
const MAX_UNPACKED_BYTES: u64 = 1 << 31;

/// Pictures of one shape, and the labels stored with them.
#[derive(Debug)]
pub(super) struct Packed {
    parts: Vec<Part>,
    /// Channels, height, width.
    shape: [usize; 3],
}

/// A file of pictures.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) pixels: Pixels,
    pub(super) count: usize,
    /// Bytes before the first picture, and from each to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
}

/// Where the bytes of a part are.
#[derive(Debug)]
pub(super) enum Pixels {
    File(PathBuf),
    Memory(Vec<u8>),
}

impl Packed {
    /// Pictures of `[channels, height, width]`, whose channels lie apart.
    pub(super) fn new(parts: Vec<Part>, shape: [usize; 3], file: &str) -> Result<Self> {
        let pixels = shape[1].saturating_mul(shape[2]);
        if !matches!(shape[0], 1 | 3) || !(1..=MAX_PIXELS).contains(&pixels) {
            return Err(Error::invalid(format!(
                "{file} says that its pictures have the shape {shape:?}"
            )));
        }
        Ok(Self { parts, shape })
    }

    pub(super) fn count(&self) -> usize {
        self.parts.iter().map(|part| part.count).sum()
    }
}

impl Rows for Packed {
    fn kind(&self) -> &'static str {
        "files of MNIST or CIFAR"
    }

    fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        self.picture_of(row, &self.stored(row)?, file)
    }

    fn may_change(&self) -> bool {
        true
    }

    fn picture_of(&self, _: usize, planar: &[u8], _: &str) -> Result<Picture> {
        let [channels, height, width] = self.shape;
        let plane = height * width;
        let levels = (0..planar.len()).map(|at| planar[at % channels * plane + at / channels]);
        Picture::new(channels, height, width, levels.collect())
    }

    fn stored(&self, mut row: usize) -> Result<Vec<u8>> {
        let length = self.shape.iter().product();
        for part in &self.parts {
            if row < part.count {
                let offset = part.start + row * part.stride;
                return match &part.pixels {
                    Pixels::File(path) => read_part(path, offset as u64, length),
                    Pixels::Memory(bytes) => Ok(bytes[offset..][..length].to_vec()),
                };
            }
            row -= part.count;
        }
        Err(Error::invalid(format!("there is no row {row}")))
    }
}

/// A whole file, unpacked where it is gzipped.
fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    match is_gzipped(path) {
        true => MultiGzDecoder::new(file)
            .take(MAX_UNPACKED_BYTES + 1)
            .read_to_end(&mut bytes),
        false => file.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut bytes),
    }
    .map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_UNPACKED_BYTES {
        return Err(Error::unsupported(format!(
            "{} holds more than {MAX_UNPACKED_BYTES} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

fn is_gzipped(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

/// The lengths of the axes in the header of an IDX file of bytes, and the header's own length.
fn idx_header(bytes: &[u8], file: &str) -> Result<(Vec<usize>, usize)> {
    let broken = |what: &str| Error::invalid(format!("{file} is not an IDX file: {what}"));
    let &[0, 0, element, rank, ref rest @ ..] = bytes else {
        return Err(broken("it does not begin with two zeros"));
    };
    if element != 8 {
        return Err(Error::unsupported(format!(
            "{file} holds elements of type {element:#04x}; unsigned bytes (0x08) are read"
        )));
    }
    let (sides, _) = rest.as_chunks::<4>();
    let sides = sides
        .get(..rank.into())
        .ok_or_else(|| broken("its header is cut off"))?;
    let sides = sides.iter().map(|&side| u32::from_be_bytes(side) as usize);
    Ok((sides.collect(), 4 + 4 * usize::from(rank)))
}

/// Whether a file is called as those of MNIST are: `train-images-idx3-ubyte`, perhaps with `.gz`.
pub(super) fn is_idx(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.trim_end_matches(".gz");
    ["idx3-ubyte", "idx4-ubyte"]
        .iter()
        .any(|ending| plain.ends_with(ending))
}

/// The pictures of an IDX file, `[N,H,W]`, and the labels of the file beside it that is called `labels-idx1` instead of
/// `images-idx3`, where there is one.
pub(super) fn open_idx(path: &Path, file: &str) -> Result<(Packed, Option<Vec<usize>>)> {
    let gzipped = is_gzipped(path);
    let pixels = match gzipped {
        true => Pixels::Memory(read_whole(path)?),
        false => Pixels::File(path.to_owned()),
    };
    let (length, (sides, start)) = match &pixels {
        Pixels::Memory(bytes) => (bytes.len() as u64, idx_header(bytes, file)?),
        Pixels::File(_) => {
            let length = path.metadata().map_err(Error::io(path))?.len();
            let head = read_part(path, 0, length.min(20) as usize)?;
            (length, idx_header(&head, file)?)
        }
    };
    let &[count, height, width] = &sides[..] else {
        return Err(Error::unsupported(format!(
            "{file} has the shape {sides:?}; pictures are [N,H,W]"
        )));
    };
    let stride = height.saturating_mul(width);
    let expected = (count.saturating_mul(stride) as u64).saturating_add(start as u64);
    if expected != length {
        return Err(Error::invalid(format!(
            "{file} has {length} bytes, its header asks for {expected}"
        )));
    }
    let part = Part {
        pixels,
        count,
        start,
        stride,
    };
    let packed = Packed::new(vec![part], [1, height, width], file)?;
    Ok((packed, idx_labels(path, count)?))
}

fn idx_labels(pictures: &Path, count: usize) -> Result<Option<Vec<usize>>> {
    let name = pictures.file_name().unwrap_or_default().to_string_lossy();
    let name = name.replace("images", "labels").replace("idx3", "idx1");
    let path = pictures.with_file_name(&name);
    if path == pictures || !path.is_file() {
        return Ok(None);
    }
    let bytes = read_whole(&path)?;
    let (sides, start) = idx_header(&bytes, &name)?;
    let labels = &bytes[start..];
    if sides != [count] || labels.len() != count {
        return Err(Error::invalid(format!(
            "{name} has the shape {sides:?} and {} labels, for {count} pictures",
            labels.len()
        )));
    }
    Ok(Some(labels.iter().map(|&label| label.into()).collect()))
}

/// Side of CIFAR's pictures.
const CIFAR_SIDE: usize = 32;
/// Bytes of one of them.
const CIFAR_BYTES: usize = 3 * CIFAR_SIDE * CIFAR_SIDE;

/// CIFAR's binary batches: of each picture one label (CIFAR-10) or two (CIFAR-100, of which the second, finer, counts), then
/// its pixels. The file's length tells which.
pub(super) fn open_cifar(paths: &[PathBuf], file: &str) -> Result<(Packed, Vec<usize>)> {
    let (mut parts, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        let length = path.metadata().map_err(Error::io(path))?.len() as usize;
        let before = match (length % (CIFAR_BYTES + 1), length % (CIFAR_BYTES + 2)) {
            (0, 1..) => 1,
            (1.., 0) => 2,
            _ => {
                return Err(Error::invalid(format!(
                    "{} has {length} bytes, no multiple of {} (CIFAR-10) or {} (CIFAR-100)",
                    path.display(),
                    CIFAR_BYTES + 1,
                    CIFAR_BYTES + 2
                )));
            }
        };
        let stride = CIFAR_BYTES + before;
        let count = length / stride;
        for record in read_whole(path)?.chunks_exact(stride) {
            labels.push(record[before - 1].into());
        }
        parts.push(Part {
            pixels: Pixels::File(path.clone()),
            count,
            start: before,
            stride,
        });
    }
    let packed = Packed::new(parts, [3, CIFAR_SIDE, CIFAR_SIDE], file)?;
    Ok((packed, labels))
}

/// The names of CIFAR's classes, one per line, in the file that comes with the binary batches.
pub(super) fn cifar_names(batch: &Path) -> Option<Vec<String>> {
    let names = ["batches.meta.txt", "fine_label_names.txt"]
        .iter()
        .find_map(|name| std::fs::read_to_string(batch.with_file_name(name)).ok())?;
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    Some(names.map(str::to_owned).collect())
}

/// CIFAR's pixels in memory, as Python's batches hold them: `[N, 3072]`.
pub(super) fn cifar_in_memory(bytes: Vec<u8>, file: &str) -> Result<Packed> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(CIFAR_BYTES) {
        return Err(Error::invalid(format!(
            "{file} holds {} bytes of pixels, no multiple of {CIFAR_BYTES}",
            bytes.len()
        )));
    }
    let part = Part {
        count: bytes.len() / CIFAR_BYTES,
        pixels: Pixels::Memory(bytes),
        start: 0,
        stride: CIFAR_BYTES,
    };
    Packed::new(vec![part], [3, CIFAR_SIDE, CIFAR_SIDE], file)
}
