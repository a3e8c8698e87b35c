//! Whether a model knows when it is right.

use super::ranked::Level;

/// Area under the response rate accuracy curve: the mean, over all k, of the accuracy among the k surest answers
/// (Hendrycks et al., arXiv:1907.07174, section 4.2).
pub(super) fn aurra(levels: &[Level]) -> f64 {
    let (mut answered, mut right, mut sum) = (0.0, 0.0, 0.0);
    for level in levels.iter().rev() {
        for _ in 0..level.count {
            answered += 1.0;
            right += level.right;
            sum += right / answered;
        }
    }
    sum / answered
}

/// F1 of "the model is wrong", where an answer says so by one minus its confidence (arXiv:1907.07174's script).
/// Undefined without wrong answers, as there is nothing to find.
pub(super) fn soft_f1(levels: &[Level]) -> f64 {
    let (mut found, mut claimed, mut wrong) = (0.0, 0.0, 0.0);
    for level in levels {
        let (count, doubt, miss) = (
            level.count as f64,
            1.0 - level.confidence,
            1.0 - level.right,
        );
        found += count * doubt * miss;
        claimed += count * doubt;
        wrong += count * miss;
    }
    match wrong > 0.0 {
        true => 2.0 * found / (claimed + wrong),
        false => f64::NAN,
    }
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
    fn the_surest_are_answered_first() {
        let levels = [level(0.2, 0.0, 1), level(0.8, 1.0, 1)];
        assert!((aurra(&levels) - f64::midpoint(1.0, 0.5)).abs() < 1e-15);
        // Tied answers count by their share: 0.5 at each k.
        assert!((aurra(&[level(0.6, 0.5, 4)]) - 0.5).abs() < 1e-15);
        assert!(aurra(&[]).is_nan());
        assert_eq!(aurra(&[level(0.4, 0.0, 3)]), 0.0);
    }

    #[test]
    fn doubt_in_wrong_answers_is_found() {
        // Doubts 0.75 in a wrong answer and 0.25 in a right one.
        let levels = [level(0.25, 0.0, 1), level(0.75, 1.0, 1)];
        assert!((soft_f1(&levels) - 1.5 / 2.0).abs() < 1e-15);
        assert!(soft_f1(&[level(0.5, 1.0, 3)]).is_nan());
        assert_eq!(soft_f1(&[level(1.0, 0.0, 2)]), 0.0);
    }
}
