//! One shard of a run.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One of `count` shards of a data set, written `3/8`: the third of eight.
///
/// The shards are contiguous, cover every sample exactly once, and differ in size by at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Partition {
    /// From 1 to `count`.
    number: usize,
    count: usize,
}

impl Partition {
    /// Returns its number, from 1 to [`Self::count`].
    pub fn number(self) -> usize {
        self.number
    }

    /// Returns the number of shards.
    pub fn count(self) -> usize {
        self.count
    }

    /// Returns the indices of this shard of `len` samples; empty if there are more shards than samples.
    pub fn range(self, len: usize) -> Range<usize> {
        let start = |number| (len as u128 * number as u128 / self.count as u128) as usize;
        start(self.number - 1)..start(self.number)
    }
}

impl FromStr for Partition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once('/')
            .and_then(|(number, count)| {
                let (number, count) = (number.parse().ok()?, count.parse().ok()?);
                (1..=count)
                    .contains(&number)
                    .then_some(Self { number, count })
            })
            .ok_or_else(|| {
                Error::invalid(format!(
                    "{text:?} is not a partition: write 3/8 for the third of eight"
                ))
            })
    }
}

impl TryFrom<String> for Partition {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Partition> for String {
    fn from(partition: Partition) -> Self {
        partition.to_string()
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_sample_once_and_in_order() {
        for (len, count) in [(0, 3), (1, 1), (2, 5), (100, 7), (1000, 8)] {
            let mut covered = Vec::new();
            for number in 1..=count {
                let shard: Partition = format!("{number}/{count}").parse().unwrap();
                assert_eq!(shard.to_string(), format!("{number}/{count}"));
                let range = shard.range(len);
                assert!(range.len() == len / count || range.len() == len / count + 1);
                covered.extend(range);
            }
            assert_eq!(covered, Vec::from_iter(0..len));
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "0/3", "4/3", "1/0", "a/b", "1/2/3", "-1/2"] {
            let error = text.parse::<Partition>().unwrap_err().to_string();
            assert!(error.contains("write 3/8"), "{error}");
        }
    }
}
