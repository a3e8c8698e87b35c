//! Answers in the order of their confidence.

/// Confidences with whether each answer is right, lowest confidence first.
///
/// Pictures of equal confidence have no order among them. So that no measure depends on the order of the files, they count
/// as right by the share of them that is: that is the mean over all orders.
pub(super) struct Ranked {
    confidences: Vec<f64>,
    right: Vec<bool>,
    /// Where each run of equal confidences ends.
    ends: Vec<usize>,
    /// Where each answer stands.
    order: Vec<usize>,
}

/// Answers of one confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    pub(super) confidence: f64,
    /// Share of them that is right.
    pub(super) right: f64,
    pub(super) count: u64,
}

impl Ranked {
    pub(super) fn new(confidences: &[f64], right: &[bool]) -> Self {
        let mut order: Vec<usize> = (0..confidences.len()).collect();
        order.sort_by(|&a, &b| confidences[a].total_cmp(&confidences[b]));
        let sorted: Vec<f64> = order.iter().map(|&at| confidences[at]).collect();
        let is_end = |at: &usize| sorted.get(*at) != sorted.get(at - 1);
        Self {
            right: order.iter().map(|&at| right[at]).collect(),
            ends: (1..=sorted.len()).filter(is_end).collect(),
            confidences: sorted,
            order,
        }
    }

    /// Number of answers.
    pub(super) fn len(&self) -> usize {
        self.confidences.len()
    }

    /// The levels of confidence, lowest first.
    pub(super) fn levels(&self) -> Vec<Level> {
        self.levels_with(|_| 1)
    }

    /// The levels where the answer at each position of the data counts `weights` times.
    pub(super) fn weighted(&self, weights: &[u32]) -> Vec<Level> {
        self.levels_with(|at| weights[self.order[at]])
    }

    fn levels_with(&self, weight: impl Fn(usize) -> u32) -> Vec<Level> {
        let mut levels = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            let (mut count, mut right) = (0u64, 0u64);
            for at in start..end {
                let weight = u64::from(weight(at));
                count += weight;
                right += weight * u64::from(self.right[at]);
            }
            if count > 0 {
                levels.push(Level {
                    confidence: self.confidences[start],
                    right: right as f64 / count as f64,
                    count,
                });
            }
            start = end;
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_confidences_share_what_is_right() {
        let ranked = Ranked::new(&[0.9, 0.5, 0.9, 0.7], &[true, false, false, true]);
        let level = |confidence, right, count| Level {
            confidence,
            right,
            count,
        };
        assert_eq!(
            ranked.levels(),
            [level(0.5, 0.0, 1), level(0.7, 1.0, 1), level(0.9, 0.5, 2)]
        );
        assert_eq!(ranked.weighted(&[2, 0, 1, 0]), [level(0.9, 2.0 / 3.0, 3)]);
        assert!(Ranked::new(&[], &[]).levels().is_empty());
    }
}
