//! What `hoodwink attack` will do, with everything opened and checked, before anything is written.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use hoodwink::{
    attacks::Spec,
    counted,
    data::Dataset,
    evaluate::Evaluation,
    lint,
    model::BatchSafety,
    oracle::{Budget, pool::Parallelism},
    plan,
    results::{DataRecord, ModelRecord, Run, RunFolder, Settings, table::SCHEMA},
    run::{self, Ended, Limits},
    threat::{TargetChoice, Threat},
};
use toml::Table;

use super::Args;
use crate::{
    args::{self, Prepared},
    command_line::Typed,
    commands::warning,
    interrupt,
    progress::Progress,
    subject::Subject,
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
    model: Subject,
    data: Dataset,
    evaluation: Evaluation,
    crew: Parallelism,
    record: Run,
    again: String,
}

impl Plan {
    /// Opens and checks what the arguments name.
    pub(crate) fn new(args: &Args, typed: &Typed) -> Result<Self> {
        let prepared = args.model.resolve()?;
        let model = Subject::open(&args.model, &args.remote, &prepared, args.access)?;
        let evaluation = args.evaluation(&model)?;
        let data = args.data.open(&prepared, model.input(), model.classes())?;
        data.labels()?;
        terminal::note(model.notices());
        terminal::note(data.notices());
        let mut plan = Self {
            crew: args.crew.resolve(model.input().iter().product()),
            record: args.record(&prepared, &model, &data, typed, &evaluation)?,
            again: typed.again.clone(),
            model,
            data,
            evaluation,
        };
        plan.fit(args)?;
        if let Subject::File(file) = &mut plan.model {
            file.set_threads(plan.crew.threads);
        }
        if !args.no_lint {
            plan.check(args, &prepared)?;
        }
        plan.sweep(args)?;
        Ok(plan)
    }

    /// What `run.toml` will say.
    pub(crate) fn record(&self) -> &Run {
        &self.record
    }

    /// Lets so much run at once as fits into the memory allowed.
    fn fit(&mut self, args: &Args) -> Result<()> {
        // Of a model elsewhere no memory is taken here.
        let (Some(limit), Some(model)) = (args.max_memory, self.model.file()) else {
            return Ok(());
        };
        let gradients = plan::asks_for_gradients(&self.evaluation);
        let crew = run::fitting(model, gradients, self.crew, limit)?;
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
    fn check(&mut self, args: &Args, prepared: &Prepared) -> Result<()> {
        let mut progress = Progress::new("reading", args.crew.quiet);
        let tell = |done| progress.show(done, self.data.len(), "");
        let checked = self.data.check(self.model.input(), self.crew.threads, tell);
        progress.finish();
        checked?;
        // Each question to a model elsewhere may cost money.
        let Some(model) = self.model.file() else {
            return Ok(());
        };
        let answer = model.multiply_adds().unwrap_or(0);
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
        let findings = lint::lint(model, said, &self.data, depth, tell);
        progress.finish();
        let findings = findings?;
        for finding in &findings {
            complain(&warning(finding));
        }
        self.record.findings = Some(findings.iter().map(Into::into).collect());
        Ok(())
    }

    /// Chooses the radii, if a range was typed.
    fn sweep(&mut self, args: &Args) -> Result<()> {
        let Some(sweep) = args.sweep()? else {
            return Ok(());
        };
        let halt = interrupt::halt()?;
        let mut progress = Progress::new("choosing radii", args.crew.quiet);
        let tell = |done| progress.show(done, done, "");
        let model = self.model.model();
        let chosen = self
            .evaluation
            .sweep(sweep, model, &self.data, self.crew, halt, tell);
        progress.finish();
        chosen?;
        if halt.is_asked() {
            bail!("stopped before the radii in {sweep} were chosen");
        }
        self.record.threat = plan::threat_record(&self.evaluation);
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
            self.model.model(),
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
        if let Some(model) = self.model.file() {
            let mut safety = model.batch_safety()?.into_values();
            if !model.runs_as_it_is() && safety.any(|safety| safety == BatchSafety::Alone) {
                complain(
                    "note: what the engine answers about a picture depends on the others in the batch, so each was asked \
                     about alone; another --engine may be faster",
                );
            }
        }
        Ok((folder, ended))
    }
}

impl Args {
    /// What is asked for, understood.
    fn evaluation(&self, model: &Subject) -> Result<Evaluation> {
        let classes = model.classes();
        if let Some(TargetChoice::Class(class)) = self.target
            && class >= classes
        {
            bail!(
                "--target {class}: the model has {classes} classes, 0 to {}",
                classes - 1
            );
        }
        let shared = [
            ("steps", self.steps.map(|steps| steps.to_string())),
            ("step_size", self.step_size.clone()),
            (
                "restarts",
                self.restarts.map(|restarts| restarts.to_string()),
            ),
            ("loss", self.loss.map(|loss| loss.to_string())),
            ("rule", self.step_rule.map(|rule| rule.word().to_owned())),
            (
                "random_start",
                self.random_start.map(|start| start.to_string()),
            ),
            (
                "momentum",
                self.momentum.map(|momentum| momentum.to_string()),
            ),
            ("tries", self.tries.map(|tries| tries.to_string())),
        ];
        let shared = shared
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), text?)));
        let attacks = Spec::parse_all(&self.attack.join(","))?;
        let norm = self
            .norm
            .unwrap_or_else(|| plan::norm_by_default(&attacks, self.eps.is_empty()));
        let options = plan::Options {
            attacks,
            shared: shared.collect(),
            threat: Threat {
                norm,
                target: self.target,
                // Gradients are the default, and no model elsewhere has them.
                access: self.access.min(model.gives()),
                budget: Budget {
                    queries: self.max_queries.unwrap_or(u64::MAX),
                    gradients: self.max_gradients.unwrap_or(u64::MAX),
                },
            },
            radii: self.radii(norm),
            skips_broken: self.skip_broken,
            seed: self.seed,
        };
        Ok(plan::evaluation(&options, classes)?)
    }

    fn record(
        &self,
        prepared: &Prepared,
        model: &Subject,
        data: &Dataset,
        typed: &Typed,
        evaluation: &Evaluation,
    ) -> Result<Run> {
        Ok(Run {
            schema: SCHEMA,
            hoodwink: env!("CARGO_PKG_VERSION").to_owned(),
            engine: model.engine(),
            partition: self.partition,
            findings: None,
            model: ModelRecord {
                path: args::text(&self.model.model),
                sha256: model.sha256().to_owned(),
                input: model.input(),
                classes: model.classes(),
                preprocessing: prepared.record(model.file()),
            },
            data: DataRecord {
                path: args::text(&self.data.data),
                digest: data.digest()?,
                samples: data.len(),
                class_names: prepared.class_names(model.classes(), data)?,
            },
            threat: plan::threat_record(evaluation),
            attacks: plan::attack_records(evaluation),
            settings: Settings { seed: self.seed },
            options: options(prepared, typed)?,
        })
    }
}

/// The options that were typed, with what other files said about preprocessing in place of their names.
fn options(prepared: &Prepared, typed: &Typed) -> Result<Table> {
    let mut options = typed.options.clone();
    options.remove("preprocessing");
    options.extend(prepared.options()?);
    Ok(options)
}
