//! The plan of a `hoodwink attack` run. Everything is opened and checked before anything is written.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use hoodwink::{
    attacks::Spec,
    counted,
    data::Dataset,
    evaluate::Evaluation,
    lint::{self, Examined, Mistake},
    model::BatchSafety,
    oracle::{Budget, pool::Parallelism},
    plan,
    preprocessing::likely,
    results::{
        DataRecord, FindingRecord, ModelRecord, Run, RunFolder, Settings, Truth, table::SCHEMA,
    },
    run::{self, Ended, Limits},
    threat::Threat,
};
use toml::Table;

use super::{Args, preprocessing};
use crate::{
    args::{self, Prepared, Shape},
    command_line::Typed,
    commands::warning,
    interrupt,
    progress::Progress,
    subject::Subject,
    terminal::{self, complain},
};

/// Pictures used to check the model before a run; `hoodwink inspect` uses more.
const LINTED_PICTURES: usize = 48;

/// Pictures used to search for better preprocessing before a run.
const SEARCHED_PICTURES: usize = 300;

/// The minimum number of labelled pictures needed to tell which preprocessing is right.
const TELLING_PICTURES: usize = 16;

/// Queries that the check may use per picture of the run: a few per cent of the cost of a gradient attack.
const ANSWERS_EACH: u64 = 5;

/// Multiply-adds that the check may always use: one or two seconds on two cores.
const LINT_EFFORT: u64 = 50_000_000_000;

/// A run that is ready to start.
pub(crate) struct Plan {
    model: Subject,
    data: Dataset,
    evaluation: Evaluation,
    crew: Parallelism,
    record: Run,
    again: String,
}

impl Plan {
    /// Opens and checks the files named in the arguments.
    pub(crate) fn new(args: &Args, typed: &Typed) -> Result<Self> {
        let mut prepared = args.model.resolve()?;
        let model = Subject::open(&args.model, &args.remote, &prepared, args.access)?;
        let shape = Shape {
            input: model.input(),
            classes: model.classes(),
        };
        terminal::note(model.notices());
        let mut data = args.data.open(&mut prepared, shape)?;
        let names = data.class_names().unwrap_or_default().to_vec();
        let evaluation = args.evaluation(&model, &names)?;
        let truth = args.label.settle(&mut data, shape.classes)?;
        let mut opened = Opened {
            crew: args.crew.resolve(shape.input.iter().product()),
            prepared,
            model,
            data,
            findings: None,
        };
        opened.fit(args, &evaluation)?;
        opened.check(args)?;
        let mut plan = Self {
            record: args.record(&opened, typed, &evaluation, truth)?,
            again: typed.again.clone(),
            model: opened.model,
            data: opened.data,
            crew: opened.crew,
            evaluation,
        };
        plan.sweep(args)?;
        Ok(plan)
    }

    /// Returns the contents of `run.toml`.
    pub(crate) fn record(&self) -> &Run {
        &self.record
    }

    /// Chooses the radii if a range was given.
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

    /// Runs the attacks and writes the run folder.
    pub(crate) fn run(&self, args: &Args, limits: Limits) -> Result<(RunFolder, Ended)> {
        if self.model.file().is_none() {
            interrupt::drop_at_once();
        }
        let halt = interrupt::halt()?;
        let folder = RunFolder::create(args.folder()?, &self.record)?;
        folder.write_command(&self.again)?;
        let mut progress = Progress::new("attacking", args.crew.quiet);
        let ended = run::run(
            &folder,
            &self.evaluation,
            self.model.model(),
            &self.data,
            self.crew,
            limits,
            halt,
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
                    "note: with this engine, the scores of a picture depend on the rest of the batch, so pictures were processed \
                     one at a time; another --engine may be faster",
                );
            }
        }
        Ok((folder, ended))
    }
}

/// The opened files, before checking that they fit together.
struct Opened {
    prepared: Prepared,
    model: Subject,
    data: Dataset,
    crew: Parallelism,
    findings: Option<Vec<FindingRecord>>,
}

impl Opened {
    /// Reduces parallelism to fit into the allowed memory.
    fn fit(&mut self, args: &Args, evaluation: &Evaluation) -> Result<()> {
        if let (Some(limit), Some(model)) = (args.max_memory, self.model.file()) {
            let gradients = plan::asks_for_gradients(evaluation);
            let crew = run::fitting(model, gradients, self.crew, limit)?;
            if crew != self.crew {
                complain(&format!(
                    "note: --max-memory limits the run to {} with {} each",
                    counted(crew.threads, "thread", "threads"),
                    counted(crew.batch, "picture", "pictures")
                ));
            }
            self.crew = crew;
        }
        // A remote model takes no memory here.
        if let Subject::File(file) = &mut self.model {
            file.set_threads(self.crew.threads);
        }
        Ok(())
    }

    /// Infers the preprocessing if it is not set, reads every picture, and looks for gross mistakes.
    fn check(&mut self, args: &Args) -> Result<()> {
        let has_labels = self.data.labels().is_ok();
        if let (Some(model), false, false) = (self.model.file(), self.prepared.is_said, has_labels)
            && !preprocessing::is_own_model(&args.model, &self.prepared)
        {
            return Err(preprocessing::ask(&args.model, &self.prepared, model, &self.data)?.into());
        }
        if args.no_lint {
            return Ok(());
        }
        let mut progress = Progress::new("reading", args.crew.quiet);
        let tell = |done| progress.show(done, self.data.len(), "");
        let checked = (self.data).check(self.model.input(), self.crew.threads, tell);
        progress.finish();
        checked?;
        let Some(mut examined) = self.examine(args)? else {
            return Ok(());
        };
        if let Some(better) = examined.better.take_if(|_| !self.prepared.is_said) {
            let saw = examined
                .findings
                .iter()
                .find(|one| one.mistake == Mistake::Preprocessing);
            let saw = saw.map_or_else(String::new, |finding| {
                format!("; {} ({})", finding.saw, finding.remedy)
            });
            terminal::note([format!(
                "no preprocessing was given, so it was inferred from the labels{saw}; set --preprocessing if you know it"
            )]);
            self.prepared.preprocessing = better;
            self.prepared.is_said = true;
            self.model = Subject::open(&args.model, &args.remote, &self.prepared, args.access)?;
            if let Subject::File(file) = &mut self.model {
                file.set_threads(self.crew.threads);
            }
            examined = self.examine(args)?.unwrap_or_default();
        } else if has_labels && !self.prepared.is_said && self.data.len() < TELLING_PICTURES {
            let likely = likely(self.model.input()).join(", ");
            terminal::note([format!(
                "no preprocessing was given, and {} are too few to infer it, so the model gets pixels from 0 to 1. Likely values of \
                 --preprocessing: {likely}",
                counted(self.data.len(), "labelled picture", "labelled pictures")
            )]);
        }
        for finding in &examined.findings {
            complain(&warning(finding));
        }
        self.findings = Some(examined.findings.iter().map(Into::into).collect());
        Ok(())
    }

    /// Checks the model on some pictures. Remote models are left out because each query may cost money.
    fn examine(&self, args: &Args) -> Result<Option<Examined>> {
        let Some(model) = self.model.file() else {
            return Ok(None);
        };
        let answer = model.multiply_adds().unwrap_or(0);
        let depth = lint::Depth {
            pictures: LINTED_PICTURES,
            searched: SEARCHED_PICTURES,
            multiply_adds: LINT_EFFORT.max(ANSWERS_EACH * self.data.len() as u64 * answer),
            // Unknown preprocessing is worth a search even if most predictions are right.
            always_search: !self.prepared.is_said,
            threads: self.crew.threads,
        };
        let mut progress = Progress::new("asking", args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let said = &self.prepared.preprocessing;
        let examined = lint::examine(model, said, &self.data, depth, tell);
        progress.finish();
        Ok(Some(examined?))
    }
}

impl Args {
    /// Builds the evaluation from the arguments.
    fn evaluation(&self, model: &Subject, names: &[String]) -> Result<Evaluation> {
        let (input, classes) = (model.input(), model.classes());
        let target = self.target.as_deref();
        let target = target.map(|target| plan::target(target, names, classes));
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
        let mut radii = self.radii(norm);
        if radii.is_empty() {
            radii.extend(plan::radius_by_default(&attacks, norm, input));
            for radius in &radii {
                terminal::note([format!(
                    "no --eps given; using {radius}, the usual radius in {norm} for colour pictures"
                )]);
            }
        }
        let options = plan::Options {
            attacks,
            shared: shared.collect(),
            threat: Threat {
                norm,
                target: target.transpose()?,
                // Gradients are the default, but remote models do not provide them.
                access: self.access.min(model.gives()),
                budget: Budget {
                    queries: self.max_queries.unwrap_or(u64::MAX),
                    gradients: self.max_gradients.unwrap_or(u64::MAX),
                },
            },
            radii,
            skips_broken: self.skip_broken,
            seed: self.seed,
        };
        Ok(plan::evaluation(&options, input, classes)?)
    }

    fn record(
        &self,
        opened: &Opened,
        typed: &Typed,
        evaluation: &Evaluation,
        truth: Truth,
    ) -> Result<Run> {
        let Opened {
            prepared,
            model,
            data,
            ..
        } = opened;
        Ok(Run {
            schema: SCHEMA,
            hoodwink: env!("CARGO_PKG_VERSION").to_owned(),
            engine: model.engine(),
            partition: self.partition,
            findings: opened.findings.clone(),
            model: ModelRecord {
                path: args::text(&self.model.model),
                sha256: model.sha256().to_owned(),
                input: model.input(),
                classes: model.classes(),
                preprocessing: prepared.record(model.file())?,
            },
            data: DataRecord {
                path: args::text(&self.data.data),
                digest: data.digest()?,
                samples: data.len(),
                class_names: data.class_names().unwrap_or_default().to_vec(),
                truth,
            },
            threat: plan::threat_record(evaluation),
            attacks: plan::attack_records(evaluation),
            settings: Settings { seed: self.seed },
            options: options(prepared, typed)?,
        })
    }
}

/// Returns the options that were given. Files of preprocessing are replaced by their contents.
fn options(prepared: &Prepared, typed: &Typed) -> Result<Table> {
    let mut options = typed.options.clone();
    options.remove("preprocessing");
    options.extend(prepared.options()?);
    Ok(options)
}
