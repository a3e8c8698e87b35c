//! Finds mistakes that show in the scores alone, without labels.

use super::{Finding, Mistake};
use crate::model::WayBefore;

/// If the two largest logits differ by more than this, the cross-entropy is 0 or nearly 0 in 32-bit floats: `exp(-87)`
/// is their smallest normal number.
const BEYOND_FLOATS: f32 = 87.0;

/// What is known about a model besides its answers.
pub(super) struct About<'a> {
    /// How to get scores from before the layer that saturates them.
    pub(super) way_before: &'a WayBefore,
    /// Whether the model has half-precision weights.
    pub(super) has_halves: bool,
}

/// Looks for mistakes that show in the answers themselves.
pub(super) fn find(answers: &[Vec<f32>], about: &About<'_>) -> Vec<Finding> {
    let share = |fits: &dyn Fn(&[f32]) -> bool| {
        answers.iter().filter(|answer| fits(answer)).count() as f64 / answers.len().max(1) as f64
    };
    let broken = share(&|answer| answer.iter().any(|value| !value.is_finite()));
    if broken > 0.0 {
        let is_logarithm_of_0 = |answer: &[f32]| {
            answer.contains(&f32::NEG_INFINITY)
                && answer
                    .iter()
                    .all(|&value| value.is_finite() || value == f32::NEG_INFINITY)
        };
        let remedy = if share(&is_logarithm_of_0) == broken {
            "the only values that are not finite are -infinity, which is the logarithm of a probability rounded to 0: \
             choose a value before that logarithm as the scores"
        } else if about.has_halves {
            "check the file: weights may have overflowed in the conversion to half precision"
        } else {
            "check the file for an overflow, a division by 0 or a logarithm of 0"
        };
        return vec![Finding {
            mistake: Mistake::NotANumber,
            saw: format!(
                "the scores of {:.0}% of the pictures contain infinities or NaN",
                100.0 * broken
            ),
            matters: "accuracy and attacks mean nothing on such scores",
            remedy: remedy.into(),
            preprocessing: None,
        }];
    }
    let mut findings = Vec::new();
    let sum = |answer: &[f32]| answer.iter().map(|&value| f64::from(value)).sum::<f64>();
    let distribution = |answer: &[f32]| {
        answer.iter().all(|&value| value >= 0.0) && (sum(answer) - 1.0).abs() < 1e-3
    };
    if share(&distribution) == 1.0 {
        findings.push(probabilities(
            "the model's scores are probabilities".to_owned(),
            about,
        ));
    }
    let sure = |answer: &[f32]| margin(answer) > BEYOND_FLOATS;
    let saturated = share(&sure);
    if saturated >= 0.5 {
        findings.push(Finding {
            mistake: Mistake::Saturated,
            saw: format!(
                "for {:.0}% of the pictures, the two largest logits differ by more than {BEYOND_FLOATS}",
                100.0 * saturated
            ),
            matters: "the cross-entropy is then too small for 32-bit floats, and attacks that compare its values look weaker than \
                      they are",
            remedy: "choose the loss margin or dlr, which do not saturate, and check the input range".into(),
            preprocessing: None,
        });
    }
    findings
}

/// The finding that scores saturate.
pub(super) fn probabilities(saw: String, about: &About<'_>) -> Finding {
    Finding {
        mistake: Mistake::Probabilities,
        saw,
        matters: "they hardly change when the model is confident, so gradients vanish and attacks look weaker than they are",
        remedy: match about.way_before {
            WayBefore::Unkept => {
                "use the scores before the softmax: turn off the setting that keeps it".to_owned()
            }
            WayBefore::Value(name) => {
                format!("choose the value before the softmax as the scores: {name:?}")
            }
            WayBefore::Export => "export the model without its softmax".to_owned(),
        },
        preprocessing: None,
    }
}

/// Returns the difference of the two largest logits.
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

/// Finds questions that were answered differently the second time.
pub(super) fn compare(first: &[Vec<f32>], again: &[Vec<f32>]) -> Option<Finding> {
    (first != again).then(|| Finding {
        mistake: Mistake::Random,
        saw: "the model gives a different answer when the same picture is asked again".into(),
        matters: "a random model must be attacked on the average of its answers, and runs are not reproducible",
        remedy: "export the model in evaluation mode, without dropout or random layers".into(),
        preprocessing: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(answers: &[Vec<f32>], way_before: &WayBefore) -> Vec<Finding> {
        let about = About {
            way_before,
            has_halves: false,
        };
        find(answers, &about)
    }

    #[test]
    fn answers_give_themselves_away() {
        let kinds = |answers: &[Vec<f32>]| -> Vec<Mistake> {
            let found = found(answers, &WayBefore::Export);
            found.iter().map(|finding| finding.mistake).collect()
        };
        assert_eq!(kinds(&[vec![2.0, -1.0, 0.5], vec![0.1, 0.2, 0.3]]), []);
        assert_eq!(
            kinds(&[vec![0.25, 0.75], vec![1.0, 0.0]]),
            [Mistake::Probabilities]
        );
        // Sure, but the cross-entropy has a gradient.
        assert_eq!(kinds(&[vec![40.0, 1.0], vec![-3.0, 40.0]]), []);
        assert_eq!(
            kinds(&[vec![90.0, 1.0], vec![-3.0, 140.0]]),
            [Mistake::Saturated]
        );
        assert_eq!(
            kinds(&[vec![f32::NAN, 1.0], vec![0.0, 1.0]]),
            [Mistake::NotANumber]
        );
    }

    /// Half precision is blamed only where it is there, and no advice is what is already done.
    #[test]
    fn the_remedy_is_one_that_there_is() {
        let infinite = [vec![f32::NEG_INFINITY, 0.0], vec![f32::NEG_INFINITY, -1e-3]];
        let remedy = &found(&infinite, &WayBefore::Export)[0].remedy;
        assert!(
            remedy.contains("logarithm") && !remedy.contains("half"),
            "{remedy}"
        );
        let overflown = [vec![f32::NAN, 1.0]];
        let remedy = &found(&overflown, &WayBefore::Export)[0].remedy;
        assert!(!remedy.contains("half"), "{remedy}");
        let about = About {
            way_before: &WayBefore::Export,
            has_halves: true,
        };
        assert!(find(&overflown, &about)[0].remedy.contains("half"));

        let sure = [vec![0.0, 1.0]];
        for (way, says) in [
            (WayBefore::Unkept, "turn off the setting"),
            (WayBefore::Value("z".to_owned()), "as the scores: \"z\""),
            (WayBefore::Export, "export the model"),
        ] {
            let remedy = &found(&sure, &way)[0].remedy;
            assert!(remedy.contains(says), "{remedy}");
        }
    }

    #[test]
    fn other_answers_to_the_same_questions_are_told() {
        let answers = [vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(compare(&answers, &answers), None);
        let again = [vec![1.0, 2.0], vec![3.0, 4.5]];
        assert_eq!(compare(&answers, &again).unwrap().mistake, Mistake::Random);
    }
}
