//! Pictures of one shape, stored one after the other: the formats of MNIST and CIFAR.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::npz::MAX_DEFLATED;
use super::rows::Rows;
use super::same_number;
use crate::error::{Error, Result};
use crate::files::{self, read_part};
use crate::image::{MAX_PIXELS, Picture};

/// The most bytes that a compressed file may unpack to, and that are kept of pickled batches in all.
pub(super) const MAX_UNPACKED_BYTES: u64 = 1 << 31;

/// The largest binary batch of CIFAR, which is gone through for its labels; the real ones have 150 MB.
const MAX_BATCH_BYTES: u64 = 1 << 29;

/// The most bytes of the names of classes.
pub(super) const MAX_NAMES_BYTES: u64 = 1 << 20;

/// The most axes of an IDX file; more are refused before they are shown.
const MAX_AXES: u8 = 4;

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
        check_shape(shape, file)?;
        Ok(Self { parts, shape })
    }

    pub(super) fn count(&self) -> usize {
        self.parts.iter().map(|part| part.count).sum()
    }
}

fn check_shape(shape: [usize; 3], file: &str) -> Result<()> {
    let pixels = shape[1].saturating_mul(shape[2]);
    match matches!(shape[0], 1 | 3) && (1..=MAX_PIXELS).contains(&pixels) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "{file} says that its pictures have the shape {shape:?}: none, or too many pixels"
        ))),
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

fn is_gzipped(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

/// An IDX file of bytes as far as its header.
struct Idx {
    sides: Vec<usize>,
    /// The header's own length, and the bytes that it asks for after itself.
    start: usize,
    elements: u64,
    /// What comes after the header.
    source: Box<dyn Read>,
}

impl Idx {
    fn open(path: &Path, file: &str) -> Result<Self> {
        let opened = files::open(path)?;
        let length = opened.metadata().map_err(Error::io(path))?.len();
        let mut source: Box<dyn Read> = match is_gzipped(path) {
            true => Box::new(MultiGzDecoder::new(opened)),
            false => Box::new(BufReader::new(opened)),
        };
        let broken = |what: &str| Error::invalid(format!("{file} is not an IDX file: {what}"));
        let mut take = |count: usize| {
            let mut bytes = vec![0; count];
            let read = source.read_exact(&mut bytes).map(|()| bytes);
            read.map_err(|error| broken(&format!("its header cannot be read ({error})")))
        };
        let [0, 0, element, axes] = take(4)?[..] else {
            return Err(broken("it does not begin with two zeros"));
        };
        if element != 8 {
            return Err(Error::unsupported(format!(
                "{file} holds elements of type {element:#04x}; unsigned bytes (0x08) are read"
            )));
        }
        if axes > MAX_AXES {
            return Err(Error::unsupported(format!(
                "{file} has {axes} axes; pictures have 3, [N,H,W], and labels one"
            )));
        }
        let sides = take(4 * usize::from(axes))?;
        let (sides, _) = sides.as_chunks::<4>();
        let sides: Vec<usize> = sides
            .iter()
            .map(|&side| u32::from_be_bytes(side) as usize)
            .collect();
        let elements = sides
            .iter()
            .fold(1, |all: u64, &side| all.saturating_mul(side as u64));
        let start = 4 + 4 * usize::from(axes);
        let asked = elements.saturating_add(start as u64);
        let fits = match is_gzipped(path) {
            true => asked <= length.saturating_mul(MAX_DEFLATED),
            false => asked == length,
        };
        if !fits {
            return Err(Error::invalid(format!(
                "{file} has {length} bytes, its header asks for {asked}: it is broken or truncated"
            )));
        }
        Ok(Self {
            sides,
            start,
            elements,
            source,
        })
    }

    /// All elements, which must be as many as the header says.
    fn read(mut self, file: &str) -> Result<Vec<u8>> {
        if self.elements > MAX_UNPACKED_BYTES {
            return Err(Error::unsupported(format!(
                "{file} unpacks to more than the {MAX_UNPACKED_BYTES} bytes that are taken in memory: unpack it first"
            )));
        }
        let mut elements = Vec::new();
        let reserved = elements.try_reserve_exact(self.elements as usize + 1);
        reserved.map_err(|_| {
            Error::unsupported(format!(
                "{file} unpacks to {} bytes, and there is no memory for it",
                self.elements
            ))
        })?;
        // One byte more than it should have is enough to find it out.
        let mut source = self.source.by_ref().take(self.elements + 1);
        let read = source.read_to_end(&mut elements);
        read.map_err(|error| {
            Error::invalid(format!("{file} is damaged ({error}): copy it again"))
        })?;
        match elements.len() as u64 == self.elements {
            true => Ok(elements),
            false => Err(Error::invalid(format!(
                "{file} does not unpack to the {} bytes that its header asks for: it is broken or truncated",
                self.elements
            ))),
        }
    }
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
    let idx = Idx::open(path, file)?;
    let &[count, height, width] = &idx.sides[..] else {
        return Err(Error::unsupported(format!(
            "{file} has the shape {:?}; pictures are [N,H,W]",
            idx.sides
        )));
    };
    let shape = [1, height, width];
    check_shape(shape, file)?;
    let labels = idx_labels(path, file, count)?;
    let (pixels, start) = match is_gzipped(path) {
        true => (Pixels::Memory(idx.read(file)?), 0),
        false => (Pixels::File(path.to_owned()), idx.start),
    };
    let part = Part {
        pixels,
        count,
        start,
        stride: height * width,
    };
    Ok((Packed::new(vec![part], shape, file)?, labels))
}

fn idx_labels(pictures: &Path, of: &str, count: usize) -> Result<Option<Vec<usize>>> {
    let name = pictures.file_name().unwrap_or_default().to_string_lossy();
    let name = name.replace("images", "labels").replace("idx3", "idx1");
    let path = pictures.with_file_name(&name);
    if path == pictures || !path.exists() {
        return Ok(None);
    }
    let idx = Idx::open(&path, &name)?;
    let &[labels] = &idx.sides[..] else {
        return Err(Error::invalid(format!(
            "{name} has the shape {:?}; labels are one byte per picture, [N]",
            idx.sides
        )));
    };
    same_number(labels, &name, of, count)?;
    let labels = idx.read(&name)?;
    Ok(Some(labels.into_iter().map(usize::from).collect()))
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
        let batch = files::open(path)?;
        let length = batch.metadata().map_err(Error::io(path))?.len();
        if length > MAX_BATCH_BYTES {
            return Err(Error::unsupported(format!(
                "{} has {length} bytes, more than the {MAX_BATCH_BYTES} of a batch: divide it into several",
                path.display()
            )));
        }
        let length = length as usize;
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
        let (mut batch, mut record) = (BufReader::new(batch), vec![0; stride]);
        for _ in 0..count {
            batch.read_exact(&mut record).map_err(Error::io(path))?;
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
        .find_map(|name| files::read_text(&batch.with_file_name(name), MAX_NAMES_BYTES).ok())?;
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    Some(names.map(str::to_owned).collect())
}

/// The number of pictures in so many bytes of CIFAR's pixels, as Python's batches hold them: `[N, 3072]`.
pub(super) fn cifar_count(bytes: usize, file: &str) -> Result<usize> {
    if bytes == 0 || !bytes.is_multiple_of(CIFAR_BYTES) {
        return Err(Error::invalid(format!(
            "{file} holds {bytes} bytes of pixels, no multiple of {CIFAR_BYTES}"
        )));
    }
    Ok(bytes / CIFAR_BYTES)
}

/// CIFAR's pixels in memory.
pub(super) fn cifar_in_memory(bytes: Vec<u8>, file: &str) -> Result<Packed> {
    let part = Part {
        count: cifar_count(bytes.len(), file)?,
        pixels: Pixels::Memory(bytes),
        start: 0,
        stride: CIFAR_BYTES,
    };
    Packed::new(vec![part], [3, CIFAR_SIDE, CIFAR_SIDE], file)
}
