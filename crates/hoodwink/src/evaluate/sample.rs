//! One sample under all attacks of an evaluation.

use rand::seq::SliceRandom as _;

use super::{Evaluation, Fitted, Trial};
use crate::{
    Result,
    attacks::{Aim, Candidate, Case, random},
    data::{Dataset, Sample},
    image::Image,
    judge::{Judgement, judge},
    oracle::{Counted, Scores, Spent, wrap::Memo},
    results::{Outcome, Row, RunFolder, Seen},
    threat::{Eps, Goal, Region},
};

/// The state of one sample between attacks.
pub(super) struct UnderAttack<'a> {
    pub(super) evaluation: &'a Evaluation,
    pub(super) sample: &'a Sample,
    /// The whole data set; some attacks start from another picture.
    pub(super) data: &'a Dataset,
    /// Perturbations that were fitted to many pictures.
    pub(super) fitted: &'a Fitted,
    pub(super) model: &'a Memo<'a>,
    pub(super) label: usize,
    pub(super) clean: Seen,
    /// The whole box.
    pub(super) region: Region,
    /// For each radius, whether an attack has broken the sample, both on floats and as a saved picture.
    pub(super) broken: Vec<bool>,
}

/// The maximum number of pictures that an attack may start from.
const MOST_STARTS: usize = 5;

/// The judged result of an attack.
struct Attempt {
    candidate: Candidate,
    judgement: Judgement,
    spent: Spent,
    picture: String,
}

impl UnderAttack<'_> {
    /// Returns the rows of an attack on a sample that needs no attack.
    pub(super) fn unattempted(&self, trial: &Trial) -> Vec<Row> {
        let radii = self.evaluation.radii.iter().map(Some);
        match self.evaluation.radii.is_empty() {
            true => vec![self.row(trial, None, None)],
            false => radii.map(|eps| self.row(trial, eps, None)).collect(),
        }
    }

    /// Returns the rows of an attack, one per radius.
    pub(super) async fn attempt(
        &mut self,
        trial: &Trial,
        goal: Goal,
        files: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<Row>> {
        let evaluation = self.evaluation;
        if evaluation.radii.is_empty() {
            let attempt = self.search(trial, goal, None, files).await?;
            return Ok(vec![self.judged(trial, None, goal, &attempt)]);
        }
        let mut rows: Vec<Option<Row>> = vec![None; evaluation.radii.len()];
        // The result that also serves the next radius: the smallest norm, or a success at a smaller radius.
        let mut serves: Option<Attempt> = None;
        for at in evaluation.ascending() {
            let eps = &evaluation.radii[at];
            if evaluation.skips_broken && self.broken[at] {
                rows[at] = Some(Row {
                    outcome: Outcome::AlreadyBroken,
                    ..self.row(trial, Some(eps), Some(goal))
                });
                continue;
            }
            let row = match &mut serves {
                Some(attempt) => self.judged(trial, Some(eps), goal, attempt),
                None => {
                    let radius = (trial.attack.aim() != Aim::Smallest).then_some(eps);
                    let attempt = self.search(trial, goal, radius, files).await?;
                    let row = self.judged(trial, Some(eps), goal, &attempt);
                    if trial.attack.aim() == Aim::Smallest {
                        serves = Some(attempt);
                    } else if is_broken(&row) {
                        // The larger radius costs nothing.
                        serves = Some(Attempt {
                            spent: Spent::default(),
                            candidate: Candidate {
                                loss: Vec::new(),
                                ..attempt.candidate
                            },
                            ..attempt
                        });
                    }
                    row
                }
            };
            self.broken[at] |= is_broken(&row);
            rows[at] = Some(row);
        }
        Ok(rows.into_iter().flatten().collect())
    }

    /// Runs one attack, within a radius or without, and judges its result.
    async fn search(
        &self,
        trial: &Trial,
        goal: Goal,
        eps: Option<&Eps>,
        files: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<Attempt> {
        let evaluation = self.evaluation;
        let case = Case {
            region: self.region.within(eps.map(Eps::value)),
            goal,
            starts: match trial.attack.entry().begins_elsewhere {
                true => self.starts(goal)?,
                false => Vec::new(),
            },
            rng: random::stream(evaluation.seed, &self.sample.id, trial.attack.name(), 0),
        };
        let oracle = Counted::new(self.model, trial.attack.access(), evaluation.threat.budget);
        let edit = self.fitted.edit(trial, eps, self.sample.index);
        let mut candidate = match edit {
            Some(edit) => Candidate {
                image: edit.apply(case.original()),
                ..Candidate::unchanged(case.original())
            },
            None => trial.attack.run(&oracle, &case).await?,
        };
        let spent = oracle.spent();
        let image = std::mem::replace(&mut candidate.image, self.region.center.clone());
        let mut judgement = judge(Scores::of(self.model), &case.region, goal, image).await?;
        let index = self.sample.index as u64;
        let picture = RunFolder::adversarial(&trial.key, eps.map(Eps::text), index);
        files.push((picture.clone(), std::mem::take(&mut judgement.png)));
        Ok(Attempt {
            candidate,
            judgement,
            spent,
            picture,
        })
    }

    /// Returns pictures of the target class, always the same for a sample; none without a target.
    fn starts(&self, goal: Goal) -> Result<Vec<Image>> {
        let (Some(target), Ok(labels)) = (goal.target(), self.data.labels()) else {
            return Ok(Vec::new());
        };
        let of_target = labels
            .iter()
            .enumerate()
            .filter(|(_, label)| **label == target);
        let mut found: Vec<usize> = of_target.map(|(index, _)| index).collect();
        let seed = self.evaluation.seed;
        found.shuffle(&mut random::stream(seed, &self.sample.id, "starts", 0));
        let starts = found.into_iter().take(MOST_STARTS).map(|index| {
            let picture = self.data.get(index)?.picture;
            Ok(picture.to_image())
        });
        starts.collect()
    }

    /// Builds the row of a judged attempt at a radius.
    fn judged(&self, trial: &Trial, eps: Option<&Eps>, goal: Goal, attempt: &Attempt) -> Row {
        let (norm, radius) = (self.region.norm, eps.map(Eps::value));
        let float = attempt.judgement.float.verdict(norm, radius);
        let saved = attempt.judgement.saved.verdict(norm, radius);
        Row {
            outcome: match () {
                () if float.success => Outcome::Fooled,
                () if attempt.candidate.zero_gradient => Outcome::ZeroGradient,
                () if attempt.candidate.budget_spent => Outcome::BudgetSpent,
                () => Outcome::Robust,
            },
            float: Some(float),
            saved: Some(saved),
            queries: attempt.spent.queries,
            gradients: attempt.spent.gradients,
            loss: attempt.candidate.loss.clone(),
            picture: Some(attempt.picture.clone()),
            ..self.row(trial, eps, Some(goal))
        }
    }

    /// Builds a row that describes only the sample.
    fn row(&self, trial: &Trial, eps: Option<&Eps>, goal: Option<Goal>) -> Row {
        Row {
            index: self.sample.index as u64,
            sample: self.sample.id.clone(),
            file: self.sample.file.clone(),
            label: self.label as u32,
            attack: trial.attack.name().to_owned(),
            recipe: trial.attack.recipe(),
            eps: eps.cloned(),
            target: goal.and_then(Goal::target).map(|target| target as u32),
            clean: self.clean,
            outcome: Outcome::AlreadyWrong,
            float: None,
            saved: None,
            noise: None,
            queries: 0,
            gradients: 0,
            loss: Vec::new(),
            picture: None,
        }
    }
}

/// Returns whether a row's picture fools the model, both on floats and as it is saved.
fn is_broken(row: &Row) -> bool {
    let verdicts = [row.float, row.saved];
    verdicts
        .into_iter()
        .all(|verdict| verdict.is_some_and(|verdict| verdict.success))
}
