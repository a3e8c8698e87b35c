//! Random numbers, the same on every platform and with every version of the `rand` crates.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A ChaCha8 stream of random numbers, identified by a seed, a subject and a number.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Opens a stream. `subject` is at most 24 bytes long; streams of different subjects are independent.
    pub(super) fn new(seed: u64, subject: &str, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..8 + subject.len()].copy_from_slice(subject.as_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Returns a seed for other dice.
    pub(super) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a seed for [`noise`](super::noise).
    pub(super) fn noise_seed(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Returns a uniform number in `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// Returns true with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        f64::from(self.0.next_u32()) < probability * 4_294_967_296.0
    }

    /// Returns a uniform number in \[`low`, `high`), in steps of 2^-24 of the range.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.0.next_u32() >> 8) as f32 / 16_777_216.0;
        low + (high - low) * unit
    }

    /// Returns the numbers 0 to 9 in random order (Fisher and Yates).
    pub(super) fn permutation(&mut self) -> [usize; 10] {
        let mut order = std::array::from_fn(|i| i);
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}
