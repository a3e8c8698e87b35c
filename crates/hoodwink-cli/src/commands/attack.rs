//! `hoodwink attack`: attacks a model on a data set and writes a run folder.

mod labels;
mod plan;
mod preprocessing;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use hoodwink::{
    attacks::{ATTACKS, Entry, LossName, StepRule},
    counted,
    data::Partition,
    model::Remote,
    oracle::Access,
    report,
    results::{RunFolder, Summary, next_folder},
    run::{Ended, Limits},
    threat::{Eps, Norm, Radius, Sweep},
};

use labels::LabelArgs;
pub(crate) use plan::Plan;

use super::Format;
use crate::{
    Status,
    args::{ConfigArgs, CrewArgs, DataArgs, ModelArgs, number, text, whole},
    command_line::{Typed, quoted},
    open, preview, settings,
    subject::RemoteArgs,
    terminal::{self, complain},
};

/// The parent of run folders when --out is not given.
const RUNS: &str = "hoodwink-runs";

/// Attack a model on pictures and write a run folder with a report.
///
/// Only pictures that the model classifies correctly are attacked. Without --eps, the attack looks for the smallest
/// change that fools the model. With --eps, it looks for any change within that radius, measured on pixel values from 0
/// to 1 whatever range the model expects. For pictures without labels, the attack tries to change the predicted class.
/// Success is judged twice: on the floating-point image, and on the 8-bit PNG after it is saved and read back. An
/// interrupted run resumes when you repeat the command.
#[derive(Parser)]
#[command(mut_arg("batch", |batch| batch.alias("batch-size")))]
#[command(after_help = "Examples:
  Find the smallest change to a photograph that fools a network:
    hoodwink attack resnet.onnx cat.jpg --preprocessing imagenet --open

  Plot robust accuracy against the radius:
    hoodwink attack cifar.onnx x.npy --labels y.npy --eps 0..8/255 --out runs/curve

  Attack a network for 32x32 pictures at two radii:
    hoodwink attack cifar.onnx x.npy --labels y.npy \\
      --eps 2/255,8/255 --restarts 5 --out runs/pgd

  Run one attack with two losses, then find the smallest distance instead:
    hoodwink attack cifar.onnx x.npy --labels y.npy \\
      --eps 8/255 --attack 'pgd(loss=dlr, steps=100), pgd(loss=ce)' --out runs/losses
    hoodwink attack cifar.onnx x.npy --labels y.npy --norm l2 --out runs/nearest

  Run two attacks in L2 on photographs, with one folder per class:
    hoodwink attack resnet.onnx photos/ --resize 256 --crop 224 \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
      --attack fgsm,pgd --norm l2 --eps 0.5,1 --out runs/l2

  Make the model predict a target class: its least likely one, or goldfish:
    hoodwink attack cifar.onnx x.npy --labels y.npy --eps 8/255 \\
      --target least-likely --loss two-term --steps 100 --out runs/targeted
    hoodwink attack resnet.onnx cat.jpg --preprocessing imagenet --eps 8/255 --target goldfish

  Split the pictures between three machines, then merge the runs:
    hoodwink attack cifar.onnx x.npy --labels y.npy --eps 8/255 --partition 1/3 --out runs/1
    hoodwink merge runs/1 runs/2 runs/3 --out runs/all

  Attack a model behind a URL using only its scores:
    hoodwink attack --model http://localhost:8000/predict pictures/ \\
      --attack square --eps 8/255 --out runs/remote

  Read options from a file (model = 'cifar.onnx', eps = ['2/255', '8/255'], ...):
    hoodwink attack --config experiment.toml --out runs/a

--format json prints one object: model, data, threat, and attacks, with one entry per attack and eps.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    label: LabelArgs,
    #[arg(
        long,
        value_name = "ATTACKS",
        alias = "attacks",
        help_heading = "Attack",
        help = short_list(),
        long_help = long_list()
    )]
    attack: Vec<String>,
    /// Norm that measures distance: linf, l2 or l1 [default: linf if all attacks support it; l2 to find the smallest
    /// distance]
    #[arg(long, help_heading = "Attack")]
    norm: Option<Norm>,
    /// Radii in pixel units from 0 to 1, such as 8/255 or 0.5; or a range such as 0..8/255 or 0.., with more radii
    /// where accuracy falls [default: none, to find the smallest distance; 8/255 for attacks that need a radius, in
    /// linf on colour pictures]
    #[arg(
        long,
        value_delimiter = ',',
        allow_hyphen_values = true,
        aliases = ["epsilon", "epsilons", "radius"],
        help_heading = "Attack"
    )]
    eps: Vec<Radius>,
    /// Skip pictures that an earlier attack has already broken at the same radius
    #[arg(long, help_heading = "Attack")]
    skip_broken: bool,
    /// Number of steps; this and the following options apply to every attack that has the parameter and does not set it
    /// in its own parentheses
    #[arg(
        long,
        value_name = "N",
        aliases = ["iterations", "iters", "num-steps", "n-steps", "num-iterations", "max-iter", "nb-iter"],
        value_parser = whole::<usize>,
        help_heading = "Attack"
    )]
    steps: Option<usize>,
    /// Step size: in pixel units (2/255) or as a multiple of the radius (0.1*eps)
    #[arg(
        long,
        value_name = "SIZE",
        aliases = ["alpha", "stepsize"],
        allow_hyphen_values = true,
        help_heading = "Attack"
    )]
    step_size: Option<String>,
    /// Number of restarts of an attack with a random start, including the first start
    #[arg(
        long,
        value_name = "N",
        aliases = ["num-restarts", "n-restarts"],
        value_parser = whole::<usize>,
        help_heading = "Attack"
    )]
    restarts: Option<usize>,
    /// Loss to maximise: ce, margin, dlr or, with a target class, two-term
    #[arg(long, alias = "loss-fn", help_heading = "Attack")]
    loss: Option<LossName>,
    /// Rule that turns a gradient into a step: steepest, sign, adam, sgd, rmsprop or adagrad
    #[arg(long, value_name = "RULE", help_heading = "Attack")]
    step_rule: Option<StepRule>,
    /// Whether to start at a random point of the ball
    #[arg(long, value_name = "BOOL", aliases = ["random-init", "rand-init"], help_heading = "Attack")]
    random_start: Option<bool>,
    /// Momentum of step rule sgd
    #[arg(long, value_name = "SHARE", value_parser = number, help_heading = "Attack")]
    momentum: Option<f64>,
    /// Number of samples that a noise attack draws
    #[arg(long, value_name = "N", value_parser = whole::<usize>, help_heading = "Attack")]
    tries: Option<usize>,
    /// Target class: a name or number, most-likely, least-likely or random
    #[arg(
        long,
        value_name = "CLASS",
        alias = "target-class",
        help_heading = "Threat"
    )]
    target: Option<String>,
    /// What the attacker can see: labels, scores or gradients; for labels and scores, the engine can also run a model
    /// that cannot be imported
    #[arg(long, default_value = "gradients", help_heading = "Threat")]
    access: Access,
    /// Maximum number of queries (forward passes) per picture and attack
    #[arg(long, value_name = "N", aliases = ["queries", "query-budget"], value_parser = whole::<u64>, help_heading = "Threat")]
    max_queries: Option<u64>,
    /// Maximum number of gradients per picture and attack
    #[arg(long, value_name = "N", value_parser = whole::<u64>, help_heading = "Threat")]
    max_gradients: Option<u64>,
    /// Attack only part K of N of the pictures, such as 3/8; combine the parts with `hoodwink merge`
    #[arg(long, value_name = "K/N", help_heading = "Run")]
    partition: Option<Partition>,
    /// Stop after this many seconds; repeat the command to resume
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Run")]
    max_seconds: Option<Duration>,
    /// Maximum memory of the process, such as 2GiB; fewer pictures are processed at once to fit, and the run stops if
    /// it still exceeds the limit
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Run")]
    max_memory: Option<u64>,
    /// Skip the checks before the run: reading all pictures and looking for wrong preprocessing or labels
    #[arg(long, help_heading = "Run")]
    no_lint: bool,
    /// Random seed
    #[arg(long, default_value_t = 0, alias = "random-seed", value_parser = whole::<u64>)]
    seed: u64,
    /// Run folder: rows, pictures, run.toml, report.html [default: the next free hoodwink-runs/MODEL-001]
    #[arg(short, long, value_name = "RUN", aliases = ["output", "out-dir", "output-dir"])]
    out: Option<PathBuf>,
    /// Open the report when it is ready
    #[arg(long)]
    open: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    crew: CrewArgs,
}

/// Runs the command. `typed` holds the arguments as the user typed them.
pub(crate) fn run(args: &Args, typed: &Typed) -> Result<Status> {
    let limits = args.limits();
    let plan = Plan::new(args, typed)?;
    if args.config.show_settings {
        write!(terminal::out(), "{}", settings::to_toml(plan.record())?)?;
        return Ok(Status::Done);
    }
    let (folder, ended) = plan.run(args, limits)?;
    let resume = args.resume(&folder);
    let (done, all) = (
        folder.samples().count() as u64 - folder.missing_samples()?,
        folder.samples().count(),
    );
    let status = match ended {
        Ended::Complete => Status::Done,
        Ended::Halted => {
            complain(&format!(
                "stopped after {done} of {}; {resume}",
                counted(all, "picture", "pictures")
            ));
            Status::Interrupted
        }
        Ended::OutOfTime => {
            complain(&format!(
                "time limit reached after {done} of {}; {resume}",
                counted(all, "picture", "pictures")
            ));
            Status::Interrupted
        }
        Ended::OutOfMemory(bytes) => {
            complain(&format!(
                "stopped after {done} of {}: memory use of {} MiB exceeds --max-memory; {resume}, with fewer --threads or a smaller \
                 --batch",
                counted(all, "picture", "pictures"),
                bytes >> 20
            ));
            Status::Interrupted
        }
    };
    args.print(&folder)?;
    Ok(status)
}

impl Args {
    /// Parses words as typed after `hoodwink`.
    pub(crate) fn parse_words(words: impl IntoIterator<Item = String>) -> Result<(Self, Typed)> {
        let command = Self::command();
        let matches: ArgMatches = command.clone().try_get_matches_from(words)?;
        let typed = Typed::of(&command, "attack", &matches);
        Ok((Self::from_arg_matches(&matches)?, typed))
    }

    /// Returns the limits on time and memory, counted from now.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            // A deadline beyond the range of the clock counts as no deadline.
            deadline: self
                .max_seconds
                .and_then(|most| Instant::now().checked_add(most)),
            memory: self.max_memory,
        }
    }

    /// Returns the radii that were given, or the upper end of a range.
    fn radii(&self, norm: Norm) -> Vec<Eps> {
        let radius = |radius: &Radius| match radius {
            Radius::At(eps) => eps.clone(),
            Radius::Sweep(sweep) => sweep.to_in(norm),
        };
        self.eps.iter().map(radius).collect()
    }

    /// Returns the range to choose radii from, if one was given.
    fn sweep(&self) -> Result<Option<&Sweep>> {
        let range = |radius| match radius {
            &Radius::At(_) => None,
            Radius::Sweep(sweep) => Some(sweep),
        };
        match self.eps.iter().find_map(range) {
            Some(sweep) if self.eps.len() > 1 => {
                bail!(
                    "--eps {sweep} is a range and cannot be combined with other radii; leave them out"
                )
            }
            sweep => Ok(sweep),
        }
    }

    /// Writes the report, prints the results and shows a preview if the terminal supports it.
    fn print(&self, folder: &RunFolder) -> Result<()> {
        let report = report::write(folder)?;
        let rows = folder.rows()?;
        let summary = Summary::of(folder.run(), &rows, folder.timing()?.as_ref());
        if self.format == Format::Table && !self.crew.quiet {
            preview::show(folder, &rows)?;
        }
        super::print_summary(&summary, &report, self.format)?;
        if self.open {
            open::open(&report);
        }
        Ok(())
    }

    /// Explains how to resume the run.
    fn resume(&self, folder: &RunFolder) -> String {
        match &self.out {
            Some(_) => "repeat the command to resume".to_owned(),
            None => format!(
                "repeat the command with --out {} to resume",
                quoted(&text(folder.path()))
            ),
        }
    }

    /// Returns the run folder: --out, or a new folder named after the model.
    fn folder(&self) -> Result<PathBuf> {
        if let Some(out) = &self.out {
            return Ok(out.clone());
        }
        let name = match Remote::is_named_by(&self.model.model.to_string_lossy()) {
            true => "remote".into(),
            false => {
                (self.model.model.file_stem()).map_or("run".into(), |stem| stem.to_string_lossy())
            }
        };
        Ok(next_folder(Path::new(RUNS), &name)?)
    }
}

/// Parses a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

/// Parses a number of bytes: `500000000`, `500MB`, `0.5GiB`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: f64 = match &text[digits.len()..].to_ascii_lowercase()[..] {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => f64::from(1 << 20),
        "g" | "gib" => f64::from(1 << 30),
        _ => 0.0,
    };
    let bytes = digits
        .trim()
        .parse()
        .map_or(0.0, |number: f64| number * unit);
    match bytes >= 1.0 && bytes < u64::MAX as f64 {
        true => Ok(bytes as u64),
        false => Err("expected an amount of memory, such as 500MB or 2GiB".to_owned()),
    }
}

/// Returns the short help of --attack: the names of all attacks.
fn short_list() -> String {
    let names: Vec<&str> = ATTACKS.iter().map(|entry| entry.name).collect();
    format!(
        "Attacks to run in order, separated by commas, with optional parameters: 'pgd(loss=dlr, steps=100), fgsm' [default: pgd with --eps]: {}",
        names.join(", ")
    )
}

/// Returns the long help of --attack: all attacks with their summaries.
fn long_list() -> String {
    let width = ATTACKS
        .iter()
        .map(|entry| entry.name.len())
        .max()
        .unwrap_or(0);
    let line = |entry: &Entry| format!("\n- {:width$}  {}", entry.name, entry.summary);
    let lines: String = ATTACKS.iter().map(line).collect();
    format!(
        "Attacks to run in order, separated by commas, with optional parameters: 'pgd(loss=dlr, steps=100), fgsm' [default: pgd \
         with --eps, else one that finds the smallest norm]; `hoodwink attacks NAME` describes one in detail:{lines}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_their_units() {
        for (text, expected) in [
            ("500000000", 500_000_000),
            ("500MB", 500_000_000),
            ("0.5GiB", 1 << 29),
            ("64m", 64 << 20),
            ("2 kib", 2048),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "GiB", "-1", "0", "2TB", "nan", "inf", "1e400"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "nan", "inf", "a"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
