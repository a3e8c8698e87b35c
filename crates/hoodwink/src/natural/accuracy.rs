//! Top-k accuracy with a stated tie rule.

/// Where a class stands among all classes of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Classes with a larger logit.
    larger: usize,
    /// Other classes with the same logit, and those of them with a lower number.
    equal: usize,
    equal_before: usize,
}

impl Place {
    /// The best place that one of `classes` has. `logits` are of all classes.
    pub(super) fn of(classes: &[usize], logits: &[f64]) -> Self {
        let best = |a: &usize, b: &usize| logits[*a].total_cmp(&logits[*b]).then(b.cmp(a));
        let class = classes.iter().copied().max_by(best).unwrap_or_default();
        let value = logits[class];
        let mut place = Self {
            larger: 0,
            equal: 0,
            equal_before: 0,
        };
        for (other, &logit) in logits.iter().enumerate() {
            if logit > value {
                place.larger += 1;
            } else if logit == value && !classes.contains(&other) {
                place.equal += 1;
                place.equal_before += usize::from(other < class);
            }
        }
        place
    }

    /// Whether it is among the first `k`; of equal logits, the lower class number comes first.
    pub(super) fn is_within(self, k: usize) -> bool {
        self.larger + self.equal_before < k
    }

    /// Whether another tie rule could change that.
    pub(super) fn is_tied(self, k: usize) -> bool {
        self.larger < k && k <= self.larger + self.equal
    }
}

/// The class with the largest logit, the lowest number among equals.
pub(super) fn largest(logits: &[f64]) -> usize {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn ties_go_to_the_lower_class_and_are_noticed() {
        let logits = [1.0, 3.0, 3.0, 2.0];
        for (class, k, within, tied) in [
            (1, 1, true, true),
            (2, 1, false, true),
            (2, 2, true, false),
            (3, 2, false, false),
            (3, 3, true, false),
            (0, 4, true, false),
        ] {
            let place = Place::of(&[class], &logits);
            assert_eq!(place.is_within(k), within, "{class} within {k}");
            assert_eq!(place.is_tied(k), tied, "{class} tied at {k}");
        }
        assert_eq!(largest(&logits), 1);
        // Of a group the best class counts, and its own members do not compete with it.
        let place = Place::of(&[0, 2], &[1.0, 2.0, 3.0, 3.0]);
        assert!(place.is_within(1) && place.is_tied(1));
        let alone = Place::of(&[2, 3], &[1.0, 2.0, 3.0, 3.0]);
        assert!(alone.is_within(1) && !alone.is_tied(1));
    }

    #[test]
    fn places_equal_sorting() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            // Few values, so that there are ties.
            let logits: Vec<f64> = (0..12)
                .map(|_| f64::from(rng.random_range(0..5u8)))
                .collect();
            let mut order: Vec<usize> = (0..12).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            assert_eq!(largest(&logits), order[0]);
            for class in 0..12 {
                let at = order.iter().position(|&other| other == class).unwrap();
                for k in 1..=13 {
                    assert_eq!(Place::of(&[class], &logits).is_within(k), at < k);
                }
            }
        }
    }
}
