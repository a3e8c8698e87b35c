//! Attacks every sample of a data set and has the judge decide: one row for each sample, attack and eps.

use std::{sync::Arc, time::Instant};

use crate::{
    Error, Result,
    attacks::{Attack, Case, random},
    data::{Dataset, Sample},
    judge::{judge, seen},
    oracle::{
        Access, Halt, Handle, Scores, Spent,
        batcher::{Crew, Model, drive},
    },
    results::{Outcome, Row, RunFolder},
    threat::{Ball, Eps, Goal, Norm, TargetChoice},
};

/// What the attacker wants, may know and may do: the same for every sample.
#[derive(Clone, Debug)]
pub struct Threat {
    /// Norm of the ball.
    pub norm: Norm,
    /// How targets are chosen; `None` is untargeted.
    pub target: Option<TargetChoice>,
    /// The most the attacker may see.
    pub access: Access,
    /// Limits for each sample and attack.
    pub budget: Spent,
}

/// One attack at one eps.
pub struct Trial {
    /// Radius of the ball.
    pub eps: Eps,
    /// The attack's recipe in `run.toml`.
    pub recipe: String,
    /// What the attack is called in paths ([`crate::results::Run::key_of`]).
    pub key: String,
    /// The attack, built for this radius.
    pub attack: Box<dyn Attack>,
}

/// Everything a worker needs to know about one evaluation.
pub struct Evaluation {
    /// The threat model.
    pub threat: Threat,
    /// Attacks in order, each at each eps.
    pub trials: Vec<Trial>,
    /// Seed of all randomness.
    pub seed: u64,
}

/// One attacked sample: its rows, and the PNG files that belong to them.
pub struct Attacked {
    /// One row for each trial, in order.
    pub rows: Vec<Row>,
    /// Path relative to the run folder, and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// Wall-clock seconds of each trial, waiting for others in the batch included.
    pub seconds: Vec<f64>,
}

impl Evaluation {
    /// Attacks the samples at `indices`; `sink` is given each when it is done, in order of completion.
    ///
    /// The rows of a sample depend on the seed, the sample and the settings alone.
    pub fn run(
        self: &Arc<Self>,
        model: &dyn Model,
        data: &Dataset,
        indices: impl Iterator<Item = usize> + Send,
        crew: Crew,
        halt: &Halt,
        sink: impl FnMut(Attacked) -> Result<()>,
    ) -> Result<()> {
        self.check_access()?;
        let samples = indices.map(|index| data.get(index));
        let task = |sample: Result<Sample>,
                    handle: Handle|
         -> crate::attacks::Local<'static, Result<Attacked>> {
            let evaluation = Arc::clone(self);
            Box::pin(async move { evaluation.attack(&sample?, &handle).await })
        };
        drive(model, crew, samples, halt, task, sink)
    }

    /// Refuses attacks that need more than the threat model allows; [`Evaluation::run`] does so too.
    pub fn check_access(&self) -> Result<()> {
        let allowed = self.threat.access;
        let mut attacks = self.trials.iter().map(|trial| &trial.attack);
        match attacks.find(|attack| attack.access() > allowed) {
            None => Ok(()),
            Some(attack) => Err(Error::invalid(format!(
                "attack {} needs {}, and the threat model allows no more than {}: leave the attack out or raise \
                 --access",
                attack.name(),
                attack.access().word(),
                allowed.word()
            ))),
        }
    }

    async fn attack(&self, sample: &Sample, handle: &Handle) -> Result<Attacked> {
        let label = sample.label.ok_or_else(|| {
            Error::invalid(format!(
                "{} has no label; an attack needs to know what is true",
                sample.file
            ))
        })?;
        let logits = handle.logits(&sample.picture.to_image()).await?;
        if label >= logits.len() {
            return Err(Error::invalid(format!(
                "{} has label {label}, but the model has {} classes",
                sample.file,
                logits.len()
            )));
        }
        let clean = seen(&logits);
        let goal = self.goal(sample, label, &logits);
        let mut attacked = Attacked {
            rows: Vec::with_capacity(self.trials.len()),
            files: vec![(
                RunFolder::original(sample.index as u64),
                sample.picture.encode_png(),
            )],
            seconds: Vec::with_capacity(self.trials.len()),
        };
        for trial in &self.trials {
            let begun = Instant::now();
            let mut row = Row {
                index: sample.index as u64,
                sample: sample.id.clone(),
                file: sample.file.clone(),
                label: label as u32,
                attack: trial.attack.name().to_owned(),
                recipe: trial.recipe.clone(),
                eps: Some(trial.eps.clone()),
                target: goal.and_then(Goal::target).map(|target| target as u32),
                clean,
                outcome: Outcome::AlreadyWrong,
                float: None,
                saved: None,
                noise: None,
                queries: 0,
                gradients: 0,
                loss: Vec::new(),
                picture: None,
            };
            if let Some(goal) = goal {
                let png = self.attempt(trial, sample, goal, handle, &mut row).await?;
                let path = RunFolder::adversarial(&trial.key, row.eps_text(), row.index);
                row.picture = Some(path.clone());
                attacked.files.push((path, png));
            }
            attacked.rows.push(row);
            attacked.seconds.push(begun.elapsed().as_secs_f64());
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

    /// Runs one attack, has it judged and fills in the row; answers the PNG.
    async fn attempt(
        &self,
        trial: &Trial,
        sample: &Sample,
        goal: Goal,
        handle: &Handle,
        row: &mut Row,
    ) -> Result<Vec<u8>> {
        let original = sample.picture.to_image();
        let ball = Ball {
            norm: self.threat.norm,
            eps: trial.eps.value(),
        };
        let oracle = handle.limited(self.threat.access, self.threat.budget);
        let candidate = trial
            .attack
            .run(Case {
                oracle: &oracle,
                original: &original,
                ball: &ball,
                goal,
                rng: random::stream(self.seed, &sample.id, trial.attack.name(), 0),
            })
            .await?;
        // The judge has one of its own.
        drop(original);
        let spent = oracle.spent();
        let judgement = judge(handle, &sample.picture, &ball, goal, candidate.image).await?;
        row.outcome = match () {
            () if judgement.float.success => Outcome::Fooled,
            () if candidate.zero_gradient => Outcome::ZeroGradient,
            () if candidate.budget_spent => Outcome::BudgetSpent,
            () => Outcome::Robust,
        };
        row.float = Some(judgement.float);
        row.saved = Some(judgement.saved);
        row.queries = spent.queries;
        row.gradients = spent.gradients;
        row.loss = candidate.loss;
        Ok(judgement.png)
    }
}
