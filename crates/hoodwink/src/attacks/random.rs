//! Random numbers that depend on what is attacked, never on the order or the neighbours.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Returns the random numbers of one attack on one sample for one purpose.
///
/// The key is the SHA-256 of the fields, each preceded by its length, so that different fields never give the same
/// bytes. `sample` is the content hash of the picture, and `attack` is the attack's name. The same attack draws the
/// same numbers at two radii, which makes the radii comparable.
pub fn stream(seed: u64, sample: &str, attack: &str, purpose: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    for field in [
        seed.to_le_bytes().as_slice(),
        sample.as_bytes(),
        attack.as_bytes(),
        &purpose.to_le_bytes(),
    ] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Returns the random numbers of restart `restart`: the same ChaCha key with a separate nonce, from the beginning. They
/// do not depend on how many numbers `rng` or another restart has drawn.
pub fn fork(rng: &ChaCha8Rng, restart: u64) -> ChaCha8Rng {
    let mut fork = ChaCha8Rng::from_seed(rng.get_seed());
    // Stream 0 is `rng` itself.
    fork.set_stream(restart.wrapping_add(1));
    fork
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn every_field_changes_the_numbers() {
        let first = |mut rng: ChaCha8Rng| rng.next_u64();
        let mut seen = vec![
            first(stream(1, "ab", "pgd", 0)),
            first(stream(2, "ab", "pgd", 0)),
            first(stream(1, "abp", "gd", 0)),
            first(stream(1, "ab", "bim", 0)),
            first(stream(1, "ab", "pgd", 1)),
            first(fork(&stream(1, "ab", "pgd", 0), 0)),
            first(fork(&stream(1, "ab", "pgd", 0), 1)),
        ];
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 7);
    }

    /// The key is the SHA-256 of length-prefixed fields. Python's `hashlib` computed the expected numbers.
    #[test]
    fn the_key_is_the_documented_digest() {
        let seed = stream(7, "cat", "pgd", 3).get_seed();
        assert_eq!(seed[..8], [154, 145, 69, 164, 37, 216, 111, 159]);
    }

    #[test]
    fn a_fork_forgets_what_was_drawn() {
        let mut rng = stream(0, "x", "pgd", 0);
        let before = fork(&rng, 4).next_u64();
        rng.next_u64();
        assert_eq!(fork(&rng, 4).next_u64(), before);
        assert_eq!(fork(&fork(&rng, 2), 4).next_u64(), before);
    }
}
