//! `hoodwink train`: a small classifier, plainly or adversarially, as an ONNX file.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hoodwink::{
    Error,
    data::{Crop, DataOptions, Dataset, Interpolation, Resize, Transform},
    files, legible, report,
    threat::{Ball, Eps, Norm},
    train::{
        self, Adversarial, Architecture, Augment, Checkpoint, Epoch, Optimiser, Preset, Schedule,
        Settings,
    },
};

use serde::Serialize;

use super::{Format, print_json};
use crate::{
    Status,
    args::{ConfigArgs, CrewArgs, DataArgs, EngineArg, number, text, whole},
    interrupt,
    progress::Progress,
    terminal::{self, complain},
};

/// Time between two checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(20);

/// Train a small classifier, plainly or adversarially, and write it as an ONNX file.
///
/// With --adversarial-eps every picture is attacked by PGD before it is learned from (Madry et al., arXiv 1706.06083).
/// The same seed gives the same file for any number of threads. A training that was interrupted or killed resumes when
/// you repeat the command. MODEL.history.html and MODEL.history.csv beside the model show how it went.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink train scenes:count=10000 --held-out scenes:count=500,seed=1 --epochs 8 --shift 4 --flip -o scenes.onnx
  hoodwink train x.npy --labels y.npy --preset tutorial --epochs 10 -o mnist.onnx
  hoodwink train photos/ --resize 72 --crop 64 --epochs 20 --adversarial-eps 8/255 -o robust.onnx

With --format json one object is printed: model, and history with epoch, loss, train_accuracy, held_out_accuracy and
held_out_robust_accuracy (null where not measured) of each epoch.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Where to write the model
    #[arg(short, long, value_name = "FILE", alias = "output")]
    out: PathBuf,
    /// The network: tutorial (84 thousand weights on 28x28) or residual (about 100 thousand)
    #[arg(long, default_value = "residual")]
    preset: Preset,
    /// A network of one's own, a list of layers in TOML; docs/training.md says how
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    network: Option<PathBuf>,
    /// Passes over the pictures
    #[arg(long, value_name = "N", default_value_t = 10, alias = "num-epochs", value_parser = whole::<usize>)]
    epochs: usize,
    /// Pictures for each step of the optimiser
    #[arg(long, value_name = "N", default_value_t = 64, alias = "batch-size", value_parser = whole::<usize>)]
    train_batch: usize,
    /// How weights follow their gradients: adam or sgd
    #[arg(long, value_name = "RULE", default_value = "adam", alias = "optimizer")]
    optimiser: Optimiser,
    /// Share of the last step that sgd keeps [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = number)]
    momentum: Option<f64>,
    /// Largest learning rate [default: 0.002 for adam, 0.05 for sgd]
    #[arg(long, value_name = "RATE", alias = "lr", value_parser = number)]
    learning_rate: Option<f64>,
    /// How the learning rate changes after a short rise: cosine (to zero), steps (tenths at 1/2 and 3/4) or constant
    #[arg(long, value_name = "NAME", default_value = "cosine")]
    schedule: Schedule,
    /// Share of a weight that every step adds to its gradient
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = number)]
    weight_decay: f64,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0, alias = "random-seed", value_parser = whole::<u64>)]
    seed: u64,
    /// Where a training that is interrupted is kept [default: MODEL.checkpoint beside the model]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Resize every picture first: 256 (the short side) or 224x320 (height and width)
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    resize: Option<Resize>,
    /// How pictures are resized: bilinear, bicubic, lanczos, nearest, box or hamming [default: bilinear]
    #[arg(long, value_name = "FILTER", help_heading = "Data")]
    interpolation: Option<Interpolation>,
    /// Then cut this much out of the centre: 224 (a square) or 224x320 (height and width)
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    crop: Option<Crop>,
    /// Shift training pictures at random by up to so many pixels
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 0,
        value_parser = whole::<usize>,
        help_heading = "Data"
    )]
    shift: usize,
    /// Mirror half of the training pictures
    #[arg(long, help_heading = "Data")]
    flip: bool,
    /// Pictures to measure accuracy on after every epoch, named like the data
    #[arg(long, value_name = "DATA", help_heading = "Data")]
    held_out: Option<PathBuf>,
    /// Labels for held-out pictures
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    held_out_labels: Option<PathBuf>,
    /// Train adversarially: radius of the ball, in pixel units from 0 to 1
    #[arg(
        long,
        value_name = "EPS",
        alias = "adversarial-epsilon",
        allow_hyphen_values = true,
        help_heading = "Adversarial training"
    )]
    adversarial_eps: Option<Eps>,
    /// Norm of the ball: linf, l2 or l1
    #[arg(
        long,
        value_name = "NORM",
        default_value = "linf",
        requires = "adversarial_eps",
        help_heading = "Adversarial training"
    )]
    adversarial_norm: Norm,
    /// Steps of the inner attack
    #[arg(
        long,
        value_name = "N",
        default_value_t = 7,
        value_parser = whole::<usize>,
        requires = "adversarial_eps",
        help_heading = "Adversarial training"
    )]
    adversarial_steps: usize,
    /// Size of a step, in the same units as the radius [default: 2.5 radii over the number of steps]
    #[arg(
        long,
        value_name = "SIZE",
        requires = "adversarial_eps",
        help_heading = "Adversarial training"
    )]
    adversarial_step_size: Option<Eps>,
    /// Epochs to reach the full radius: the first half is plain training, in the second it grows [default: a third of all]
    #[arg(
        long,
        value_name = "N",
        requires = "adversarial_eps",
        value_parser = whole::<usize>,
        help_heading = "Adversarial training"
    )]
    warm_up_epochs: Option<usize>,
    /// What runs the network
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    engine: EngineArg,
    /// How to print what was written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    crew: CrewArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Written {
    model: String,
    history: Vec<Epoch>,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let settings = args.settings()?;
    let folder = args.out.parent().unwrap_or(Path::new(""));
    // Said now rather than after the first epoch.
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        bail!(
            "{}: there is no folder {}; make it first",
            text(&args.out),
            text(folder)
        );
    }
    let transform = Transform {
        resize: args.resize,
        interpolation: args.interpolation.unwrap_or_default(),
        crop: args.crop,
        ..Transform::default()
    };
    let data = args.data.open_with(transform.clone())?;
    let held_out = args
        .held_out
        .as_ref()
        .map(|path| {
            let options = DataOptions {
                labels: args.held_out_labels.clone(),
                transform,
                ..DataOptions::default()
            };
            Dataset::open(path, &options)
        })
        .transpose()?;
    if let Some(eps) = &args.adversarial_eps {
        let values = data.get(0)?.picture.bytes().len();
        eps.check_meant("--adversarial-eps", args.adversarial_norm, values)?;
    }
    for data in [Some(&data), held_out.as_ref()].into_iter().flatten() {
        terminal::note(data.notices());
    }
    let engine = args.engine.open()?;
    let checkpoint = Checkpoint {
        path: args
            .checkpoint
            .clone()
            .unwrap_or_else(|| args.out.with_extension("checkpoint")),
        every: CHECKPOINT_INTERVAL,
    };

    let halt = interrupt::halt()?;
    let mut progress = Progress::new("training", args.crew.quiet);
    let trained = train::train(
        &settings,
        engine.as_ref(),
        &data,
        held_out.as_ref(),
        Some(&checkpoint),
        |so_far| {
            match so_far {
                train::Progress::TakenUp { done, of } => {
                    if !args.crew.quiet {
                        let path = text(&checkpoint.path);
                        complain(&format!("goes on after step {done} of {of}, from {path}"));
                    }
                }
                train::Progress::Step { done, of, loss } => {
                    progress.show(done, of, &format!("loss {loss:.3}"));
                }
                train::Progress::Epoch(history) => {
                    write_history(&args.out, &settings, history)?;
                    if let Some(epoch) = history.last().filter(|_| !args.crew.quiet) {
                        complain(&line(epoch));
                    }
                }
            }
            match halt.is_asked() {
                true => Err(Error::Stopped),
                false => Ok(()),
            }
        },
    );
    progress.finish();
    let trained = match trained {
        Err(Error::Stopped) => {
            complain(&format!(
                "stopped; repeat the command to resume from {}",
                text(&checkpoint.path)
            ));
            return Ok(Status::Interrupted);
        }
        trained => trained?,
    };
    files::write(&args.out, &trained.to_onnx()?)?;
    // Whatever stopped an earlier call, its last epoch is in there.
    write_history(&args.out, &settings, &trained.history)?;
    // Not before the model is written: until then the training can be resumed.
    fs::remove_file(&checkpoint.path).with_context(|| text(&checkpoint.path))?;
    match args.format {
        Format::Json => print_json(&Written {
            model: text(&args.out),
            history: trained.history,
        })?,
        Format::Table => writeln!(terminal::out(), "{}", legible::line(&text(&args.out)))?,
    }
    Ok(Status::Done)
}

/// `MODEL.history.csv` and `MODEL.history.html`.
fn write_history(model: &Path, settings: &Settings, history: &[Epoch]) -> hoodwink::Result<()> {
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    for (ending, contents) in [
        ("history.csv", train::to_csv(history)?),
        (
            "history.html",
            report::training(&name, &settings.record(), history)?,
        ),
    ] {
        let path = model.with_extension(ending);
        files::write(&path, contents.as_bytes())?;
    }
    Ok(())
}

/// What is known of an epoch, in a line.
fn line(epoch: &Epoch) -> String {
    let mut line = format!(
        "epoch {}: loss {:.4}  training {:.1}%",
        epoch.epoch,
        epoch.loss,
        100.0 * epoch.train_accuracy
    );
    for (name, accuracy) in [
        ("held out", epoch.held_out_accuracy),
        ("attacked", epoch.held_out_robust_accuracy),
    ] {
        if let Some(accuracy) = accuracy {
            line.push_str(&format!("  {name} {:.1}%", 100.0 * accuracy));
        }
    }
    line
}

impl Args {
    fn settings(&self) -> Result<Settings> {
        let (optimiser, learning_rate) = match (self.optimiser, self.momentum) {
            (Optimiser::Sgd { momentum: usual }, given) => {
                let momentum = given.unwrap_or(usual);
                (Optimiser::Sgd { momentum }, 0.05)
            }
            (Optimiser::Adam, None) => (Optimiser::Adam, 0.002),
            (Optimiser::Adam, Some(_)) => bail!("--momentum is for --optimiser sgd"),
        };
        if let Some(eps) = &self.adversarial_eps {
            eps.in_pixels("--adversarial-eps", self.adversarial_norm)?;
        }
        Ok(Settings {
            network: match &self.network {
                Some(path) => Architecture::open(path)?,
                None => self.preset.architecture()?,
            },
            epochs: self.epochs,
            batch: self.train_batch,
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            schedule: self.schedule,
            optimiser,
            weight_decay: self.weight_decay,
            augment: Augment {
                shift: self.shift,
                flip: self.flip,
            },
            adversarial: self.adversarial_eps.as_ref().map(|eps| Adversarial {
                ball: Ball {
                    norm: self.adversarial_norm,
                    eps: eps.value(),
                },
                // Madry et al. step 2.5 radii in all.
                step_size: self.adversarial_step_size.as_ref().map_or(
                    2.5 * eps.value() / self.adversarial_steps.max(1) as f64,
                    Eps::value,
                ),
                steps: self.adversarial_steps,
                warm_up_epochs: self
                    .warm_up_epochs
                    .unwrap_or_else(|| self.epochs.div_ceil(3)),
            }),
            seed: self.seed,
            threads: self.crew.resolve(0).threads,
        })
    }
}
