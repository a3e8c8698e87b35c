//! The `.npy` format: headers and single values.
//!
//! Headers are parsed here, not by `npyz`, whose parser recurses as deep as the file asks and multiplies sizes without
//! checks.

use std::io::Read;

use crate::error::{Error, Result};

/// Maximum size of a header, in bytes. NumPy's own limit is 10,000.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// Maximum number of axes of an array, checked before its shape is shown. NumPy itself allows 64.
const MAX_AXES: usize = 8;

/// Number of characters shown of an unknown type's name.
const MAX_TYPE_CHARACTERS: usize = 30;

/// The contents of a `.npy` header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    /// The length of the header itself, which is where the values start.
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
            return Err(broken(
                "it does not begin with the magic bytes of a .npy file",
            ));
        }
        let (prefix, length) = match preamble[6] {
            1 => (10, usize::from(u16::from_le_bytes(array(&take(2)?)))),
            2 | 3 => (12, u32::from_le_bytes(array(&take(4)?)) as usize),
            version => {
                return Err(Error::unsupported(format!(
                    "{file} has version {version} of the .npy format; expected 1 to 3"
                )));
            }
        };
        if length > MAX_HEADER_BYTES {
            return Err(broken("its header is longer than any array needs"));
        }
        let text =
            String::from_utf8(take(length)?).map_err(|_| broken("its header is not text"))?;
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
                "{file} has {} axes; expected 3 or 4 for pictures, 1 for labels",
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

    /// Returns the size of all values in bytes, or an error if no memory could hold them.
    fn data_bytes(&self, file: &str) -> Result<u64> {
        self.shape
            .iter()
            .try_fold(self.element.width as u64, |bytes, &size| {
                bytes.checked_mul(size as u64)
            })
            .filter(|&bytes| bytes <= i64::MAX as u64)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "{file} claims the shape {:?}, which is too large",
                    self.shape
                ))
            })
    }

    /// Checks the file's length against the header before memory is allocated.
    pub(super) fn check_length(&self, length: u64, file: &str) -> Result<()> {
        let needed = self.start + self.data_bytes(file)?;
        if length == needed {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{file} has {length} bytes, but its header asks for {needed}: it is damaged or truncated"
        )))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller took N bytes")
}

impl Element {
    /// Parses the type in a header's `descr`, such as `'<f4'`.
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

    /// Returns the eight low bytes of a value, sign-extended, in little-endian order.
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

    /// Returns a value of an integer array.
    pub(super) fn integer(self, value: &[u8]) -> i128 {
        let bytes = self.low_bytes(value);
        match self.kind {
            Kind::Signed => i64::from_le_bytes(bytes).into(),
            _ => u64::from_le_bytes(bytes).into(),
        }
    }

    /// Returns a value of a float array.
    pub(super) fn float(self, value: &[u8]) -> f64 {
        let bytes = self.low_bytes(value);
        match self.width {
            2 => half::f16::from_le_bytes(array(&bytes[..2])).into(),
            4 => f32::from_le_bytes(array(&bytes[..4])).into(),
            _ => f64::from_le_bytes(bytes),
        }
    }
}
