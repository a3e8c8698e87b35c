//! NumPy arrays as pictures and labels.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::npy::{Element, Header, Kind};
use super::rows::Rows;
use super::{MAX_CLASSES, same_number};
use crate::counted;
use crate::error::{Error, Result};
use crate::files::{self, read_part};
use crate::image::{MAX_PIXELS, Picture};

/// Maximum distance of a float from an 8-bit level, in levels, without a notice. Division by 255 in single precision is
/// a hundred times closer.
const LATTICE_TOLERANCE: f64 = 1e-3;

/// How far outside \[0, 1\] a float may be: the error of arithmetic in single precision.
const BEYOND: f64 = 1e-6;

/// The layout of the pictures in an array.
#[derive(Debug)]
pub(super) struct Layout {
    element: Element,
    /// Number of pictures.
    pub(super) count: usize,
    /// Channels, height, width.
    pub(super) shape: [usize; 3],
    /// Whether the channels are separate planes (`[N,C,H,W]`) or interleaved (`[N,H,W,C]`).
    planar: bool,
}

impl Layout {
    pub(super) fn of(header: &Header, file: &str) -> Result<Self> {
        let is_channels = |size: usize| matches!(size, 1 | 3);
        let (count, shape, planar) = match header.shape[..] {
            [count, height, width] => (count, [1, height, width], false),
            [_, first, _, last] if is_channels(first) && is_channels(last) => {
                return Err(Error::invalid(format!(
                    "{file} has the shape {:?}, which may be [N,C,H,W] or [N,H,W,C]: a \
                     side of 1 or 3 pixels looks like channels (grey pictures can be saved \
                     as [N,H,W])",
                    header.shape
                )));
            }
            [count, height, width, last] if is_channels(last) => {
                (count, [last, height, width], false)
            }
            [count, first, height, width] if is_channels(first) => {
                (count, [first, height, width], true)
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{file} has the shape {:?}; expected pictures [N,H,W], [N,H,W,C] or [N,C,H,W] with 1 \
                     or 3 channels",
                    header.shape
                )));
            }
        };
        let pixels = shape[1].saturating_mul(shape[2]);
        if count == 0 || !(1..=MAX_PIXELS).contains(&pixels) {
            return Err(Error::invalid(format!(
                "{file} has the shape {:?}: it holds no pictures, or pictures with no pixels or too \
                 many",
                header.shape
            )));
        }
        let known = match header.element.kind {
            Kind::Unsigned => header.element.width == 1,
            Kind::Signed => false,
            Kind::Float => true,
        };
        if !known {
            return Err(Error::unsupported(format!(
                "{file} holds wide or signed integers: save pictures as uint8 (0 to 255) or as \
                 floats in [0, 1]"
            )));
        }
        Ok(Self {
            element: header.element,
            count,
            shape,
            planar,
        })
    }

    /// Returns the size of one picture in the array, in bytes.
    pub(super) fn row_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element.width
    }

    /// Returns the picture in one row of the array, and the maximum distance of a value from an 8-bit level, in levels.
    /// `row` names it in errors.
    pub(super) fn picture(&self, values: &[u8], row: &str) -> Result<(Picture, f64)> {
        let mut worst = 0.0_f64;
        let levels: Vec<u8> = match self.element.kind {
            Kind::Float => values
                .chunks_exact(self.element.width)
                .map(|value| {
                    let value = self.element.float(value);
                    if !(-BEYOND..=1.0 + BEYOND).contains(&value) {
                        return Err(Error::invalid(format!(
                            "{row} holds the value {value}, but floats must be in [0, 1]. Are they \
                             0 to 255? Then save them as uint8; are they normalised? Then undo that"
                        )));
                    }
                    let value = value.clamp(0.0, 1.0);
                    let level = (value * 255.0).round();
                    worst = worst.max((value * 255.0 - level).abs());
                    Ok(level as u8)
                })
                .collect::<Result<_>>()?,
            _ => values.to_vec(),
        };
        let [channels, height, width] = self.shape;
        let levels = if self.planar && channels > 1 {
            let plane = height * width;
            (0..levels.len())
                .map(|at| levels[at % channels * plane + at / channels])
                .collect()
        } else {
            levels
        };
        Ok((Picture::new(channels, height, width, levels)?, worst))
    }
}

/// Collects how far values are from the 8-bit levels.
#[derive(Default)]
pub(super) struct Rounding {
    worst: f64,
    rows: usize,
}

impl Rounding {
    pub(super) fn add(&mut self, distance: f64) {
        self.worst = self.worst.max(distance);
        self.rows += usize::from(distance > LATTICE_TOLERANCE);
    }

    pub(super) fn notice(self, file: &str) -> Option<String> {
        (self.rows > 0).then(|| {
            format!(
                "{} values between the 8-bit levels (up to {:.3} of a level off); they were rounded to the nearest level.",
                counted(
                    self.rows,
                    &format!("picture of {file} has"),
                    &format!("pictures of {file} have")
                ),
                self.worst
            )
        })
    }
}

/// A `.npy` file of pictures, read one row at a time.
#[derive(Debug)]
pub(super) struct PictureArray {
    path: PathBuf,
    file: String,
    start: u64,
    layout: Layout,
}

impl PictureArray {
    /// Reads the header and checks the file's length against it. `file` names it in errors.
    pub(super) fn open(path: &Path, file: &str) -> Result<Self> {
        let (header, _) = open(path, file)?;
        Ok(Self {
            path: path.to_owned(),
            file: file.to_owned(),
            start: header.start,
            layout: Layout::of(&header, file)?,
        })
    }

    /// Returns the number of pictures.
    pub(super) fn count(&self) -> usize {
        self.layout.count
    }

    fn rounded(&self, row: usize, stored: &[u8]) -> Result<(Picture, f64)> {
        let name = format!("{}[{row}]", self.file);
        self.layout.picture(stored, &name)
    }

    /// Reads all of `rows` once. A value out of range is an error; one between the 8-bit levels gives a notice.
    pub(super) fn check(&self, rows: Range<usize>) -> Result<Option<String>> {
        let mut rounding = Rounding::default();
        if self.layout.element.kind == Kind::Float {
            for row in rows {
                rounding.add(self.rounded(row, &self.stored(row)?)?.1);
            }
        }
        Ok(rounding.notice(&self.file))
    }
}

impl Rows for PictureArray {
    fn kind(&self) -> &'static str {
        "a NumPy array"
    }

    fn picture(&self, row: usize, file: &str) -> Result<Picture> {
        self.picture_of(row, &self.stored(row)?, file)
    }

    fn picture_of(&self, row: usize, stored: &[u8], _: &str) -> Result<Picture> {
        let (picture, _) = self.rounded(row, stored)?;
        Ok(picture)
    }

    fn may_change(&self) -> bool {
        true
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let length = self.layout.row_bytes();
        read_part(&self.path, self.start + row as u64 * length as u64, length)
    }
}

/// Opens a `.npy` file, and returns its header and a reader of the values.
fn open(path: &Path, file: &str) -> Result<(Header, BufReader<File>)> {
    let source = files::open(path)?;
    let length = source.metadata().map_err(Error::io(path))?.len();
    let mut source = BufReader::new(source);
    let header = Header::read(&mut source, file)?;
    header.check_length(length, file)?;
    Ok((header, source))
}

/// Reads all labels of a `.npy` file for the data called `of.0` with `of.1` pictures.
pub(super) fn read_labels(path: &Path, file: &str, of: (&str, usize)) -> Result<Vec<usize>> {
    let (header, mut source) = open(path, file)?;
    labels(&header, &mut source, file, of)
}

/// Reads the labels after a header: integers of any type, `[N]` or `[N,1]`. Checks their number before reading them.
pub(super) fn labels(
    header: &Header,
    source: &mut impl Read,
    file: &str,
    (name, pictures): (&str, usize),
) -> Result<Vec<usize>> {
    let count = match header.shape[..] {
        [count] | [count, 1] => count,
        _ => {
            return Err(Error::invalid(format!(
                "{file} has the shape {:?}; expected one label per picture, [N]",
                header.shape
            )));
        }
    };
    if header.element.kind == Kind::Float {
        return Err(Error::invalid(format!(
            "{file} holds floats; labels must be integers, the class numbers"
        )));
    }
    same_number(count, file, name, pictures)?;
    let mut value = vec![0; header.element.width];
    let mut labels = Vec::new();
    for row in 0..count {
        source.read_exact(&mut value).map_err(Error::io(file))?;
        let label = header.element.integer(&value);
        match usize::try_from(label) {
            Ok(label) if label < MAX_CLASSES => labels.push(label),
            _ => {
                return Err(Error::invalid(format!(
                    "{file}[{row}] is {label}, which is not a class: labels count from 0"
                )));
            }
        }
    }
    Ok(labels)
}
