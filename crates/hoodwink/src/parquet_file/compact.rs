//! Thrift's compact protocol, as far as Parquet's structures need it. No length in the input is trusted.

use std::io::{self, Read};

use parquet::errors::{ParquetError, Result};

/// The maximum nesting depth of structures.
const MAX_DEPTH: usize = 32;

pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// A reader of consecutive values.
pub(super) struct Compact<R> {
    source: R,
    read: u64,
}

impl<R: Read> Compact<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, read: 0 }
    }

    /// Returns the number of bytes read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Reads the fields of a structure. Calls `take` with the number and the kind of each. `take` either reads the
    /// value and returns `true`, or returns `false` to skip it.
    pub(super) fn fields(
        &mut self,
        take: &mut dyn FnMut(&mut Self, i16, u8) -> Result<bool>,
    ) -> Result<()> {
        self.fields_at(MAX_DEPTH, take)
    }

    fn fields_at(
        &mut self,
        depth: usize,
        take: &mut dyn FnMut(&mut Self, i16, u8) -> Result<bool>,
    ) -> Result<()> {
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            let (step, kind) = (head >> 4, head & 15);
            if kind == 0 {
                return Ok(());
            }
            number = match step {
                0 => self.integer()? as i16,
                _ => number.wrapping_add(i16::from(step)),
            };
            if !take(self, number, kind)? {
                self.skip(kind, depth, false)?;
            }
        }
    }

    /// Reads the kind of a list's elements and their number.
    pub(super) fn list(&mut self) -> Result<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.number()?,
            few => u64::from(few),
        };
        Ok((head & 15, count))
    }

    /// Reads a signed number.
    pub(super) fn integer(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Reads an unsigned number.
    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(broken("a number does not end"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }

    fn skip(&mut self, kind: u8, depth: usize, in_list: bool) -> Result<()> {
        let deeper = || {
            depth
                .checked_sub(1)
                .ok_or_else(|| broken("it is nested too deeply"))
        };
        match kind {
            // In a structure the kind itself is the boolean value.
            1 | 2 if !in_list => Ok(()),
            1..=3 => self.byte().map(drop),
            4..=6 => self.number().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.number()?;
                self.pass(length)
            }
            LIST | 10 => {
                let (kind, count) = self.list()?;
                let depth = deeper()?;
                (0..count).try_for_each(|_| self.skip(kind, depth, true))
            }
            11 => {
                let count = self.number()?;
                let depth = deeper()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.skip(kinds >> 4, depth, true)?;
                    self.skip(kinds & 15, depth, true)
                })
            }
            STRUCT => {
                let depth = deeper()?;
                self.fields_at(depth, &mut |_, _, _| Ok(false))
            }
            13 => self.pass(16),
            _ => Err(broken("a value has an unknown kind")),
        }
    }

    fn pass(&mut self, count: u64) -> Result<()> {
        let passed = io::copy(&mut (&mut self.source).take(count), &mut io::sink())?;
        self.read += passed;
        match passed == count {
            true => Ok(()),
            false => Err(broken("it ends early")),
        }
    }
}

pub(crate) fn broken(what: impl Into<String>) -> ParquetError {
    ParquetError::General(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Result<Vec<(i16, i64)>> {
        let (mut found, mut compact) = (Vec::new(), Compact::new(bytes));
        compact.fields(&mut |compact, number, kind| {
            let is_number = (4..=6).contains(&kind);
            if is_number {
                found.push((number, compact.integer()?));
            }
            Ok(is_number)
        })?;
        assert_eq!(compact.read(), bytes.len() as u64);
        Ok(found)
    }

    #[test]
    fn fields_are_found_among_others() {
        for (bytes, expected) in [
            (&[0][..], vec![]),
            (&[0x15, 3, 0x26, 0x80, 1, 0], vec![(1, -2), (3, 64)]),
            // A text, a list of two structures, a boolean, and a number with an explicit field number.
            (
                &[
                    0x18, 2, b'a', b'b', 0x19, 0x2c, 0x15, 2, 0, 0, 0x11, 0x05, 40, 8, 0,
                ],
                vec![(20, 4)],
            ),
        ] {
            assert_eq!(numbers(bytes).unwrap(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let deep = [0x1c_u8; 1000];
        // Texts, lists and numbers that claim to be longer than the file.
        let long = [0xff, 0xff, 0xff, 0xff, 0x0f];
        let text = [&[0x18][..], &long].concat();
        let list = [&[0x19, 0xf5][..], &long].concat();
        let number = [&[0x16][..], &[0xff; 11]].concat();
        for bytes in [&deep[..], &text, &list, &number, &[], &[0x1e]] {
            assert!(numbers(bytes).is_err(), "{bytes:?}");
        }
    }
}
