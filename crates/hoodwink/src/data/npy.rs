//! The `.npy` format: headers and single values.
//!
//! Headers are read here, not by `npyz`, whose parser recurses as deep as the file asks and
//! multiplies sizes unchecked.

use std::io::Read;

use crate::error::{Error, Result};

/// The longest header that is read; NumPy itself stops at 10,000 bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// The most axes that an array has; more are refused before they are shown. NumPy itself allows 64.
const MAX_AXES: usize = 8;

/// As much of the name of an unknown type is shown.
const MAX_TYPE_CHARACTERS: usize = 30;

/// What a `.npy` header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    /// Length of the header itself: where the values start.
    pub(super) start: u64,
}

/// The type of an array's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) kind: Kind,
    /// Bytes of one value.
    pub(super) width: usize,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Signed,
    Unsigned,
    Float,
}

impl Header {
    /// Reads a header and leaves `source` at the first value. `file` names the array in errors.
    pub(super) fn read(source: &mut impl Read, file: &str) -> Result<Self> {
        let broken = |what: &str| Error::invalid(format!("{file} is not a NumPy array: {what}"));
        let mut take = |count: usize| {
            let mut bytes = vec![0; count];
            match source.read_exact(&mut bytes) {
                Ok(()) => Ok(bytes),
                Err(error) => Err(broken(&format!("its header cannot be read ({error})"))),
            }
        };
        let preamble = take(8)?;
        if !preamble.starts_with(b"\x93NUMPY") {
            return Err(broken("it does not begin with the mark of a .npy file"));
        }
        let (prefix, length) = match preamble[6] {
            1 => (10, usize::from(u16::from_le_bytes(array(&take(2)?)))),
            2 | 3 => (12, u32::from_le_bytes(array(&take(4)?)) as usize),
            version => {
                return Err(Error::unsupported(format!(
                    "{file} has version {version} of the .npy format; 1 to 3 are known"
                )));
            }
        };
        if length > MAX_HEADER_BYTES {
            return Err(broken("its header is longer than any array needs"));
        }
        let text = String::from_utf8(take(length)?).map_err(|_| broken("its header is no text"))?;
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("'{name}':"))?;
            Some(rest.trim_start())
        };
        match field("fortran_order").map(|value| value.starts_with("False")) {
            Some(true) => {}
            Some(false) => {
                return Err(Error::unsupported(format!(
                    "{file} is in Fortran order: save numpy.ascontiguousarray(x) instead"
                )));
            }
            None => return Err(broken("its header has no fortran_order")),
        }
        let shape = field("shape")
            .and_then(|value| value.strip_prefix('(')?.split_once(')'))
            .and_then(|(sizes, _)| {
                let sizes = sizes
                    .split(',')
                    .map(str::trim)
                    .filter(|size| !size.is_empty());
                sizes
                    .map(|size| size.parse().ok())
                    .collect::<Option<Vec<usize>>>()
            })
            .ok_or_else(|| broken("its header has no shape"))?;
        if shape.len() > MAX_AXES {
            return Err(Error::invalid(format!(
                "{file} has {} axes; pictures have 3 or 4, labels one",
                shape.len()
            )));
        }
        let descr = field("descr").ok_or_else(|| broken("its header has no descr"))?;
        Ok(Self {
            element: Element::parse(descr, file)?,
            shape,
            start: (prefix + length) as u64,
        })
    }

    /// Bytes of all values, or an error if no memory could hold them.
    fn data_bytes(&self, file: &str) -> Result<u64> {
        self.shape
            .iter()
            .try_fold(self.element.width as u64, |bytes, &size| {
                bytes.checked_mul(size as u64)
            })
            .filter(|&bytes| bytes <= i64::MAX as u64)
            .ok_or_else(|| Error::invalid(format!("{file} claims the shape {:?}", self.shape)))
    }

    /// Checks that the file holds what the header claims, before memory is taken for it.
    pub(super) fn check_length(&self, length: u64, file: &str) -> Result<()> {
        let needed = self.start + self.data_bytes(file)?;
        if length == needed {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{file} has {length} bytes where its header asks for {needed}: it is broken or truncated"
        )))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller took N bytes")
}

impl Element {
    /// The type that a header's `descr` names, such as `'<f4'`.
    fn parse(descr: &str, file: &str) -> Result<Self> {
        let name = descr
            .strip_prefix('\'')
            .and_then(|text| text.split_once('\''))
            .map_or(descr, |(name, _)| name);
        let (kind, width, big_endian) = match name.trim_start_matches(['<', '|', '=', '>']) {
            "u1" => (Kind::Unsigned, 1, false),
            "i1" => (Kind::Signed, 1, false),
            "u2" => (Kind::Unsigned, 2, name.starts_with('>')),
            "i2" => (Kind::Signed, 2, name.starts_with('>')),
            "u4" => (Kind::Unsigned, 4, name.starts_with('>')),
            "i4" => (Kind::Signed, 4, name.starts_with('>')),
            "u8" => (Kind::Unsigned, 8, name.starts_with('>')),
            "i8" => (Kind::Signed, 8, name.starts_with('>')),
            "f2" => (Kind::Float, 2, name.starts_with('>')),
            "f4" => (Kind::Float, 4, name.starts_with('>')),
            "f8" => (Kind::Float, 8, name.starts_with('>')),
            _ => {
                let name: String = name.chars().take(MAX_TYPE_CHARACTERS).collect();
                return Err(Error::unsupported(format!(
                    "{file} has values of type {name}: save pictures as uint8, labels as int64"
                )));
            }
        };
        Ok(Self {
            kind,
            width,
            big_endian,
        })
    }

    /// The eight low bytes of a value, sign-extended, little endian first.
    fn low_bytes(self, value: &[u8]) -> [u8; 8] {
        let negative = |top: u8| self.kind == Kind::Signed && top >= 0x80;
        let mut bytes = [0; 8];
        bytes[..self.width].copy_from_slice(value);
        if self.big_endian {
            bytes[..self.width].reverse();
        }
        if negative(bytes[self.width - 1]) {
            bytes[self.width..].fill(0xFF);
        }
        bytes
    }

    /// A value of an integer array.
    pub(super) fn integer(self, value: &[u8]) -> i128 {
        let bytes = self.low_bytes(value);
        match self.kind {
            Kind::Signed => i64::from_le_bytes(bytes).into(),
            _ => u64::from_le_bytes(bytes).into(),
        }
    }

    /// A value of a float array.
    pub(super) fn float(self, value: &[u8]) -> f64 {
        let bytes = self.low_bytes(value);
        match self.width {
            2 => half::f16::from_le_bytes(array(&bytes[..2])).into(),
            4 => f32::from_le_bytes(array(&bytes[..4])).into(),
            _ => f64::from_le_bytes(bytes),
        }
    }
}
