//! Which examples the report shows, and what it says about each.

use std::collections::{BTreeMap, BTreeSet};

use super::chart::{Spark, spark, tidy};
use super::page::{Names, confidence};
use super::pictures::{Shown, difference, is_one_step, sign_map};
use crate::error::Result;
use crate::results::text::{distance, symbol};
use crate::results::{NoiseSeen, Outcome, Row, Run, RunFolder, Seen, Verdict};
use crate::threat::Eps;

/// Examples in the report, at most.
const EXAMPLES: usize = 12;

/// Bytes of pictures in the page beyond which no further example is taken.
const PICTURE_BYTES: usize = 7 << 20;

/// One fooled picture: *original + eps × sign map = adversarial picture*, and the figures behind it.
pub(super) struct Example {
    pub(super) index: u64,
    pub(super) file: String,
    pub(super) truth: String,
    pub(super) target: Option<String>,
    pub(super) attack: String,
    /// `None` where the attack looked for the smallest distance.
    pub(super) eps: Option<String>,
    pub(super) original: Term,
    /// What stands between the original and the sign map: `8/255 ×`, or `δ` where no one number does.
    pub(super) factor: String,
    pub(super) noise: Term,
    /// `=` if the sum is exact, `≈` if the attack moved values by less than eps too.
    pub(super) equals: &'static str,
    pub(super) adversarial: Term,
    pub(super) difference: Shown,
    pub(super) amplified: u8,
    pub(super) loss: Option<Loss>,
    pub(super) norms: Vec<(&'static str, String)>,
    /// Whether the 8-bit PNG still fools the model.
    pub(super) still_fooled: bool,
    pub(super) gradients: u64,
    pub(super) queries: u64,
}

/// A picture with the model's answer to it; without words where it was not asked.
pub(super) struct Term {
    pub(super) picture: Shown,
    pub(super) label: String,
    pub(super) confidence: String,
    /// The confidence in percent, as the length of a bar.
    pub(super) percent: f32,
}

/// The loss on the way.
pub(super) struct Loss {
    pub(super) line: Spark,
    pub(super) steps: usize,
    pub(super) first: String,
    pub(super) last: String,
}

/// The rows to show, best first: fooled at `eps` (by the attack with this recipe, if one is given), surest wrong answer
/// first, one per sample, and no second example of a true class before every class has had its first.
pub(super) fn choose<'a>(rows: &'a [Row], eps: Option<&str>, recipe: Option<&str>) -> Vec<&'a Row> {
    let verdict = |row: &Row| row.saved.filter(|_| row.picture.is_some());
    let mut candidates: Vec<(&Row, Verdict)> = rows
        .iter()
        .filter(|row| row.eps_text() == eps && row.outcome == Outcome::Fooled)
        .filter(|row| recipe.is_none_or(|recipe| row.recipe == recipe))
        .filter_map(|row| Some((row, verdict(row)?)))
        .collect();
    // The sort is stable: ties stay in the order of the attacks and samples.
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

/// The examples of these rows, as many as keep the page small.
/// `noise` is what the model sees in the noise alone, of as many of them as are known.
pub(super) fn examples(
    folder: &RunFolder,
    names: &Names,
    rows: &[&Row],
    noise: &[NoiseSeen],
) -> Result<Vec<Example>> {
    let mut bytes = 0;
    let mut examples = Vec::new();
    for row in rows {
        let (Some(path), Some(saved)) = (&row.picture, row.saved) else {
            continue;
        };
        let answer = noise.iter().find(|answer| answer.is_of(row));
        let noise = answer.map(NoiseSeen::seen).or(row.noise);
        let example = example(folder, names, row, path, saved, noise)?;
        let shown = [
            &example.original.picture,
            &example.noise.picture,
            &example.adversarial.picture,
            &example.difference,
        ];
        bytes += shown
            .map(|picture| picture.address.len())
            .iter()
            .sum::<usize>();
        if bytes > PICTURE_BYTES && !examples.is_empty() {
            break;
        }
        examples.push(example);
    }
    Ok(examples)
}

fn example(
    folder: &RunFolder,
    names: &Names,
    row: &Row,
    path: &str,
    saved: Verdict,
    noise: Option<Seen>,
) -> Result<Example> {
    let index = row.index;
    let original = folder.read_picture(&RunFolder::original(index))?;
    let adversarial = folder.read_picture(path)?;
    let map = sign_map(&original, &adversarial)?;
    let (amplified_difference, amplified) = difference(&original, &adversarial)?;
    let norm = folder.run().threat.norm.as_str();
    let levels = row.eps.as_ref().filter(|_| norm == "linf");
    let is_exact = |eps: &Eps| is_one_step(&original, &adversarial, 255.0 * eps.value());
    let exact = levels.is_some_and(is_exact);
    let term = |picture, what: &str, seen: Option<Seen>| {
        let label = seen.map_or(String::new(), |seen| names.of(seen.label));
        let answer = match seen {
            Some(_) => format!("; the model sees: {label}"),
            None => String::new(),
        };
        let alt = format!("{what} of sample {index}{answer}");
        Term {
            picture: Shown::new(picture, alt),
            label,
            confidence: seen.map_or(String::new(), |seen| confidence(seen.confidence)),
            percent: seen.map_or(0.0, |seen| 100.0 * seen.confidence),
        }
    };
    Ok(Example {
        index,
        file: row.file.clone(),
        truth: names.of(row.label),
        target: row.target.map(|target| names.of(target)),
        attack: folder.run().shown_of(&row.recipe),
        eps: row.eps_text().map(str::to_owned),
        original: term(&original, "Original picture", Some(row.clean)),
        factor: levels.map_or("δ".to_owned(), |eps| format!("{eps} ×")),
        noise: term(&map, "Sign map of the perturbation", noise),
        equals: if exact { "=" } else { "≈" },
        adversarial: term(&adversarial, "Adversarial picture", Some(saved.seen)),
        difference: Shown::new(
            &amplified_difference,
            format!(
                "Difference of the two pictures of sample {index}, {amplified} times amplified"
            ),
        ),
        amplified,
        loss: loss(&row.loss),
        norms: vec![
            ("L∞", distance("linf", saved.norms.linf)),
            ("L2", tidy(saved.norms.l2)),
            ("L1", tidy(saved.norms.l1)),
            (
                "L0",
                format!("{} of {}", saved.norms.l0, original.bytes().len()),
            ),
        ],
        still_fooled: saved.success,
        gradients: row.gradients,
        queries: row.queries,
    })
}

fn loss(values: &[f32]) -> Option<Loss> {
    let number = |value: f32| tidy(f64::from(value));
    Some(Loss {
        line: spark(values)?,
        steps: values.len(),
        first: number(*values.first()?),
        last: number(*values.last()?),
    })
}

/// What the norm and eps allow: the line under the gallery's title.
pub(super) fn explanation(run: &Run, eps: Option<&str>) -> String {
    let norm = run.threat.norm.as_str();
    let Some(eps) = eps else {
        return format!(
            "The attack looked for the smallest change, measured in {}, that turns the answer, so the model is seldom \
             sure of its wrong answers, and rounding to 8 bits may undo one.",
            symbol(norm)
        );
    };
    let radius = eps.parse::<Eps>().map_or(0.0, |eps| eps.value());
    match norm {
        "linf" => format!(
            "Each channel value of each pixel may move by at most {eps} of the scale from black to white, \
             that is {} of 255 levels.",
            tidy(255.0 * radius)
        ),
        "l0" => format!("At most {eps} channel values of a picture may change, by any amount."),
        norm => format!(
            "All changes together may have a length of at most {eps} ({}), on a scale where black is 0 and \
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
