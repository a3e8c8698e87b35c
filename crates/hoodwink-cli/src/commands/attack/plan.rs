//! What `hoodwink attack` will do, with everything opened and checked, before anything is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use anyhow::{Result, bail};
use hoodwink::{
    attacks::{self, AttackOptions},
    counted,
    data::Dataset,
    evaluate::{Evaluation, Threat, Trial},
    lint,
    model::{Classifier, Company},
    oracle::{Access, Loss, Spent, batcher::Crew},
    results::{
        AttackRecord, DataRecord, ModelRecord, Run, RunFolder, Settings, ThreatRecord,
        table::SCHEMA,
    },
    run::{self, Ended, Limits},
    threat::{Eps, TargetChoice},
};
use toml::Table;

use super::Args;
use crate::{
    args::{self, Prepared},
    command_line::Typed,
    commands::warning,
    interrupt,
    progress::Progress,
    terminal::{self, complain},
};

/// Pictures that the model is asked about before a run; `hoodwink inspect` takes more.
const LINTED_PICTURES: usize = 48;

/// Pictures that a search for other preprocessing shows before a run.
const SEARCHED_PICTURES: usize = 300;

/// Answers that it takes for each picture of the run: a few hundredths of what a gradient attack asks.
const ANSWERS_EACH: u64 = 5;

/// Multiply-adds that it may take in any case: a second or two of two cores.
const LINT_EFFORT: u64 = 50_000_000_000;

/// A run that is ready to begin.
pub(crate) struct Plan {
    model: Classifier,
    data: Dataset,
    evaluation: Arc<Evaluation>,
    crew: Crew,
    record: Run,
    again: String,
}

impl Plan {
    /// Opens and checks what the arguments name.
    pub(crate) fn new(args: &Args, typed: &Typed) -> Result<Self> {
        let prepared = args.model.resolve()?;
        let model = args.model.open(&prepared, args.access)?;
        let trials = args.trials(model.classes())?;
        let data = args.data.open(&prepared, &model)?;
        data.labels()?;
        terminal::note(model.notices());
        terminal::note(data.notices());
        let evaluation = Arc::new(Evaluation {
            threat: Threat {
                norm: args.norm,
                target: args.target,
                access: args.access,
                budget: Spent {
                    queries: args.max_queries.unwrap_or(u64::MAX),
                    gradients: args.max_gradients.unwrap_or(u64::MAX),
                },
            },
            trials,
            seed: args.seed,
        });
        evaluation.check_access()?;
        let mut plan = Self {
            crew: args.crew.resolve(),
            record: args.record(&prepared, &model, &data, typed, &evaluation.trials)?,
            again: typed.again.clone(),
            model,
            data,
            evaluation,
        };
        plan.fit(args)?;
        plan.model.set_threads(plan.crew.threads);
        if !args.no_lint {
            plan.check(args, &prepared)?;
        }
        Ok(plan)
    }

    /// What `run.toml` will say.
    pub(crate) fn record(&self) -> &Run {
        &self.record
    }

    /// Lets so much run at once as fits into the memory allowed.
    fn fit(&mut self, args: &Args) -> Result<()> {
        let Some(limit) = args.max_memory else {
            return Ok(());
        };
        let mut attacks = self.evaluation.trials.iter().map(|trial| &trial.attack);
        // The gradients of all losses take about the same.
        let loss = attacks
            .any(|attack| attack.access() == Access::Gradients)
            .then_some(Loss::CrossEntropy);
        let crew = run::fitting(&self.model, loss, self.crew, limit)?;
        if crew != self.crew {
            complain(&format!(
                "note: --max-memory leaves room for {} with {} each",
                counted(crew.threads, "thread", "threads"),
                counted(crew.batch, "picture", "pictures")
            ));
        }
        self.crew = crew;
        Ok(())
    }

    /// Reads every picture, and looks for gross mistakes.
    fn check(&self, args: &Args, prepared: &Prepared) -> Result<()> {
        let mut progress = Progress::new("reading", args.crew.quiet);
        let tell = |done| progress.show(done, self.data.len(), "");
        let checked = self.data.check(self.model.input(), self.crew.threads, tell);
        progress.finish();
        checked?;
        let answer = self.model.multiply_adds().unwrap_or(0);
        let depth = lint::Depth {
            pictures: LINTED_PICTURES,
            searched: SEARCHED_PICTURES,
            multiply_adds: LINT_EFFORT.max(ANSWERS_EACH * self.data.len() as u64 * answer),
            always_search: false,
            threads: self.crew.threads,
        };
        let mut progress = Progress::new("asking", args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let said = &prepared.preprocessing;
        let findings = lint::lint(&self.model, said, &self.data, depth, tell);
        progress.finish();
        for finding in findings? {
            complain(&warning(&finding));
        }
        Ok(())
    }

    /// Attacks into the run folder.
    pub(crate) fn run(&self, args: &Args, limits: Limits) -> Result<(RunFolder, Ended)> {
        let folder = RunFolder::create(&args.out, &self.record)?;
        folder.write_command(&self.again)?;
        let mut progress = Progress::new("attacking", args.crew.quiet);
        let ended = run::run(
            &folder,
            &self.evaluation,
            &self.model,
            &self.data,
            self.crew,
            limits,
            interrupt::halt()?,
            |so_far| {
                let mut success = String::new();
                if so_far.attempted > 0 {
                    let share = 100.0 * so_far.fooled as f64 / so_far.attempted as f64;
                    // Writing to a string cannot fail.
                    let _ = write!(success, "fooled {share:.1}%");
                }
                progress.show(so_far.done, so_far.samples, &success);
            },
        );
        progress.finish();
        let ended = ended?;
        let is_alone = |company| company == Company::Alone;
        let companies = self.model.companies()?;
        if !self.model.runs_as_it_is() && companies.into_values().any(is_alone) {
            complain(
                "note: what the engine answers about a picture depends on the others in the batch, so each was asked \
                 about alone; another --engine may be faster",
            );
        }
        Ok((folder, ended))
    }
}

impl Args {
    /// Every attack at every eps, in order.
    fn trials(&self, classes: usize) -> Result<Vec<Trial>> {
        refuse_twice("attack", &self.attack)?;
        refuse_twice("eps", &self.eps)?;
        for (what, radii) in [
            ("eps", &self.eps[..]),
            ("--step-size", self.step_size.as_slice()),
        ] {
            for eps in radii {
                eps.in_pixels(what, self.norm)?;
            }
        }
        if let Some(TargetChoice::Class(class)) = self.target
            && class >= classes
        {
            bail!(
                "--target {class}: the model has {classes} classes, 0 to {}",
                classes - 1
            );
        }
        let entries = self.attack.iter().map(|name| attacks::find(name));
        let entries = entries.collect::<hoodwink::Result<Vec<_>>>()?;
        let mut by_attack: Vec<Vec<Trial>> = entries.iter().map(|_| Vec::new()).collect();
        for eps in &self.eps {
            let options = AttackOptions {
                steps: self.steps,
                step_size: self.step_size.as_ref().map(Eps::value),
                restarts: self.restarts,
                random_start: self.random_start,
                loss: self.loss,
                rule: self.step_rule,
                momentum: self.momentum,
                tries: self.tries,
                ..AttackOptions::new(self.norm, eps.value(), self.target.is_some(), classes)
            };
            let built = attacks::build_all(&entries, &options)?;
            for (trials, attack) in by_attack.iter_mut().zip(built) {
                trials.push(Trial {
                    eps: eps.clone(),
                    recipe: String::new(),
                    key: attack.name().to_owned(),
                    attack,
                });
            }
        }
        let mut trials: Vec<Trial> = by_attack.into_iter().flatten().collect();
        for AttackRecord { name, recipe } in recipes(&self.attack, &trials) {
            for trial in trials.iter_mut().filter(|trial| trial.key == name) {
                trial.recipe.clone_from(&recipe);
            }
        }
        Ok(trials)
    }

    fn record(
        &self,
        prepared: &Prepared,
        model: &Classifier,
        data: &Dataset,
        typed: &Typed,
        trials: &[Trial],
    ) -> Result<Run> {
        let budget = [
            ("queries", self.max_queries),
            ("gradients", self.max_gradients),
        ];
        Ok(Run {
            schema: SCHEMA,
            hoodwink: env!("CARGO_PKG_VERSION").to_owned(),
            engine: model.engine().version(),
            partition: self.partition,
            model: ModelRecord {
                path: args::text(&self.model.model),
                sha256: model.sha256().to_owned(),
                input: model.input(),
                classes: model.classes(),
                preprocessing: prepared.record(model),
            },
            data: DataRecord {
                path: args::text(&self.data.data),
                digest: data.digest()?,
                samples: data.len(),
                class_names: prepared.class_names(model, data)?,
            },
            threat: ThreatRecord {
                norm: self.norm.to_string(),
                eps: self.eps.iter().map(Eps::to_string).collect(),
                goal: self.target.map_or_else(
                    || "untargeted".to_owned(),
                    |target| format!("targeted: {target}"),
                ),
                access: self.access.word().to_owned(),
                budget: budget
                    .into_iter()
                    .filter_map(|(name, limit)| Some((name.to_owned(), limit?)))
                    .collect::<BTreeMap<_, _>>(),
            },
            attacks: recipes(&self.attack, trials),
            settings: Settings { seed: self.seed },
            options: options(prepared, typed)?,
        })
    }
}

fn refuse_twice(what: &str, all: &[impl ToString]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match all
        .iter()
        .map(ToString::to_string)
        .find(|one| !seen.insert(one.clone()))
    {
        None => Ok(()),
        Some(twice) => bail!("{what} {twice} is named twice"),
    }
}

/// The recipe of each attack; where it differs between radii, all of them.
fn recipes(names: &[String], trials: &[Trial]) -> Vec<AttackRecord> {
    let of = |name: &String| {
        let mut recipes: Vec<String> = trials
            .iter()
            .filter(|trial| trial.attack.name() == name)
            .map(|trial| trial.attack.recipe())
            .collect();
        recipes.dedup();
        AttackRecord {
            name: name.clone(),
            recipe: recipes.join("; "),
        }
    };
    names.iter().map(of).collect()
}

/// The options that were typed, with what other files said about preprocessing in place of their names.
fn options(prepared: &Prepared, typed: &Typed) -> Result<Table> {
    let mut options = typed.options.clone();
    options.remove("preprocessing");
    options.extend(prepared.options()?);
    Ok(options)
}
