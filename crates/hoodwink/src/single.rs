//! Attacks on single pictures, for programs without a data set.

use std::sync::Mutex;

use crate::{
    Error, Result,
    attacks::{Attack, Case, random},
    image::Picture,
    judge::{judge, seen},
    oracle::{
        Budget, Counted, Halt, Scores, Spent,
        pool::{Model, Parallelism, drive},
    },
    results::Verdict,
    threat::{Conditions, Goal, Norm, Region},
};

/// The result of an attack on one picture.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// The adversarial picture, as it would be saved.
    pub picture: Picture,
    /// The judge's verdict on the attack's own float image.
    pub float: Verdict,
    /// The judge's verdict on the 8-bit picture.
    pub saved: Verdict,
    /// The number of questions that the attack asked.
    pub spent: Spent,
}

/// Attacks one picture, away from the class that the model predicts, within `eps` in pixel units. `None` searches for
/// the smallest distance.
///
/// # Errors
/// A picture that does not fit the model, an attack that does not support this norm or needs a radius, or an error of
/// the model.
pub fn attack(
    model: &dyn Model,
    attack: &Attack,
    picture: &Picture,
    norm: Norm,
    eps: Option<f64>,
) -> Result<Attempted> {
    attack.check(&Conditions {
        norm,
        targeted: false,
        classes: model.classes(),
    })?;
    let region = Region::new(picture.to_image(), norm, eps);
    let found = Mutex::new(None);
    drive(
        &[model],
        Parallelism {
            threads: usize::MAX,
            batch: 1,
        },
        std::iter::once(region),
        &Halt::new(),
        |region, handle| {
            Box::pin(async move {
                let model = Scores::of(&handle);
                let label = seen(&model.logits(&region.center).await?).label as usize;
                let goal = Goal::Untargeted { label };
                let case = Case {
                    region,
                    goal,
                    starts: Vec::new(),
                    rng: random::stream(0, "", attack.name(), 0),
                };
                let oracle = Counted::new(&handle, attack.access(), Budget::default());
                let candidate = attack.run(&oracle, &case).await?;
                let judgement = judge(model, &case.region, goal, candidate.image).await?;
                Ok(Attempted {
                    picture: Picture::decode(&judgement.png, "adversarial.png")?,
                    float: judgement.float.verdict(norm, eps),
                    saved: judgement.saved.verdict(norm, eps),
                    spent: oracle.spent(),
                })
            })
        },
        |attempted| {
            if let Ok(mut found) = found.lock() {
                *found = Some(attempted);
            }
            Ok(())
        },
    )?;
    let found = found.into_inner().unwrap_or_default();
    found.ok_or_else(|| Error::invalid("the attack ended without a result"))
}
