//! Attacks every sample of a data set and lets the judge decide. Gives one row per sample, attack and eps.

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
        Halt, Scores, argmax,
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
    /// Its name in paths ([`crate::results::Run::keys`]).
    pub key: String,
}

/// The settings of an evaluation that workers need.
pub struct Evaluation {
    /// The threat model.
    pub threat: Threat,
    /// Radii in the order of the rows. Empty if all attacks search for the smallest norm; then each attack has one row.
    ///
    /// If an attack within a radius fools the model, it is not run again at larger radii: the same picture is judged at
    /// those too. An attack for the smallest norm runs once for all radii.
    pub radii: Vec<Eps>,
    /// The range that [`Evaluation::sweep`] chose the radii from, if it did.
    pub swept: Option<Sweep>,
    /// The attacks, in order.
    pub trials: Vec<Trial>,
    /// Whether an attack skips samples that an earlier attack has broken at the same radius.
    pub skips_broken: bool,
    /// The seed of all randomness.
    pub seed: u64,
}

/// One attacked sample: its rows and their PNG files.
pub struct Attacked {
    /// One row per attack and eps, in order.
    pub rows: Vec<Row>,
    /// Path relative to the run folder, and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Seconds of work of each row's attack ([`Handle::worked`]). If several rows come from one attack, the first has the time.
    pub seconds: Vec<f64>,
}

impl Evaluation {
    /// Attacks the samples at `indices` and passes each finished sample to `sink`, in order of completion.
    ///
    /// A sample without a label is attacked away from the model's own prediction. The rows of a sample depend only on the seed, the
    /// sample and the settings.
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

    /// Refuses attacks that need more access than the threat model allows or that do not support it.
    /// [`Evaluation::run`] also checks this.
    pub fn check(&self, classes: usize) -> Result<()> {
        let conditions = self.threat.conditions(classes);
        for Trial { attack, .. } in &self.trials {
            attack.check(&conditions)?;
            if attack.access() > self.threat.access {
                return Err(Error::invalid(format!(
                    "attack {} needs {}, but the threat model allows only {}: leave the attack out or raise the \
                     access",
                    attack.name(),
                    attack.access().word(),
                    self.threat.access.word()
                )));
            }
            if self.radii.is_empty() && attack.aim() != Aim::Smallest {
                return Err(Error::invalid(format!(
                    "attack {} works within a radius, but none is given: set eps, or use an attack for the smallest norm",
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
        let asked = handle;
        let handle = Memo::new(&asked);
        let model = Scores::of(&handle);
        let original = sample.picture.to_image();
        let logits = model.logits(&original).await?;
        let label = sample.label.unwrap_or_else(|| argmax(&logits));
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
            // One attack may fill several rows; the first has the time.
            let seconds = asked.worked().saturating_sub(before).as_secs_f64();
            attacked.seconds.push(seconds);
            attacked
                .seconds
                .extend(vec![0.0; rows.len().saturating_sub(1)]);
            attacked.rows.extend(rows);
        }
        Ok(attacked)
    }

    /// Returns the attacker's goal for this sample, or `None` if the model is already wrong or the target is the true
    /// class.
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

    /// Returns the positions of the radii in ascending order.
    fn ascending(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.radii.len()).collect();
        order.sort_by(|&a, &b| self.radii[a].value().total_cmp(&self.radii[b].value()));
        order
    }
}
