//! `hoodwink attack`: attacks a model on a data set, into a run folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Result, bail};
use clap::Parser;
use hoodwink::{
    attacks::{self, ATTACKS, AttackOptions, Entry, LossName, StepRule},
    data::Dataset,
    evaluate::{Evaluation, Threat, Trial},
    lint,
    model::{Classifier, Company},
    oracle::{Access, Spent},
    report,
    results::{
        AttackRecord, DataRecord, ModelRecord, Run, RunFolder, Settings, Summary, ThreatRecord,
        table::SCHEMA, text,
    },
    run::run as run_into,
    threat::{Eps, Norm, TargetChoice},
};

use super::{Format, warning};
use crate::{
    Status,
    args::{self, CrewArgs, DataArgs, ModelArgs, Prepared},
    interrupt,
    progress::{Progress, complain},
};

/// Pictures that the model is asked about before a run, to find gross mistakes; `hoodwink inspect` takes more.
const LINTED_PICTURES: usize = 48;

/// Attack a model on a data set, and write a run folder with its report.
///
/// Every picture the model gets right is attacked inside the ball of radius eps around it, in pixel units from 0 to 1
/// whatever the model eats. Success is judged twice: on the attack's own floats, and on the 8-bit PNG, written and read
/// back. An interrupted run is taken up again by the same command.
#[derive(Parser)]
#[command(after_help = "Examples:
  What fools a network for 32x32 pictures, at two radii:
    hoodwink attack cifar.onnx x.npy --labels y.npy \\
      --eps 2/255,8/255 --restarts 5 --out runs/pgd

  Two attacks on photographs, one folder per class, in L2:
    hoodwink attack resnet.onnx photos/ --resize 256 --crop 224 \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
      --attack fgsm,pgd --norm l2 --eps 0.5,1 --out runs/l2

  Make the model see what it finds least likely:
    hoodwink attack cifar.onnx x.npy --labels y.npy --eps 8/255 \\
      --target least-likely --loss two-term --steps 100 --out runs/targeted

With --format json one object is printed: model, data, threat, and under attacks one entry for each attack at each eps.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "pgd",
        help_heading = "Attack",
        help = short_list(),
        long_help = long_list()
    )]
    attack: Vec<String>,
    /// Norm of the ball: linf, l2 or l1
    #[arg(long, default_value_t = Norm::Linf, help_heading = "Attack")]
    norm: Norm,
    /// Radii of the ball in pixel units from 0 to 1, such as 8/255 or 0.5
    #[arg(long, value_delimiter = ',', required = true, help_heading = "Attack")]
    eps: Vec<Eps>,
    /// Steps of an iterative attack; without it, as for all options here, each attack's own default
    #[arg(long, value_name = "N", help_heading = "Attack")]
    steps: Option<usize>,
    /// Size of a step, in the same units as eps
    #[arg(long, value_name = "SIZE", help_heading = "Attack")]
    step_size: Option<Eps>,
    /// Times an attack with a random start begins anew
    #[arg(long, value_name = "N", help_heading = "Attack")]
    restarts: Option<usize>,
    /// What the attack maximises: ce, margin, dlr or, with a target, two-term
    #[arg(long, help_heading = "Attack")]
    loss: Option<LossName>,
    /// How a gradient becomes a step: steepest, sign, adam, sgd, rmsprop or adagrad
    #[arg(long, value_name = "RULE", help_heading = "Attack")]
    step_rule: Option<StepRule>,
    /// Whether an attack begins at a random point of the ball
    #[arg(long, value_name = "BOOL", help_heading = "Attack")]
    random_start: Option<bool>,
    /// Momentum of the step rule sgd
    #[arg(long, value_name = "SHARE", help_heading = "Attack")]
    momentum: Option<f64>,
    /// Samples a noise attack draws
    #[arg(long, value_name = "N", help_heading = "Attack")]
    tries: Option<usize>,
    /// Aim at a class: its number, most-likely, least-likely or random
    #[arg(long, value_name = "CLASS", help_heading = "Threat")]
    target: Option<TargetChoice>,
    /// Most the attacker may see: labels, scores or gradients; without gradients, a model that cannot be imported is run as it
    /// is by the engine
    #[arg(long, default_value = "gradients", help_heading = "Threat")]
    access: Access,
    /// Most forward passes for each picture and attack
    #[arg(long, value_name = "N", help_heading = "Threat")]
    max_queries: Option<u64>,
    /// Most gradients for each picture and attack
    #[arg(long, value_name = "N", help_heading = "Threat")]
    max_gradients: Option<u64>,
    /// Do not look for wrong preprocessing and labels first
    #[arg(long)]
    no_lint: bool,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the run: rows, pictures, run.toml, report.html
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    crew: CrewArgs,
}

/// `again` is the command line that repeats the run.
pub(crate) fn run(args: &Args, again: &str) -> Result<Status> {
    let Some(folder) = attack(args, again)? else {
        complain(&format!(
            "stopped; the same command takes {} up again",
            args.out.display()
        ));
        return Ok(Status::Interrupted);
    };
    let report = report::write(&folder)?;
    let summary = Summary::of(folder.run(), &folder.rows()?, folder.timing()?.as_ref());
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            serde_json::to_writer(&mut out, &summary)?;
            writeln!(out)?;
        }
        Format::Table => {
            write!(out, "{}", text::plain(&summary))?;
            writeln!(out, "report: {}", report.display())?;
        }
    }
    Ok(Status::Done)
}

/// Attacks into the run folder; `None` if Ctrl-C came before the end.
pub(crate) fn attack(args: &Args, again: &str) -> Result<Option<RunFolder>> {
    let prepared = args.model.resolve()?;
    let model = args.model.open(&prepared, args.access)?;
    let trials = args.trials(model.classes())?;
    let recipes = recipes(&args.attack, &trials);
    let data = args.data.open(&prepared, &model)?;
    data.labels()?;
    for notice in model.notices().iter().chain(data.notices()) {
        complain(&format!("note: {notice}"));
    }
    if !args.no_lint {
        let depth = lint::Depth {
            pictures: LINTED_PICTURES,
            always_search: false,
            threads: args.crew.resolve().threads,
        };
        for finding in args.model.lint(&prepared, &model, &data, depth)? {
            complain(&warning(&finding));
        }
    }
    let class_names = prepared.class_names(&model, &data)?;
    let record = args.record(&prepared, &model, &data, class_names, recipes)?;
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
    let folder = RunFolder::create(&args.out, &record)?;
    folder.write_command(again)?;

    let stop = interrupt::requested()?;
    let mut progress = Progress::new("attacking", args.crew.quiet);
    let complete = run_into(
        &folder,
        &evaluation,
        &model,
        &data,
        args.crew.resolve(),
        stop,
        |so_far| {
            let mut success = String::new();
            if so_far.attempted > 0 {
                let share = 100.0 * so_far.fooled as f64 / so_far.attempted as f64;
                // Writing to a string cannot fail.
                let _ = write!(success, "fooled {share:.1}%");
            }
            progress.show(so_far.done, so_far.samples, &success);
        },
    )?;
    progress.finish();
    if !model.runs_as_it_is()
        && model
            .companies()?
            .values()
            .any(|&company| company == Company::Alone)
    {
        complain(
            "note: what the engine answers about a picture depends on the others in the batch, so each was asked about \
             alone; another --engine may be faster",
        );
    }
    Ok(complete.then_some(folder))
}

impl Args {
    /// Every attack at every eps, in order.
    fn trials(&self, classes: usize) -> Result<Vec<Trial>> {
        refuse_twice("attack", &self.attack)?;
        refuse_twice("eps", &self.eps)?;
        // A difference of 1 turns black into white.
        if let Some(eps) = self
            .eps
            .iter()
            .find(|eps| self.norm == Norm::Linf && eps.value() > 1.0)
        {
            bail!(
                "eps {eps} allows any picture at all: pixels are from 0 to 1; did you mean {eps}/255?"
            );
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
                    attack,
                });
            }
        }
        Ok(by_attack.into_iter().flatten().collect())
    }

    fn record(
        &self,
        prepared: &Prepared,
        model: &Classifier,
        data: &Dataset,
        class_names: Vec<String>,
        attacks: Vec<AttackRecord>,
    ) -> Result<Run> {
        let budget = [
            ("queries", self.max_queries),
            ("gradients", self.max_gradients),
        ];
        Ok(Run {
            schema: SCHEMA,
            hoodwink: env!("CARGO_PKG_VERSION").to_owned(),
            engine: model.engine().version(),
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
                class_names,
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
            attacks,
            settings: Settings { seed: self.seed },
        })
    }
}

/// The names of all attacks.
fn short_list() -> String {
    let names: Vec<&str> = ATTACKS.iter().map(|entry| entry.name).collect();
    format!("Attacks, in order, parted by commas: {}", names.join(", "))
}

/// All attacks with what they do.
fn long_list() -> String {
    let width = ATTACKS
        .iter()
        .map(|entry| entry.name.len())
        .max()
        .unwrap_or(0);
    let line = |entry: &Entry| format!("\n- {:width$}  {}", entry.name, entry.summary);
    let lines: String = ATTACKS.iter().map(line).collect();
    format!("Attacks, in order, parted by commas:{lines}\n")
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
