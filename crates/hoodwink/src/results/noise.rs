//! `shown.json`: the model's answers to perturbations alone, for the pictures that the report shows.

use serde::{Deserialize, Serialize};

use super::{Row, Run, Seen};
use crate::data::MAX_CLASSES;

/// Maximum number of answers in a file; a run has a dozen, a merged run those of its parts.
pub(super) const MAX_ANSWERS: usize = 1 << 12;

/// The model's answer to one row's perturbation, shown as a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseSeen {
    /// Index of the sample in its data set.
    pub index: u64,
    /// Recipe of the attack.
    pub recipe: String,
    /// Radius in pixel space, as typed, if there is one.
    pub eps: Option<String>,
    /// The most likely class.
    pub label: u32,
    /// Its softmax probability, in \[0, 1\]; `None` if it is NaN.
    pub confidence: Option<f32>,
    /// Whether it saw the perturbation divided by its largest change, as the report shows it. Earlier versions used the
    /// sign map.
    #[serde(default)]
    pub scaled: bool,
}

impl NoiseSeen {
    /// The answer to the perturbation of this row, divided by its largest change.
    pub fn of(row: &Row, seen: Seen) -> Self {
        Self {
            index: row.index,
            recipe: row.recipe.clone(),
            eps: row.eps_text().map(str::to_owned),
            label: seen.label,
            confidence: Some(seen.confidence).filter(|confidence| !confidence.is_nan()),
            scaled: true,
        }
    }

    /// Returns whether it belongs to this row.
    pub fn is_of(&self, row: &Row) -> bool {
        let own = (self.index, &*self.recipe, self.eps.as_deref());
        own == (row.index, &*row.recipe, row.eps_text())
    }

    /// Returns the model's answer.
    pub fn seen(&self) -> Seen {
        Seen {
            label: self.label,
            confidence: self.confidence.unwrap_or(f32::NAN),
        }
    }
}

/// Checks that answers can belong to a run; `Err` says what cannot.
pub(super) fn check(run: &Run, answers: &[NoiseSeen]) -> Result<(), String> {
    if answers.len() > MAX_ANSWERS {
        return Err(format!(
            "it has {} answers; the maximum is {MAX_ANSWERS}",
            answers.len()
        ));
    }
    let (places, radii) = (run.places(), run.radii());
    let classes = run.model.classes.min(MAX_CLASSES) as u64;
    let can_be = |answer: &&NoiseSeen| {
        answer.index < run.data.samples as u64
            && places.contains_key(&*answer.recipe)
            && radii.contains(&answer.eps.as_deref())
            && u64::from(answer.label) < classes
            && answer.confidence.is_none_or(|it| (0.0..=1.0).contains(&it))
    };
    match answers.iter().find(|answer| !can_be(answer)) {
        None => Ok(()),
        Some(answer) => Err(format!(
            "the answer about sample {} under {:?} does not belong to this run",
            answer.index, answer.recipe
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::RunFolder;
    use crate::results::example::{fooled, run};

    #[test]
    fn answers_come_back_and_those_of_other_runs_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(parent.path(), &run(5)).unwrap();
        assert_eq!(folder.noise().unwrap(), None);
        let row = fooled(4, "fgsm", "8/255");
        let seen = |confidence| Seen {
            label: 2,
            confidence,
        };
        let sound = NoiseSeen::of(&row, seen(0.1));
        let nan = NoiseSeen::of(&fooled(0, "pgd", "4/255"), seen(f32::NAN));
        assert!(sound.is_of(&row) && !nan.is_of(&row));
        assert!(nan.seen().confidence.is_nan());
        let answers = vec![sound.clone(), nan];
        folder.write_noise(&answers).unwrap();
        assert_eq!(folder.noise().unwrap(), Some(answers));
        let bytes = folder.read("shown.json").unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("0.1"));

        type Change = fn(&mut NoiseSeen);
        let changes: [Change; 7] = [
            |one| one.index = 5,
            |one| one.recipe = "pgd()".into(),
            |one| one.eps = None,
            |one| one.eps = Some("1/255".into()),
            |one| one.label = 3,
            |one| one.confidence = Some(1.5),
            |one| one.confidence = Some(-1.0),
        ];
        for change in changes {
            let mut changed = sound.clone();
            change(&mut changed);
            folder.write_noise(&[changed.clone()]).unwrap();
            let refusal = folder.noise().unwrap_err().to_string();
            assert!(refusal.contains("shown.json"), "{refusal}");
            assert!(
                refusal.contains("does not belong to this run"),
                "{changed:?}: {refusal}"
            );
        }
        folder.write_noise(&vec![sound; MAX_ANSWERS + 1]).unwrap();
        let refusal = folder.noise().unwrap_err().to_string();
        assert!(refusal.contains("4097 answers"), "{refusal}");
        folder.write("shown.json", b"[{}]").unwrap();
        assert!(folder.noise().is_err());
    }
}
