//! The journal of a run: one file with the rows of single samples, until their parts are complete.
//!
//! ```text
//! record    length of the payload (u32), checksum (8 bytes), payload
//! checksum  the first 8 bytes of the SHA-256 of length and payload
//! payload   index of the sample (u64), its rows one after the other (postcard)
//! ```
//!
//! Numbers are little-endian. An interrupted process may leave a truncated record, and a disk one of zeros. Reading
//! stops at the first incomplete record, and the rest is computed again.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::Row;
use crate::error::{Error, Result};

/// Bytes of a checksum.
const CHECKSUM: usize = 8;

/// Bytes before a payload.
const HEAD: usize = 4 + CHECKSUM;

/// Bytes of a sample's index.
const INDEX: usize = 8;

/// Encodes the record of one sample.
pub(super) fn record(index: u64, rows: &[Row]) -> Result<Vec<u8>> {
    let refused = |why: &dyn std::fmt::Display| {
        Error::invalid(format!("the rows of sample {index} cannot be saved: {why}"))
    };
    let mut payload = index.to_le_bytes().to_vec();
    for row in rows {
        payload = postcard::to_extend(row, payload).map_err(|why| refused(&why))?;
    }
    let length = u32::try_from(payload.len()).map_err(|why| refused(&why))?;
    let mut record = length.to_le_bytes().to_vec();
    record.extend(checksum(length, &payload));
    record.extend(payload);
    Ok(record)
}

/// The bytes of a journal, with the positions of its complete records.
pub(super) struct Journal {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

/// One complete record.
struct Record {
    index: u64,
    /// Its position, including the header.
    at: Range<usize>,
}

impl Journal {
    /// Finds the complete records at the beginning.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let (mut records, mut begin) = (Vec::new(), 0);
        while let Some((index, length)) = first(&bytes[begin..]) {
            let at = begin..begin + length;
            begin = at.end;
            records.push(Record { index, at });
        }
        Self { bytes, records }
    }

    /// Returns the indices of the samples that have records, in file order.
    pub(super) fn samples(&self) -> impl Iterator<Item = u64> {
        self.records.iter().map(|record| record.index)
    }

    /// Returns whether it ends with a complete record.
    pub(super) fn is_whole(&self) -> bool {
        self.records.last().map_or(0, |last| last.at.end) == self.bytes.len()
    }

    /// Returns the samples that `wanted` selects, in file order, each with its rows, of which there are at most `most`.
    /// `Err` says what is wrong with them.
    pub(super) fn rows(
        &self,
        wanted: impl Fn(u64) -> bool,
        most: usize,
    ) -> impl Iterator<Item = Result<(u64, Vec<Row>), String>> {
        let wanted = self
            .records
            .iter()
            .filter(move |record| wanted(record.index));
        wanted.map(move |Record { index, at }| {
            let mut rest = &self.bytes[at.start + HEAD + INDEX..at.end];
            let mut rows = Vec::new();
            while !rest.is_empty() {
                let row;
                (row, rest) = postcard::take_from_bytes(rest)
                    .map_err(|_| format!("the record of sample {index} holds no rows"))?;
                if rows.len() == most {
                    return Err(format!("sample {index} has more than {most} rows"));
                }
                rows.push(row);
            }
            Ok((*index, rows))
        })
    }

    /// Returns the unchanged records of the samples that `wanted` selects.
    pub(super) fn only(&self, wanted: impl Fn(u64) -> bool) -> Vec<u8> {
        let wanted = self.records.iter().filter(|record| wanted(record.index));
        wanted
            .flat_map(|record| &self.bytes[record.at.clone()])
            .copied()
            .collect()
    }
}

/// Returns the index and length of the record at the start of the bytes, if it is complete.
fn first(bytes: &[u8]) -> Option<(u64, usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (told, rest) = rest.split_first_chunk::<CHECKSUM>()?;
    let length = u32::from_le_bytes(*length);
    let payload = rest.get(..length as usize)?;
    let index = u64::from_le_bytes(*payload.first_chunk::<INDEX>()?);
    (*told == checksum(length, payload)).then_some((index, HEAD + payload.len()))
}

fn checksum(length: u32, payload: &[u8]) -> [u8; CHECKSUM] {
    let mut sha256 = Sha256::new();
    sha256.update(length.to_le_bytes());
    sha256.update(payload);
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&sha256.finalize()[..CHECKSUM]);
    checksum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::results::example::{already_wrong, fooled, fooled_at};
    use crate::results::table;

    /// Rows with every value that is difficult to encode.
    fn rows(index: u64) -> Vec<Row> {
        let mut odd = fooled(index, "pgd", "8/255");
        odd.clean.confidence = f32::from_bits(0x7fc0_1234);
        odd.loss = vec![f32::NAN, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0];
        let norms = &mut odd.float.as_mut().unwrap().norms;
        (norms.l1, norms.l2) = (f64::NAN, f64::from_bits(1));
        odd.file = "ö/\n\"\0".into();
        vec![
            odd,
            already_wrong(index, "fgsm", "4/255"),
            fooled_at(index, 0.5),
        ]
    }

    fn journal(samples: &[u64]) -> Vec<u8> {
        let records = samples
            .iter()
            .map(|&index| record(index, &rows(index)).unwrap());
        records.collect::<Vec<_>>().concat()
    }

    /// Encodes as bytes, so that NaN can be compared.
    fn encoded(rows: &[Row]) -> Vec<u8> {
        table::encode(rows).unwrap()
    }

    #[test]
    fn rows_come_back_to_the_last_bit() {
        let journal = Journal::of(journal(&[7, 3, u64::MAX]));
        assert!(journal.is_whole());
        assert_eq!(Vec::from_iter(journal.samples()), [7, 3, u64::MAX]);
        let found = journal.rows(|index| index != 3, 3);
        assert_eq!(found.count(), 2);
        for found in journal.rows(|index| index != 3, 3) {
            let (index, found) = found.unwrap();
            let bits = |rows: &[Row]| rows[0].clean.confidence.to_bits();
            assert_eq!(encoded(&found), encoded(&rows(index)));
            assert_eq!(bits(&found), bits(&rows(index)));
        }
        assert_eq!(
            journal.only(|index| index == 3),
            super::tests::journal(&[3])
        );
    }

    #[test]
    fn a_journal_cut_off_anywhere_has_the_records_before() {
        let (one, both) = (journal(&[1]).len(), journal(&[1, 2]));
        for end in 0..=both.len() {
            let journal = Journal::of(both[..end].to_vec());
            let expected: &[u64] = match end {
                end if end < one => &[],
                end if end < both.len() => &[1],
                _ => &[1, 2],
            };
            assert_eq!(Vec::from_iter(journal.samples()), expected, "{end}");
            assert_eq!(journal.is_whole(), [0, one, both.len()].contains(&end));
        }
        let zeros = [&both[..], &[0; 100]].concat();
        let journal = Journal::of(zeros);
        assert_eq!(journal.samples().count(), 2);
        assert!(!journal.is_whole());
    }

    #[test]
    fn reading_ends_where_a_byte_is_another() {
        let (one, all) = (journal(&[1]).len(), journal(&[1, 2, 3]));
        let two = journal(&[1, 2]).len();
        for at in one..two {
            let mut bytes = all.clone();
            bytes[at] ^= 0x10;
            assert_eq!(Vec::from_iter(Journal::of(bytes).samples()), [1], "{at}");
        }
    }

    /// A record with any payload and a correct checksum.
    fn sealed(payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        let head = [&length.to_le_bytes()[..], &checksum(length, payload)].concat();
        [&head, payload].concat()
    }

    #[test]
    fn what_holds_no_rows_is_said() {
        let index = 5_u64.to_le_bytes();
        assert_eq!(Journal::of(sealed(&index[1..])).samples().count(), 0);
        let (whole, none) = (
            record(5, &rows(5)).unwrap(),
            "record of sample 5 holds no rows",
        );
        let more = [&whole[HEAD..], &[0]].concat();
        // A text longer than any memory.
        let long = [&index[..], &[5], &[0xff; 8], &[0x7f]].concat();
        for (payload, most, says) in [
            (&more[..], 4, none),
            (&long, 4, none),
            (&whole[HEAD..], 2, "sample 5 has more than 2 rows"),
        ] {
            let journal = Journal::of(sealed(payload));
            let refusal = journal.rows(|_| true, most).next().unwrap().unwrap_err();
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Journal::of(bytes.clone()).rows(|_| true, 9).for_each(drop);
            Journal::of(sealed(&bytes)).rows(|_| true, 9).for_each(drop);
        }

        #[test]
        fn damaged_rows_are_read_or_refused(at in 0_usize..2000, byte in any::<u8>()) {
            let mut payload = record(5, &rows(5)).unwrap()[HEAD..].to_vec();
            let at = INDEX + at % (payload.len() - INDEX);
            payload[at] = byte;
            Journal::of(sealed(&payload)).rows(|_| true, 9).for_each(drop);
        }
    }
}
