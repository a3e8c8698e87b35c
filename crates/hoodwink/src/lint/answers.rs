//! What answers give away by themselves, whatever the labels.

use super::{Finding, Mistake};

/// From this distance of the two largest logits on, the confidence is 1 in 32-bit floats.
const SURE: f32 = 17.0;

/// What the answers themselves give away.
pub(super) fn find(answers: &[Vec<f32>]) -> Vec<Finding> {
    let share = |fits: &dyn Fn(&[f32]) -> bool| {
        answers.iter().filter(|answer| fits(answer)).count() as f64 / answers.len().max(1) as f64
    };
    let broken = share(&|answer| answer.iter().any(|value| !value.is_finite()));
    if broken > 0.0 {
        return vec![Finding {
            mistake: Mistake::NotANumber,
            saw: format!("for {:.0}% of the pictures the model answers with infinities or NaN", 100.0 * broken),
            matters: "no attack and no accuracy means anything on such answers",
            remedy: "check the file: weights may have overflowed when they were converted to half precision".into(),
        }];
    }
    let mut findings = Vec::new();
    let sum = |answer: &[f32]| answer.iter().map(|&value| f64::from(value)).sum::<f64>();
    let distribution = |answer: &[f32]| {
        answer.iter().all(|&value| value >= 0.0) && (sum(answer) - 1.0).abs() < 1e-3
    };
    if share(&distribution) == 1.0 {
        findings.push(Finding {
            mistake: Mistake::Probabilities,
            saw: "every answer is a list of probabilities, and no final softmax was found to see through".into(),
            matters: "losses take a softmax of their own, whose gradients are then far too small: attacks look weaker than they are",
            remedy: "export the model without its softmax, or choose the value before it with --scores NAME".into(),
        });
    }
    let sure = |answer: &[f32]| margin(answer) > SURE;
    let saturated = share(&sure);
    if saturated >= 0.5 {
        findings.push(Finding {
            mistake: Mistake::Saturated,
            saw: format!("for {:.0}% of the pictures the confidence is exactly 1 in 32-bit floats", 100.0 * saturated),
            matters: "the gradient of the cross-entropy vanishes there, which makes gradient attacks look weaker than they are",
            remedy: "use a loss that no softmax saturates: --loss margin or --loss dlr".into(),
        });
    }
    findings
}

/// The distance of the two largest logits.
fn margin(answer: &[f32]) -> f32 {
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &value in answer {
        if value > first {
            (first, second) = (value, first);
        } else if value > second {
            second = value;
        }
    }
    first - second
}

/// That the same questions, asked twice, had different answers.
pub(super) fn compare(first: &[Vec<f32>], again: &[Vec<f32>]) -> Option<Finding> {
    (first != again).then(|| Finding {
        mistake: Mistake::Random,
        saw: "the model answers the same question differently when it is asked again".into(),
        matters: "a random model must be attacked on the average of its answers, and no run can be repeated",
        remedy: "export it in evaluation mode, without dropout or random layers".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_give_themselves_away() {
        let kinds = |answers: &[Vec<f32>]| -> Vec<Mistake> {
            find(answers)
                .iter()
                .map(|finding| finding.mistake)
                .collect()
        };
        assert_eq!(kinds(&[vec![2.0, -1.0, 0.5], vec![0.1, 0.2, 0.3]]), []);
        assert_eq!(
            kinds(&[vec![0.25, 0.75], vec![1.0, 0.0]]),
            [Mistake::Probabilities]
        );
        assert_eq!(
            kinds(&[vec![90.0, 1.0], vec![-3.0, 40.0]]),
            [Mistake::Saturated]
        );
        assert_eq!(
            kinds(&[vec![f32::NAN, 1.0], vec![0.0, 1.0]]),
            [Mistake::NotANumber]
        );
    }

    #[test]
    fn other_answers_to_the_same_questions_are_told() {
        let answers = [vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(compare(&answers, &answers), None);
        let again = [vec![1.0, 2.0], vec![3.0, 4.5]];
        assert_eq!(compare(&answers, &again).unwrap().mistake, Mistake::Random);
    }
}
