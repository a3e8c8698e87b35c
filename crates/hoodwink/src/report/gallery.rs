//! Selects the examples that the report shows, and describes each.

use std::collections::{BTreeMap, BTreeSet};

use super::chart::{Spark, spark, tidy};
use super::page::{Names, confidence};
use super::pictures::{Perturbation, Shown, perturbation, sign_map};
use super::places::without_folders;
use crate::counted::counted;
use crate::error::Result;
use crate::image::Picture;
use crate::results::text::{distance, symbol};
use crate::results::{NoiseSeen, Outcome, Row, Run, RunFolder, Seen, Verdict};
use crate::threat::Eps;

/// Maximum number of examples in the report.
const EXAMPLES: usize = 12;

/// Total size of pictures in the page, in bytes, above which no further example is added.
const PICTURE_BYTES: usize = 480 << 10;

/// One fooled picture: *original + size × perturbation = adversarial picture*, all from saved files, and the attack's
/// cost.
pub(super) struct Example {
    pub(super) index: u64,
    pub(super) file: String,
    /// `true class cat`, or `true class 3` if classes have no names.
    pub(super) truth: String,
    pub(super) target: Option<String>,
    pub(super) attack: String,
    /// `None` if the attack looked for the smallest distance.
    pub(super) eps: Option<String>,
    pub(super) original: Term,
    /// The largest change of a value: `8/255`.
    pub(super) size: String,
    /// The perturbation, divided by its own size.
    pub(super) noise: Term,
    pub(super) adversarial: Term,
    pub(super) loss: Option<Loss>,
    pub(super) norms: Vec<(&'static str, String)>,
    /// The outcome for the saved file, as a sentence.
    pub(super) verdict: String,
    /// A smaller eps at which the attack already found the picture.
    pub(super) found_at: Option<String>,
    pub(super) gradients: u64,
    pub(super) queries: u64,
    /// The number of gradients and its relation to the recorded losses, as a clause.
    pub(super) effort: String,
}

/// A picture with the model's answer to it; texts are empty if the model was not asked.
pub(super) struct Term {
    pub(super) picture: Shown,
    /// The full picture.
    pub(super) exact: Picture,
    pub(super) label: String,
    pub(super) confidence: String,
    /// The confidence in percent, as the length of a bar.
    pub(super) percent: f32,
    /// `right`, `wrong`, or `plain` if neither applies.
    pub(super) colour: &'static str,
}

/// The loss during the attack.
pub(super) struct Loss {
    pub(super) line: Spark,
    /// The number of recorded values.
    pub(super) points: usize,
    pub(super) first: String,
    pub(super) last: String,
}

/// Returns the rows to show, best first: pictures fooled at `eps` (by the attack with this recipe, if one is given),
/// wrong answers with the highest confidence first, one per sample, and no second example of a true class before every
/// class has one.
pub(super) fn choose<'a>(rows: &'a [Row], eps: Option<&str>, recipe: Option<&str>) -> Vec<&'a Row> {
    let verdict = |row: &Row| row.saved.filter(|_| row.picture.is_some());
    let mut candidates: Vec<(&Row, Verdict)> = rows
        .iter()
        .filter(|row| row.eps_text() == eps && row.outcome == Outcome::Fooled)
        .filter(|row| recipe.is_none_or(|recipe| row.recipe == recipe))
        .filter_map(|row| Some((row, verdict(row)?)))
        .collect();
    // The sort is stable: ties keep the order of the attacks and samples.
    candidates.sort_by(|(_, a), (_, b)| {
        let key = |v: &Verdict| (v.success, v.seen.confidence);
        key(b).0.cmp(&key(a).0).then(key(b).1.total_cmp(&key(a).1))
    });
    let mut samples = BTreeSet::new();
    candidates.retain(|(row, _)| samples.insert(row.index));
    let mut turn: BTreeMap<u32, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, &Row)> = Vec::new();
    for (row, _) in candidates {
        let taken = turn.entry(row.label).or_default();
        ranked.push((*taken, row));
        *taken += 1;
    }
    ranked.sort_by_key(|(turn, _)| *turn);
    ranked.truncate(EXAMPLES);
    ranked.into_iter().map(|(_, row)| row).collect()
}

/// Finds the row that produced each picture: the row itself, or one at a smaller eps that shares its picture.
pub(super) struct Stories<'a>(BTreeMap<(u64, &'a str, Option<&'a str>), &'a Row>);

impl<'a> Stories<'a> {
    pub(super) fn of(rows: &'a [Row]) -> Self {
        let effort = |row: &Row| (row.loss.len(), row.gradients, row.queries);
        let mut told: BTreeMap<_, &Row> = BTreeMap::new();
        for row in rows {
            let key = (row.index, &*row.recipe, row.picture.as_deref());
            let known = told.entry(key).or_insert(row);
            if effort(row) > effort(known) {
                *known = row;
            }
        }
        Self(told)
    }

    /// Returns the row that produced the picture of this one.
    pub(super) fn told<'b>(&self, row: &'b Row) -> &'b Row
    where
        'a: 'b,
    {
        let key = (row.index, &*row.recipe, row.picture.as_deref());
        self.0.get(&key).copied().unwrap_or(row)
    }

    /// Returns, of the rows to show, the one for the key stages: the first with recorded losses, preferably with
    /// gradients.
    pub(super) fn staged(&self, chosen: &[&'a Row]) -> Option<&'a Row> {
        let story = |row: &&'a Row| {
            let told = self.told(row);
            (spark(&told.loss).is_some(), told.gradients > 0)
        };
        // `max_by_key` would return the last of several equal rows; the first is wanted.
        chosen.iter().copied().rev().max_by_key(story)
    }
}

/// Returns the examples of these rows, as many as keep the page small. `noise` holds the model's answers to
/// perturbations alone, as far as they are known.
pub(super) fn examples<'a>(
    folder: &RunFolder,
    stories: &Stories<'a>,
    chosen: &[&'a Row],
    noise: &[NoiseSeen],
) -> Result<Vec<Example>> {
    let mut bytes = 0;
    let mut examples = Vec::new();
    for row in chosen {
        let Some(example) = example(folder, stories, row, noise)? else {
            continue;
        };
        let shown = [&example.original, &example.noise, &example.adversarial];
        bytes += shown
            .map(|term| term.picture.address.len())
            .iter()
            .sum::<usize>();
        if bytes > PICTURE_BYTES && !examples.is_empty() {
            break;
        }
        examples.push(example);
    }
    Ok(examples)
}

/// Returns the example of one row; `None` without a saved picture.
pub(super) fn example<'a>(
    folder: &RunFolder,
    stories: &Stories<'a>,
    row: &'a Row,
    noise: &[NoiseSeen],
) -> Result<Option<Example>> {
    let (Some(path), Some(saved)) = (&row.picture, row.saved) else {
        return Ok(None);
    };
    let (run, index) = (folder.run(), row.index);
    let names = Names::of_run(run);
    let original_path = RunFolder::original(index);
    let original = folder.read_picture(&original_path)?;
    let adversarial = folder.read_picture(path)?;
    let Perturbation { picture, size } = perturbation(&original, &adversarial)?;
    // An earlier version asked about the sign map.
    let is_signs = picture == sign_map(&original, &adversarial)?;
    let answer = noise.iter().find(|answer| answer.is_of(row));
    let noise = match answer {
        Some(answer) => (answer.scaled || is_signs).then(|| answer.seen()),
        None => row.noise.filter(|_| is_signs),
    };
    let term =
        |picture: &Picture, what: &str, seen: Option<Seen>, file: Option<&str>, judged: bool| {
            let label = seen.map_or(String::new(), |seen| names.of(seen.label));
            let answer = match seen {
                Some(_) => format!("; the model says: {label}"),
                None => String::new(),
            };
            let alt = format!("{what} of sample {index}{answer}");
            Term {
                picture: Shown::new(picture, alt, file.map(str::to_owned)),
                exact: picture.clone(),
                label,
                confidence: seen.map_or(String::new(), |seen| confidence(seen.confidence)),
                percent: seen.map_or(0.0, |seen| 100.0 * seen.confidence),
                colour: match seen {
                    Some(seen) if judged => colour(seen, row),
                    _ => "plain",
                },
            }
        };
    let told = stories.told(row);
    let found_at = match told.eps_text() {
        eps if eps == row.eps_text() => None,
        eps => eps.map(str::to_owned),
    };
    Ok(Some(Example {
        index,
        file: file(run, &row.file),
        truth: names.label(row.label),
        target: row.target.map(|target| names.of(target)),
        attack: run.shown_of(&row.recipe),
        eps: row.eps_text().map(str::to_owned),
        original: term(
            &original,
            "Original picture",
            Some(row.clean),
            Some(&original_path),
            true,
        ),
        size: format!("{size}/255"),
        noise: term(&picture, "Perturbation", noise, None, false),
        adversarial: term(
            &adversarial,
            "Adversarial picture",
            Some(saved.seen),
            Some(path),
            true,
        ),
        loss: loss(&told.loss),
        norms: vec![
            ("L∞", distance("linf", saved.norms.linf)),
            ("L2", tidy(saved.norms.l2)),
            ("L1", tidy(saved.norms.l1)),
            (
                "L0",
                format!("{} of {}", saved.norms.l0, original.bytes().len()),
            ),
        ],
        verdict: verdict(&names, row, saved),
        found_at,
        gradients: told.gradients,
        queries: told.queries,
        effort: effort(told),
    }))
}

/// Returns the style class for an answer; correct answers are never red.
pub(super) fn colour(seen: Seen, row: &Row) -> &'static str {
    match seen.label == row.label {
        true => "right",
        false => "wrong",
    }
}

/// Returns a sample's file, relative to the folder of its data.
pub(super) fn file(run: &Run, file: &str) -> String {
    let inside = file
        .strip_prefix(&run.data.path)
        .map(|rest| rest.trim_start_matches(['/', '\\']));
    match inside {
        Some(inside) if !inside.is_empty() => inside.to_owned(),
        _ => without_folders(file),
    }
}

/// Describes the outcome for the saved picture.
fn verdict(names: &Names, row: &Row, saved: Verdict) -> String {
    let called = || names.of(saved.seen.label);
    match (saved.success, row.target) {
        (true, None) => "The saved PNG still fools the model.".to_owned(),
        (true, Some(_)) => "The saved PNG is still classified as the target.".to_owned(),
        (false, _) if saved.seen.label == row.label => {
            "Rounding to 8 bits undid the attack: the model is right about the saved PNG."
                .to_owned()
        }
        (false, Some(_)) => format!(
            "The saved PNG is classified as {}, which is not the target.",
            called()
        ),
        (false, None) => format!(
            "The saved PNG is classified as {}, but it is outside the allowed distance.",
            called()
        ),
    }
}

/// Describes the cost of an attack, and where its losses come from.
fn effort(row: &Row) -> String {
    let gradients = counted(row.gradients as usize, "gradient", "gradients");
    match (row.gradients, row.loss.len() as u64) {
        (0, _) => "without gradients".to_owned(),
        (_, 0) => format!("{gradients}; no loss was recorded"),
        (spent, points) if spent == points => {
            format!("{gradients}, each with the loss at its point")
        }
        (spent, points) if spent + 1 == points => {
            format!("{gradients}, and a final query for the result")
        }
        (_, points) => format!(
            "{gradients} in total; the loss is from the restart that produced the picture, at {}",
            counted(points as usize, "point", "points")
        ),
    }
}

fn loss(values: &[f32]) -> Option<Loss> {
    let number = |value: f32| tidy(f64::from(value));
    Some(Loss {
        line: spark(values)?,
        points: values.len(),
        first: number(*values.first()?),
        last: number(*values.last()?),
    })
}

/// Describes what the norm and eps allow: the line below the gallery's title.
pub(super) fn explanation(run: &Run, eps: Option<&str>) -> String {
    let norm = run.threat.norm.as_str();
    let Some(eps) = eps else {
        return format!(
            "The attack looked for the smallest change, measured in {}, that turns the answer. The model is therefore \
             seldom sure of its wrong answers, and rounding to 8 bits may undo one.",
            symbol(norm)
        );
    };
    let radius = eps.parse::<Eps>().map_or(0.0, |eps| eps.value());
    match norm {
        "linf" => format!(
            "Each channel value of each pixel was allowed to move by at most {eps} of the scale from black to white, \
             that is {} of 255 levels.",
            tidy(255.0 * radius)
        ),
        "l0" => format!(
            "At most {eps} channel values of a picture were allowed to change, by any amount."
        ),
        norm => format!(
            "All changes together were allowed a length of at most {eps} ({}), on a scale where black is 0 and \
             white is 1.",
            symbol(norm)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::example::{already_wrong, fooled, recipe, robust};

    fn sure(mut row: Row, label: u32, confidence: f32) -> Row {
        row.label = label;
        for verdict in [&mut row.float, &mut row.saved] {
            verdict.as_mut().unwrap().seen.confidence = confidence;
        }
        row
    }

    #[test]
    fn the_surest_come_first_and_every_class_gets_a_turn() {
        let rows = [
            sure(fooled(0, "pgd", "8/255"), 0, 0.9),
            sure(fooled(1, "pgd", "8/255"), 0, 0.8),
            sure(fooled(2, "pgd", "8/255"), 1, 0.5),
            sure(fooled(2, "fgsm", "8/255"), 1, 0.6),
            sure(fooled(3, "pgd", "4/255"), 2, 1.0),
            robust(4, "pgd", "8/255"),
            already_wrong(5, "pgd", "8/255"),
        ];
        let chosen: Vec<_> = choose(&rows, Some("8/255"), None)
            .into_iter()
            .map(|row| (row.index, row.attack.as_str()))
            .collect();
        assert_eq!(chosen, [(0, "pgd"), (2, "fgsm"), (1, "pgd")]);
        let by_fgsm = recipe("fgsm");
        assert_eq!(choose(&rows, Some("8/255"), Some(&by_fgsm)), [&rows[3]]);
    }

    #[test]
    fn the_story_is_told_by_the_row_that_found_the_picture() {
        let found = fooled(0, "pgd", "4/255");
        let shared = Row {
            loss: Vec::new(),
            gradients: 0,
            queries: 0,
            picture: found.picture.clone(),
            ..fooled(0, "pgd", "8/255")
        };
        let silent = Row {
            loss: Vec::new(),
            ..fooled(1, "pgd", "8/255")
        };
        let rows = [found, shared, silent];
        let stories = Stories::of(&rows);
        assert_eq!(stories.told(&rows[1]), &rows[0]);
        assert_eq!(stories.told(&rows[2]), &rows[2]);
        assert_eq!(stories.staged(&[&rows[2], &rows[1]]), Some(&rows[1]));
        assert_eq!(stories.staged(&[&rows[1], &rows[0]]), Some(&rows[1]));
        assert_eq!(stories.staged(&[&rows[2]]), Some(&rows[2]));
        assert_eq!(stories.staged(&[]), None);
    }

    #[test]
    fn gradients_and_losses_agree() {
        for (gradients, points, says) in [
            (0, 0, "without gradients"),
            (3, 3, "3 gradients, each with the loss at its point"),
            (1, 2, "1 gradient, and a final query for the result"),
            (
                30,
                11,
                "30 gradients in total; the loss is from the restart that produced the picture, at 11 points",
            ),
            (5, 0, "5 gradients; no loss was recorded"),
        ] {
            let row = Row {
                gradients,
                loss: vec![1.0; points],
                ..fooled(0, "pgd", "8/255")
            };
            assert_eq!(effort(&row), says);
        }
    }

    #[test]
    fn there_are_at_most_twelve() {
        let rows: Vec<Row> = (0..40).map(|index| fooled(index, "pgd", "8/255")).collect();
        assert_eq!(choose(&rows, Some("8/255"), None).len(), EXAMPLES);
    }

    #[test]
    fn a_picture_that_survives_saving_goes_before_one_that_does_not() {
        let mut lost = sure(fooled(0, "pgd", "8/255"), 0, 0.99);
        lost.saved.as_mut().unwrap().success = false;
        let kept = sure(fooled(1, "pgd", "8/255"), 0, 0.4);
        let rows = [lost, kept];
        assert_eq!(choose(&rows, Some("8/255"), None)[0].index, 1);
    }
}
