//! Finds labels that stand for other classes: shifted by one, or in another order.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Explained, Finding, Mistake,
    knowledge::{is_better, percent, prediction, rights},
};

const MATTERS: &str = "pictures that the model classifies correctly count as mistakes, and attacks start from the wrong class";

const REORDER: &str = "put the labels into the order of the model's classes: give the names of its classes and name the \
                       folders after them, or write a labels.csv";

/// Looks for a shift or another order of the labels that explains the predictions better.
pub(super) fn find(answers: &[Vec<f32>], labels: &[usize]) -> Option<Explained> {
    let now = rights(answers, labels);
    let majority = by_majority(answers, labels);
    let shifted = [1, -1].into_iter().find_map(|by| {
        let moved: Vec<bool> = (answers.iter().zip(labels))
            .map(|(answer, &label)| label.checked_add_signed(by) == Some(prediction(answer)))
            .collect();
        // Under another order, some labels look shifted by chance.
        let explains = percent(&moved) > 2.0 * percent(&now).max(0.4 * percent(&majority));
        (is_better(&now, &moved) && explains).then_some((by, moved))
    });
    if let Some((by, moved)) = shifted {
        let finding = Finding {
            mistake: Mistake::Labels,
            saw: format!(
                "the model predicts the class {} the label for {:.1}% of {} pictures, and the label for {:.1}%",
                if by > 0 { "after" } else { "before" },
                percent(&moved),
                moved.len(),
                percent(&now)
            ),
            matters: MATTERS,
            remedy: if by > 0 {
                "add 1 to every label: class 0 of the model may be the background".into()
            } else {
                "subtract 1 from every label: labels count from 0".into()
            },
            preprocessing: None,
        };
        return Some(Explained {
            finding,
            percent: percent(&moved),
            preprocessing: None,
        });
    }
    let moved = majority;
    if !is_better(&now, &moved) || percent(&moved) < 2.0 * percent(&now) {
        return None;
    }
    let finding = Finding {
        mistake: Mistake::Labels,
        saw: format!(
            "most pictures of a label are classified as one other class ({}): the model would be right on {:.1}% of {} pictures \
             if the labels stood for those classes, instead of {:.1}%",
            examples(answers, labels),
            percent(&moved),
            moved.len(),
            percent(&now)
        ),
        matters: MATTERS,
        remedy: REORDER.into(),
        preprocessing: None,
    };
    Some(Explained {
        finding,
        percent: percent(&moved),
        preprocessing: None,
    })
}

/// Finds signs of labels in another order if there are too few pictures of each label for a majority: the model
/// predicts many different classes, but none of them is the label. A model with wrong inputs predicts only a few
/// classes.
pub(super) fn suspect(answers: &[Vec<f32>], labels: &[usize]) -> Option<Finding> {
    let distinct =
        |classes: &mut dyn Iterator<Item = usize>| classes.collect::<BTreeSet<_>>().len();
    let meant = distinct(&mut labels.iter().copied());
    let predicted = distinct(&mut answers.iter().map(|answer| prediction(answer)));
    let (few_of_each, many_classes) = (labels.len() < 4 * meant, meant >= 20);
    (few_of_each && many_classes && 10 * predicted >= 8 * meant).then(|| Finding {
        mistake: Mistake::Labels,
        saw: format!(
            "the model is right on {:.1}% of {} pictures, although it predicts {predicted} different classes for the {meant} \
             labels",
            percent(&rights(answers, labels)),
            labels.len()
        ),
        matters: MATTERS,
        remedy: REORDER.into(),
        preprocessing: None,
    })
}

/// Returns, for each picture, whether its prediction is the one that most other pictures of its label get. If pictures
/// of several labels get the same prediction, only the label with most of them counts: a model that predicts one class
/// for everything is no sign of swapped labels.
fn by_majority(answers: &[Vec<f32>], labels: &[usize]) -> Vec<bool> {
    let counts = counts(answers, labels);
    let mut claims: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (&label, classes) in &counts {
        for (&class, &count) in classes {
            let claim = claims.entry(class).or_insert((label, count));
            if count > claim.1 {
                *claim = (label, count);
            }
        }
    }
    (answers.iter().zip(labels))
        .map(|(answer, label)| {
            let own = prediction(answer);
            // The picture itself does not vote; otherwise each would confirm itself.
            let others = counts[label]
                .iter()
                .map(|(&class, &count)| (class, count - usize::from(class == own)));
            let most = others.clone().map(|(_, count)| count).max().unwrap_or(0);
            let mut winners = others.filter(|&(_, count)| count == most && most > 0);
            let is_own =
                winners.next().is_some_and(|(class, _)| class == own) && winners.next().is_none();
            is_own
                && claims
                    .get(&own)
                    .is_some_and(|(claimant, _)| claimant == label)
        })
        .collect()
}

/// Counts how often the pictures of each label get each prediction.
fn counts(answers: &[Vec<f32>], labels: &[usize]) -> BTreeMap<usize, BTreeMap<usize, usize>> {
    let mut counts: BTreeMap<usize, BTreeMap<usize, usize>> = BTreeMap::new();
    for (answer, &label) in answers.iter().zip(labels) {
        *counts
            .entry(label)
            .or_default()
            .entry(prediction(answer))
            .or_default() += 1;
    }
    counts
}

/// Describes two labels with their most frequent predictions.
fn examples(answers: &[Vec<f32>], labels: &[usize]) -> String {
    let mostly = counts(answers, labels)
        .into_iter()
        .filter_map(|(label, classes)| {
            let (class, _) = classes.into_iter().max_by_key(|&(_, count)| count)?;
            (class != label).then(|| format!("label {label} as class {class}"))
        });
    mostly.take(2).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of ten classes that is wrong on every tenth picture, with changed labels.
    fn seen(change: impl Fn(usize) -> usize) -> Option<String> {
        let labels: Vec<usize> = (0..120).map(|at| change(at % 10)).collect();
        let answers: Vec<Vec<f32>> = (0..120)
            .map(|at| {
                let class = if at % 11 == 0 { (at * 7) % 10 } else { at % 10 };
                (0..10)
                    .map(|own| f32::from(u8::from(own == class)))
                    .collect()
            })
            .collect();
        find(&answers, &labels).map(|found| found.finding.saw)
    }

    #[test]
    fn shifted_and_permuted_labels_are_told_apart() {
        assert_eq!(seen(|class| class), None);
        assert!(
            seen(|class| class + 1)
                .unwrap()
                .contains("the class before")
        );
        assert!(
            seen(|class| (class + 9) % 10)
                .unwrap()
                .contains("the class after")
        );
        assert!(
            seen(|class| 9 - class)
                .unwrap()
                .contains("label 0 as class 9")
        );
        // Two swapped classes look like a model that confuses them.
        assert_eq!(seen(|class| [1, 0, 2, 3, 4, 5, 6, 7, 8, 9][class]), None);
    }

    #[test]
    fn single_pictures_with_foreign_labels_are_suspect() {
        // A hundred pictures of a hundred classes.
        let answers = |class: fn(usize) -> usize| -> Vec<Vec<f32>> {
            (0..100)
                .map(|at| {
                    (0..100)
                        .map(|own| f32::from(u8::from(own == class(at))))
                        .collect()
                })
                .collect()
        };
        let labels: Vec<usize> = (0..100).collect();
        let found = suspect(&answers(|at| 99 - at), &labels).unwrap();
        assert!(found.saw.contains("right on 0.0% of 100"), "{}", found.saw);
        // One that sees few classes everywhere is given wrong inputs.
        assert_eq!(suspect(&answers(|at| at % 40), &labels), None);
        // With many pictures of each the majority would tell.
        let ten: Vec<usize> = (0..100).map(|at| at % 10).collect();
        assert_eq!(suspect(&answers(|at| (at + 3) % 10), &ten), None);
    }
}
