//! One shard of a run.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};

/// One of `count` shards of a data set, written `3/8`: the third of eight.
///
/// The shards are contiguous, cover every sample exactly once, and differ in size by one at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1 to `count`.
    number: usize,
    count: usize,
}

impl Partition {
    /// The indices of this shard of `len` samples; empty if there are more shards than samples.
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

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}
