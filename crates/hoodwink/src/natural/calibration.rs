//! How far confidences are from accuracies.

use super::ranked::Level;

/// Pictures in a bin of equal size; the last takes what is left over. As in Hendrycks et al., "Deep anomaly detection with
/// outlier exposure" (arXiv:1812.04606, appendix) and the script of natural-adv-examples.
const BIN: u64 = 100;

/// Bins of equal width in the expected calibration error, as in Guo et al., "On calibration of modern neural networks"
/// (arXiv:1706.04599, section 2).
const WIDTHS: usize = 15;

/// Calibration errors over bins of equal size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Errors {
    /// Root of the mean square.
    pub(super) rms: f64,
    /// Mean absolute.
    pub(super) mad: f64,
    /// Largest.
    pub(super) max: f64,
}

impl Errors {
    const UNDEFINED: Self = Self {
        rms: f64::NAN,
        mad: f64::NAN,
        max: f64::NAN,
    };

    /// Over all bins; fewer pictures than a bin holds are one bin.
    pub(super) fn of(levels: &[Level]) -> Self {
        Self::over(&bins(levels), total(levels))
    }

    /// Over all bins but the last, as the published script loops. It fails where no bin is full.
    pub(super) fn without_last_bin(levels: &[Level]) -> Self {
        let total = total(levels);
        match bins(levels).split_last() {
            Some((_, rest)) if total >= BIN => Self::over(rest, total),
            _ => Self::UNDEFINED,
        }
    }

    fn over(bins: &[Bin], total: u64) -> Self {
        if total == 0 {
            return Self::UNDEFINED;
        }
        let (mut squares, mut sum, mut max) = (0.0, 0.0, 0.0_f64);
        for bin in bins {
            let (share, gap) = (bin.count as f64 / total as f64, bin.gap());
            squares += share * gap * gap;
            sum += share * gap;
            max = max.max(gap);
        }
        Self {
            rms: squares.sqrt(),
            mad: sum,
            max,
        }
    }
}

/// Sums over the answers in a bin.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    count: u64,
    confidence: f64,
    right: f64,
}

impl Bin {
    fn add(&mut self, level: &Level, count: u64) {
        self.count += count;
        self.confidence += level.confidence * count as f64;
        self.right += level.right * count as f64;
    }

    /// Between mean confidence and accuracy.
    fn gap(&self) -> f64 {
        ((self.confidence - self.right) / self.count as f64).abs()
    }
}

fn total(levels: &[Level]) -> u64 {
    levels.iter().map(|level| level.count).sum()
}

fn bins(levels: &[Level]) -> Vec<Bin> {
    let total = total(levels);
    let count = (total / BIN).max(u64::from(total > 0)) as usize;
    let mut bins = vec![Bin::default(); count];
    let mut done = 0;
    for level in levels {
        let mut left = level.count;
        while left > 0 {
            let at = ((done / BIN) as usize).min(count - 1);
            let room = match at == count - 1 {
                true => left,
                false => (at as u64 + 1) * BIN - done,
            };
            let taken = left.min(room);
            bins[at].add(level, taken);
            (left, done) = (left - taken, done + taken);
        }
    }
    bins
}

/// The expected calibration error over 15 bins of equal width, each closed above.
pub(super) fn expected_error(levels: &[Level]) -> f64 {
    let mut bins = [Bin::default(); WIDTHS];
    for level in levels {
        let at = (level.confidence * WIDTHS as f64).ceil() as usize;
        bins[at.clamp(1, WIDTHS) - 1].add(level, level.count);
    }
    let total = total(levels);
    if total == 0 {
        return f64::NAN;
    }
    let filled = bins.iter().filter(|bin| bin.count > 0);
    filled
        .map(|bin| bin.count as f64 / total as f64 * bin.gap())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(confidence: f64, right: f64, count: u64) -> Level {
        Level {
            confidence,
            right,
            count,
        }
    }

    #[test]
    fn the_last_bin_takes_the_rest_and_the_script_leaves_it_out() {
        // 250 pictures are two bins, of 100 and of 150.
        let levels = [level(0.5, 0.5, 100), level(0.9, 0.4, 150)];
        let all = Errors::of(&levels);
        assert!((all.rms - (0.6f64 * 0.25).sqrt()).abs() < 1e-15);
        assert!((all.mad - 0.3).abs() < 1e-15 && (all.max - 0.5).abs() < 1e-15);
        let nae = Errors::without_last_bin(&levels);
        assert_eq!((nae.rms, nae.mad, nae.max), (0.0, 0.0, 0.0));
    }

    #[test]
    fn few_pictures_are_one_bin_and_none_are_undefined() {
        let few = [level(0.75, 0.25, 3)];
        assert!((Errors::of(&few).rms - 0.5).abs() < 1e-15);
        assert!(Errors::without_last_bin(&few).rms.is_nan());
        assert!(Errors::of(&[]).rms.is_nan() && expected_error(&[]).is_nan());
    }

    #[test]
    fn widths_are_closed_above() {
        // 0.2 ends the third of fifteen bins, so both levels share it.
        let levels = [level(0.2, 0.0, 1), level(0.15, 1.0, 1)];
        assert!((expected_error(&levels) - (0.5 - 0.175)).abs() < 1e-15);
        assert!((expected_error(&[level(0.0, 1.0, 2)]) - 1.0).abs() < 1e-15);
    }
}
