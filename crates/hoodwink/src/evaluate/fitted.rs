//! Perturbations shared by many pictures, fitted before any picture is attacked.
//!
//! Every picture is judged with a perturbation that was fitted to other pictures. The pictures are split into two
//! halves by their position, and a perturbation fitted to one half is applied to the other. It depends on all pictures
//! of the data set, even if a run covers only some of them.

use std::collections::BTreeMap;

use rand::seq::SliceRandom as _;

use super::{Evaluation, Trial};
use crate::{
    Error, Result,
    attacks::{Aim, Edit, Fitting, random},
    data::Dataset,
    image::Image,
    oracle::{
        Budget, Counted, Halt, Scores, argmax,
        pool::{Handle, Model, Parallelism, drive},
    },
    threat::{Eps, Goal},
};

/// The number of halves.
const HALVES: usize = 2;

/// Perturbations by the attack's key, the radius as typed, and the half that it is applied to.
pub(super) struct Fitted(BTreeMap<(String, String, usize), Edit>);

impl Fitted {
    /// Fits every such attack at every radius. Ends early with fewer perturbations if `halt` is requested.
    pub(super) fn to(
        evaluation: &Evaluation,
        model: &dyn Model,
        data: &Dataset,
        crew: Parallelism,
        halt: &Halt,
    ) -> Result<Self> {
        let mut jobs = Vec::new();
        for (at, trial) in evaluation.trials.iter().enumerate() {
            if trial.attack.aim() == Aim::Many {
                for radius in 0..evaluation.radii.len() {
                    jobs.extend((0..HALVES).map(|half| (at, radius, half)));
                }
            }
        }
        let mut fitted = BTreeMap::new();
        // One after the other: each fit keeps all workers busy and holds many pictures in memory.
        for (at, radius, half) in jobs {
            let pictures = pictures(evaluation, &evaluation.trials[at], data, half)?;
            let (trial, eps) = (&evaluation.trials[at], &evaluation.radii[radius]);
            let mut found = None;
            drive(
                &[model],
                crew,
                std::iter::once(pictures),
                halt,
                |pictures, handle| Box::pin(evaluation.fit(at, radius, half, pictures, handle)),
                |edit| {
                    found = Some(edit);
                    Ok(())
                },
            )?;
            let Some(edit) = found else { break };
            fitted.insert((trial.key.clone(), eps.text().to_owned(), half), edit);
        }
        Ok(Self(fitted))
    }

    /// Returns the change that an attack makes to the sample at this position, or `None` if the attack fits no
    /// perturbation.
    pub(super) fn edit(&self, trial: &Trial, eps: Option<&Eps>, index: usize) -> Option<&Edit> {
        let key = (trial.key.clone(), eps?.text().to_owned(), index % HALVES);
        self.0.get(&key)
    }
}

/// Returns pictures of the other half, at most as many as the attack uses, with their labels if they have any.
fn pictures(
    evaluation: &Evaluation,
    trial: &Trial,
    data: &Dataset,
    half: usize,
) -> Result<Vec<(Image, Option<usize>)>> {
    let mut others: Vec<usize> = (0..data.len())
        .filter(|index| index % HALVES != half)
        .collect();
    if others.is_empty() {
        return Err(Error::invalid(format!(
            "attack {} fits one half of the pictures and is judged on the other, so it needs at least two pictures",
            trial.attack.name()
        )));
    }
    others.shuffle(&mut random::stream(
        evaluation.seed,
        "",
        trial.attack.name(),
        half as u64,
    ));
    others.truncate(trial.attack.most_pictures()?);
    let picture = |index| {
        let sample = data.get(index)?;
        Ok((sample.picture.to_image(), sample.label))
    };
    others.into_iter().map(picture).collect()
}

impl Evaluation {
    async fn fit(
        &self,
        at: usize,
        radius: usize,
        half: usize,
        pictures: Vec<(Image, Option<usize>)>,
        handle: Handle,
    ) -> Result<Edit> {
        let attack = &self.trials[at].attack;
        let mut rng = random::stream(self.seed, "", attack.name(), (HALVES + half) as u64);
        let images: Vec<_> = pictures.iter().map(|(image, _)| image.clone()).collect();
        let logits = Scores::of(&handle).logits_of(&images).await?;
        let mut wanted = Vec::new();
        for ((image, label), logits) in pictures.into_iter().zip(logits) {
            let label = label.unwrap_or_else(|| argmax(&logits));
            if label >= logits.len() {
                return Err(Error::invalid(format!(
                    "a picture has label {label}, but the model has {} classes",
                    logits.len()
                )));
            }
            let goal = match self.threat.target {
                None => Some(Goal::Untargeted { label }),
                Some(choice) => {
                    let target = choice.choose(label, &logits, &mut rng);
                    target.map(|target| Goal::Targeted { label, target })
                }
            };
            wanted.extend(goal.map(|goal| (image, goal)));
        }
        // The cost belongs to no single picture, and the budget applies per picture.
        let oracle = Counted::new(&handle, attack.access(), Budget::default());
        let fitting = Fitting {
            pictures: wanted,
            norm: self.threat.norm,
            eps: self.radii[radius].value(),
            rng,
        };
        attack.fit(&oracle, &fitting).await
    }
}
