//! What `hoodwink attack` will do, with everything opened and checked, before anything is written.

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

/// Pictures that the model is asked about before a run; `hoodwink inspect` takes more.
const LINTED_PICTURES: usize = 48;

/// Pictures that a search for other preprocessing shows before a run.
const SEARCHED_PICTURES: usize = 300;

/// Fewer pictures with labels hardly tell which preprocessing is right.
const TELLING_PICTURES: usize = 16;

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

    /// What `run.toml` will say.
    pub(crate) fn record(&self) -> &Run {
        &self.record
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
                    "note: what the engine answers about a picture depends on the others in the batch, so each was asked \
                     about alone; another --engine may be faster",
                );
            }
        }
        Ok((folder, ended))
    }
}

/// What the arguments name, before it is known to fit together.
struct Opened {
    prepared: Prepared,
    model: Subject,
    data: Dataset,
    crew: Parallelism,
    findings: Option<Vec<FindingRecord>>,
}

impl Opened {
    /// Lets so much run at once as fits into the memory allowed.
    fn fit(&mut self, args: &Args, evaluation: &Evaluation) -> Result<()> {
        if let (Some(limit), Some(model)) = (args.max_memory, self.model.file()) {
            let gradients = plan::asks_for_gradients(evaluation);
            let crew = run::fitting(model, gradients, self.crew, limit)?;
            if crew != self.crew {
                complain(&format!(
                    "note: --max-memory leaves room for {} with {} each",
                    counted(crew.threads, "thread", "threads"),
                    counted(crew.batch, "picture", "pictures")
                ));
            }
            self.crew = crew;
        }
        // Of a model elsewhere no memory is taken here.
        if let Subject::File(file) = &mut self.model {
            file.set_threads(self.crew.threads);
        }
        Ok(())
    }

    /// Finds out what nobody said, reads every picture, and looks for gross mistakes.
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
                "nobody said how pixels are prepared for the model, so it was found out with the labels{saw}; --preprocessing \
                 says what is certain"
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
                "nobody said how pixels are prepared for the model, and {} cannot tell: they go in from 0 to 1. Likely values of \
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

    /// Asks the model about some pictures; each question to a model elsewhere may cost money.
    fn examine(&self, args: &Args) -> Result<Option<Examined>> {
        let Some(model) = self.model.file() else {
            return Ok(None);
        };
        let answer = model.multiply_adds().unwrap_or(0);
        let depth = lint::Depth {
            pictures: LINTED_PICTURES,
            searched: SEARCHED_PICTURES,
            multiply_adds: LINT_EFFORT.max(ANSWERS_EACH * self.data.len() as u64 * answer),
            // What nobody said is worth a search, also where most pictures are right.
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
    /// What is asked for, understood.
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
                    "without --eps it is {radius}, the usual one in {norm} for colour pictures"
                )]);
            }
        }
        let options = plan::Options {
            attacks,
            shared: shared.collect(),
            threat: Threat {
                norm,
                target: target.transpose()?,
                // Gradients are the default, and no model elsewhere has them.
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

/// The options that were typed, with what other files said about preprocessing in place of their names.
fn options(prepared: &Prepared, typed: &Typed) -> Result<Table> {
    let mut options = typed.options.clone();
    options.remove("preprocessing");
    options.extend(prepared.options()?);
    Ok(options)
}
