//! Attacks every sample of a data set and has the judge decide: one row for each sample, attack and eps.

use std::{sync::Arc, time::Instant};

use crate::{
    Error, Result,
    attacks::{Aim, Attack, Candidate, Case, random},
    data::{Dataset, Sample},
    judge::{Judgement, judge, seen},
    oracle::{
        Counted, Halt, Local, Oracle, Scores, Spent,
        pool::{Crew, Handle, Model, drive},
    },
    results::{Outcome, Row, RunFolder, Seen},
    threat::{Eps, Goal, Region, Threat},
};

/// One attack of a run.
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
        self.check(model.classes())?;
        let samples = indices.map(|index| data.get(index));
        let task = |sample: Result<Sample>, handle: Handle| -> Local<'static, Result<Attacked>> {
            let evaluation = Arc::clone(self);
            Box::pin(async move { evaluation.attack(&sample?, &handle).await })
        };
        drive(&[model], crew, samples, halt, task, sink)
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

    async fn attack(&self, sample: &Sample, handle: &Handle) -> Result<Attacked> {
        let label = sample.label.ok_or_else(|| {
            Error::invalid(format!(
                "{} has no label; an attack needs to know what is true",
                sample.file
            ))
        })?;
        let model = Scores::of(handle);
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
            handle,
            label,
            clean: seen(&logits),
            region: Region::new(original, self.threat.norm, None),
            broken: vec![false; self.radii.len()],
        };
        for trial in &self.trials {
            let begun = Instant::now();
            let rows = match goal {
                None => under.unattempted(trial),
                Some(goal) => under.attempt(trial, goal, &mut attacked.files).await?,
            };
            attacked.rows.extend(rows);
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

    /// The positions of the radii, the smallest first.
    fn ascending(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.radii.len()).collect();
        order.sort_by(|&a, &b| self.radii[a].value().total_cmp(&self.radii[b].value()));
        order
    }
}

/// One sample, attack after attack.
struct UnderAttack<'a> {
    evaluation: &'a Evaluation,
    sample: &'a Sample,
    handle: &'a Handle,
    label: usize,
    clean: Seen,
    /// All of the box.
    region: Region,
    /// At which radii some attack has broken it, on floats and as a saved picture.
    broken: Vec<bool>,
}

/// What an attack came to, judged.
struct Attempt {
    candidate: Candidate,
    judgement: Judgement,
    spent: Spent,
    picture: String,
}

impl UnderAttack<'_> {
    /// The rows of an attack on a sample that needs none.
    fn unattempted(&self, trial: &Trial) -> Vec<Row> {
        let radii = self.evaluation.radii.iter().map(Some);
        match self.evaluation.radii.is_empty() {
            true => vec![self.row(trial, None, None)],
            false => radii.map(|eps| self.row(trial, eps, None)).collect(),
        }
    }

    /// The rows of an attack, one for each radius.
    async fn attempt(
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
        // What serves the next radius as well: the smallest norm, or what was broken at a smaller one.
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
                        // Nothing is spent at a larger radius.
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

    /// Runs one attack within a radius, or without, and has it judged.
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
            starts: Vec::new(),
            rng: random::stream(
                evaluation.seed,
                &self.sample.id,
                trial.attack.name(),
                0,
            ),
        };
        let oracle = Counted::new(
            self.handle,
            trial.attack.access(),
            evaluation.threat.budget,
        );
        let mut candidate = trial.attack.run(&oracle, &case).await?;
        let spent = oracle.spent();
        let image = std::mem::replace(&mut candidate.image, self.region.center.clone());
        let mut judgement = judge(Scores::of(self.handle), &case.region, goal, image).await?;
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

    /// The row of a judged attempt at a radius.
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

    /// A row of which nothing is known but the sample.
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

/// Whether a row's picture has fooled the model, on floats and as it is saved.
fn is_broken(row: &Row) -> bool {
    let verdicts = [row.float, row.saved];
    verdicts.into_iter().all(|verdict| verdict.is_some_and(|verdict| verdict.success))
}
