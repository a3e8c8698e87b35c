//! Pictures of one shape stored one after the other: the formats of MNIST and CIFAR.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::npz::MAX_DEFLATED;
use super::rows::Rows;
use super::same_number;
use crate::error::{Error, Result};
use crate::files::{self, read_part};
use crate::image::{MAX_PIXELS, Picture};

/// Maximum size that a compressed file may unpack to, and that is kept of pickled batches in all, in bytes.
pub(super) const MAX_UNPACKED_BYTES: u64 = 1 << 31;

/// Maximum size of a binary CIFAR batch, in bytes, because all of it is read for the labels. The real ones have 150 MB.
const MAX_BATCH_BYTES: u64 = 1 << 29;

/// Maximum size of the class names, in bytes.
pub(super) const MAX_NAMES_BYTES: u64 = 1 << 20;

/// Maximum number of axes of an IDX file, checked before its shape is shown.
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
    /// The offset of the first picture, and the distance between two pictures, in bytes.
    pub(super) start: usize,
    pub(super) stride: usize,
}

/// The source of a part's bytes.
#[derive(Debug)]
pub(super) enum Pixels {
    File(PathBuf),
    Memory(Vec<u8>),
}

impl Packed {
    /// Takes pictures of `[channels, height, width]` with separate channel planes.
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
            "{file} claims that its pictures have the shape {shape:?}, which has no pixels or too many"
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

/// An IDX file of bytes, of which the header has been read.
struct Idx {
    sides: Vec<usize>,
    /// The length of the header, and of the elements that it declares, in bytes.
    start: usize,
    elements: u64,
    /// The rest of the file.
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
                "{file} holds elements of type {element:#04x}; expected unsigned bytes (0x08)"
            )));
        }
        if axes > MAX_AXES {
            return Err(Error::unsupported(format!(
                "{file} has {axes} axes; expected 3 for pictures, [N,H,W], or 1 for labels"
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
                "{file} has {length} bytes, but its header asks for {asked}: it is damaged or truncated"
            )));
        }
        Ok(Self {
            sides,
            start,
            elements,
            source,
        })
    }

    /// Reads all elements. Their number must match the header.
    fn read(mut self, file: &str) -> Result<Vec<u8>> {
        if self.elements > MAX_UNPACKED_BYTES {
            return Err(Error::unsupported(format!(
                "{file} unpacks to more than {MAX_UNPACKED_BYTES} bytes, the limit in memory: unpack it first"
            )));
        }
        let mut elements = Vec::new();
        let reserved = elements.try_reserve_exact(self.elements as usize + 1);
        reserved.map_err(|_| {
            Error::unsupported(format!(
                "{file} unpacks to {} bytes, which do not fit into memory",
                self.elements
            ))
        })?;
        // One extra byte is enough to detect a longer file.
        let mut source = self.source.by_ref().take(self.elements + 1);
        let read = source.read_to_end(&mut elements);
        read.map_err(|error| {
            Error::invalid(format!("{file} is damaged ({error}): copy it again"))
        })?;
        match elements.len() as u64 == self.elements {
            true => Ok(elements),
            false => Err(Error::invalid(format!(
                "{file} does not unpack to the {} bytes that its header asks for: it is damaged or truncated",
                self.elements
            ))),
        }
    }
}

/// Whether a file is named like MNIST's: `train-images-idx3-ubyte`, optionally with `.gz`.
pub(super) fn is_idx(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.trim_end_matches(".gz");
    ["idx3-ubyte", "idx4-ubyte"]
        .iter()
        .any(|ending| plain.ends_with(ending))
}

/// Opens the pictures of an IDX file, `[N,H,W]`, and the labels in the file beside it whose name has `labels-idx1`
/// instead of `images-idx3`, if there is one.
pub(super) fn open_idx(path: &Path, file: &str) -> Result<(Packed, Option<Vec<usize>>)> {
    let idx = Idx::open(path, file)?;
    let &[count, height, width] = &idx.sides[..] else {
        return Err(Error::unsupported(format!(
            "{file} has the shape {:?}; expected pictures [N,H,W]",
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
            "{name} has the shape {:?}; expected one label per picture, [N]",
            idx.sides
        )));
    };
    same_number(labels, &name, of, count)?;
    let labels = idx.read(&name)?;
    Ok(Some(labels.into_iter().map(usize::from).collect()))
}

/// The side of a CIFAR picture, in pixels.
const CIFAR_SIDE: usize = 32;
/// The size of a CIFAR picture, in bytes.
const CIFAR_BYTES: usize = 3 * CIFAR_SIDE * CIFAR_SIDE;

/// Opens CIFAR's binary batches. Each picture has one label (CIFAR-10) or two (CIFAR-100, where the second, finer one
/// is used), then its pixels. The file's length decides which.
pub(super) fn open_cifar(paths: &[PathBuf], file: &str) -> Result<(Packed, Vec<usize>)> {
    let (mut parts, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        let batch = files::open(path)?;
        let length = batch.metadata().map_err(Error::io(path))?.len();
        if length > MAX_BATCH_BYTES {
            return Err(Error::unsupported(format!(
                "{} has {length} bytes, more than {MAX_BATCH_BYTES}, the limit of a batch: divide it into several",
                path.display()
            )));
        }
        let length = length as usize;
        let before = match (length % (CIFAR_BYTES + 1), length % (CIFAR_BYTES + 2)) {
            (0, 1..) => 1,
            (1.., 0) => 2,
            _ => {
                return Err(Error::invalid(format!(
                    "{} has {length} bytes, which is not a multiple of {} (CIFAR-10) or {} (CIFAR-100)",
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

/// Reads the names of CIFAR's classes, one per line, from the file that comes with the binary batches.
pub(super) fn cifar_names(batch: &Path) -> Option<Vec<String>> {
    let names = ["batches.meta.txt", "fine_label_names.txt"]
        .iter()
        .find_map(|name| files::read_text(&batch.with_file_name(name), MAX_NAMES_BYTES).ok())?;
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    Some(names.map(str::to_owned).collect())
}

/// Returns the number of pictures in this many bytes of pixels of a Python batch, `[N, 3072]`.
pub(super) fn cifar_count(bytes: usize, file: &str) -> Result<usize> {
    if bytes == 0 || !bytes.is_multiple_of(CIFAR_BYTES) {
        return Err(Error::invalid(format!(
            "{file} holds {bytes} bytes of pixels, which is not a multiple of {CIFAR_BYTES}"
        )));
    }
    Ok(bytes / CIFAR_BYTES)
}

/// Opens CIFAR pixels in memory.
pub(super) fn cifar_in_memory(bytes: Vec<u8>, file: &str) -> Result<Packed> {
    let part = Part {
        count: cifar_count(bytes.len(), file)?,
        pixels: Pixels::Memory(bytes),
        start: 0,
        stride: CIFAR_BYTES,
    };
    Packed::new(vec![part], [3, CIFAR_SIDE, CIFAR_SIDE], file)
}
