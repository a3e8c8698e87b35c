//! Attacks every sample of a data set and has the judge decide: one row for each sample, attack and eps.

mod fitted;
mod sample;
mod sweep;

use fitted::Fitted;
use sample::UnderAttack;

use crate::{
    Error, Result,
    attacks::{Aim, Attack, random},
    data::{Dataset, Sample},
    judge::seen,
    oracle::{
        Halt, Scores,
        pool::{Handle, Model, Parallelism, drive},
        wrap::Memo,
    },
    results::{Row, RunFolder},
    threat::{Eps, Goal, Region, Sweep, Threat},
};

/// One attack of a run.
#[derive(Clone)]
pub struct Trial {
    /// The attack.
    pub attack: Attack,
    /// What it is called in paths ([`crate::results::Run::keys`]).
    pub key: String,
}

/// Everything a worker needs to know about one evaluation.
pub struct Evaluation {
    /// The threat model.
    pub threat: Threat,
    /// Radii, in the order of the rows; none where all attacks look for the smallest norm, and then each has one row.
    ///
    /// An attack within a radius is not run again at a larger one where its picture has fooled the model at a smaller one:
    /// that picture is judged at the larger radius too. An attack for the smallest norm is run once for all radii.
    pub radii: Vec<Eps>,
    /// The range in which the radii were chosen ([`Evaluation::sweep`]), if they were.
    pub swept: Option<Sweep>,
    /// Attacks in order.
    pub trials: Vec<Trial>,
    /// Whether an attack leaves alone what an earlier one has broken at the same radius.
    pub skips_broken: bool,
    /// Seed of all randomness.
    pub seed: u64,
}

/// One attacked sample: its rows, and the PNG files that belong to them.
pub struct Attacked {
    /// One row for each attack and eps, in order.
    pub rows: Vec<Row>,
    /// Path relative to the run folder, and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// Seconds of work of each row's attack ([`Handle::worked`]); of rows that come from one attack, the first has them.
    pub seconds: Vec<f64>,
}

impl Evaluation {
    /// Attacks the samples at `indices`; `sink` is given each when it is done, in order of completion.
    ///
    /// The rows of a sample depend on the seed, the sample and the settings alone.
    pub fn run(
        &self,
        model: &dyn Model,
        data: &Dataset,
        indices: impl Iterator<Item = usize> + Send,
        crew: Parallelism,
        halt: &Halt,
        sink: impl FnMut(Attacked) -> Result<()>,
    ) -> Result<()> {
        self.check(model.classes())?;
        let fitted = Fitted::to(self, model, data, crew, halt)?;
        if halt.is_asked() {
            return Ok(());
        }
        let samples = indices.map(|index| data.get(index));
        drive(
            &[model],
            crew,
            samples,
            halt,
            |sample, handle| Box::pin(self.attack(sample, data, &fitted, handle)),
            sink,
        )
    }

    /// Refuses attacks that need more than the threat model allows, or do not work under it; [`Evaluation::run`] does so too.
    pub fn check(&self, classes: usize) -> Result<()> {
        let conditions = self.threat.conditions(classes);
        for Trial { attack, .. } in &self.trials {
            attack.check(&conditions)?;
            if attack.access() > self.threat.access {
                return Err(Error::invalid(format!(
                    "attack {} needs {}, and the threat model allows no more than {}: leave the attack out or raise the \
                     access",
                    attack.name(),
                    attack.access().word(),
                    self.threat.access.word()
                )));
            }
            if self.radii.is_empty() && attack.aim() != Aim::Smallest {
                return Err(Error::invalid(format!(
                    "attack {} works within a radius, and none is given: give eps, or take an attack for the smallest norm",
                    attack.name()
                )));
            }
        }
        Ok(())
    }

    async fn attack(
        &self,
        sample: Result<Sample>,
        data: &Dataset,
        fitted: &Fitted,
        handle: Handle,
    ) -> Result<Attacked> {
        let sample = &sample?;
        let label = sample.label.ok_or_else(|| {
            Error::invalid(format!(
                "{} has no label; an attack needs to know what is true",
                sample.file
            ))
        })?;
        let asked = handle;
        let handle = Memo::new(&asked);
        let model = Scores::of(&handle);
        let original = sample.picture.to_image();
        let logits = model.logits(&original).await?;
        if label >= logits.len() {
            return Err(Error::invalid(format!(
                "{} has label {label}, but the model has {} classes",
                sample.file,
                logits.len()
            )));
        }
        let goal = self.goal(sample, label, &logits);
        let mut attacked = Attacked {
            rows: Vec::with_capacity(self.trials.len() * self.radii.len().max(1)),
            files: vec![(
                RunFolder::original(sample.index as u64),
                sample.picture.encode_png(),
            )],
            seconds: Vec::with_capacity(self.trials.len()),
        };
        let mut under = UnderAttack {
            evaluation: self,
            sample,
            data,
            fitted,
            model: &handle,
            label,
            clean: seen(&logits),
            region: Region::new(original, self.threat.norm, None),
            broken: vec![false; self.radii.len()],
        };
        for trial in &self.trials {
            let before = asked.worked();
            let rows = match goal {
                None => under.unattempted(trial),
                Some(goal) => under.attempt(trial, goal, &mut attacked.files).await?,
            };
            // One answer may fill several rows: the first of them has the time.
            let seconds = asked.worked().saturating_sub(before).as_secs_f64();
            attacked.seconds.push(seconds);
            attacked
                .seconds
                .extend(vec![0.0; rows.len().saturating_sub(1)]);
            attacked.rows.extend(rows);
        }
        Ok(attacked)
    }

    /// What the attacker wants of this sample; `None` where the model is wrong already, or is asked for the true class.
    fn goal(&self, sample: &Sample, label: usize, logits: &[f32]) -> Option<Goal> {
        let goal = match self.threat.target {
            None => Goal::Untargeted { label },
            Some(choice) => {
                let mut rng = random::stream(self.seed, &sample.id, "target", 0);
                Goal::Targeted {
                    label,
                    target: choice.choose(label, logits, &mut rng)?,
                }
            }
        };
        let right = !Goal::Untargeted { label }.reached(logits);
        (right && !goal.reached(logits)).then_some(goal)
    }

    /// The positions of the radii, the smallest first.
    fn ascending(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.radii.len()).collect();
        order.sort_by(|&a, &b| self.radii[a].value().total_cmp(&self.radii[b].value()));
        order
    }
}
