//! `hoodwink train`: trains a small classifier, plainly or adversarially, and writes an ONNX file.

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

/// Time between checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(20);

/// Train a small classifier, plainly or adversarially, and write it as an ONNX file.
///
/// With --adversarial-eps, each picture is attacked by PGD before each training step (Madry et al., arXiv 1706.06083).
/// The same seed gives the same file for any number of threads. An interrupted training resumes when you repeat the
/// command. MODEL.history.html and MODEL.history.csv next to the model show the progress of the training.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink train scenes:count=10000 --held-out scenes:count=500,seed=1 --epochs 8 --shift 4 --flip -o scenes.onnx
  hoodwink train x.npy --labels y.npy --preset tutorial --epochs 10 -o mnist.onnx
  hoodwink train photos/ --resize 72 --crop 64 --epochs 20 --adversarial-eps 8/255 -o robust.onnx

--format json prints one object: model, and history with epoch, loss, train_accuracy,
held_out_accuracy and held_out_robust_accuracy (null if not measured) for each epoch.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// The model file to write
    #[arg(short, long, value_name = "FILE", alias = "output")]
    out: PathBuf,
    /// Network architecture: tutorial (84 thousand weights on 28x28 pixels) or residual (about 100 thousand)
    #[arg(long, default_value = "residual")]
    preset: Preset,
    /// Your own architecture, as a list of layers in TOML; see docs/training.md
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    network: Option<PathBuf>,
    /// Number of passes over the pictures
    #[arg(long, value_name = "N", default_value_t = 10, alias = "num-epochs", value_parser = whole::<usize>)]
    epochs: usize,
    /// Number of pictures per training step
    #[arg(long, value_name = "N", default_value_t = 64, alias = "batch-size", value_parser = whole::<usize>)]
    train_batch: usize,
    /// Optimiser: adam or sgd
    #[arg(long, value_name = "RULE", default_value = "adam", alias = "optimizer")]
    optimiser: Optimiser,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = number)]
    momentum: Option<f64>,
    /// Maximum learning rate [default: 0.002 for adam, 0.05 for sgd]
    #[arg(long, value_name = "RATE", alias = "lr", value_parser = number)]
    learning_rate: Option<f64>,
    /// Learning rate schedule after a short warm-up: cosine (down to zero), steps (divided by ten at 1/2 and 3/4) or
    /// constant
    #[arg(long, value_name = "NAME", default_value = "cosine")]
    schedule: Schedule,
    /// Weight decay: the multiple of each weight that is added to its gradient
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = number)]
    weight_decay: f64,
    /// Random seed
    #[arg(long, default_value_t = 0, alias = "random-seed", value_parser = whole::<u64>)]
    seed: u64,
    /// Checkpoint file, used to resume an interrupted training [default: MODEL.checkpoint next to the model]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Resize every picture first: 256 (the short side) or 224x320 (height and width)
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    resize: Option<Resize>,
    /// Interpolation for resizing: bilinear, bicubic, lanczos, nearest, box or hamming [default: bilinear]
    #[arg(long, value_name = "FILTER", help_heading = "Data")]
    interpolation: Option<Interpolation>,
    /// Crop the centre after resizing: 224 (a square) or 224x320 (height and width)
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    crop: Option<Crop>,
    /// Shift training pictures randomly by up to this many pixels
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 0,
        value_parser = whole::<usize>,
        help_heading = "Data"
    )]
    shift: usize,
    /// Mirror half of the training pictures at random
    #[arg(long, help_heading = "Data")]
    flip: bool,
    /// Pictures to measure accuracy on after each epoch, in any form that the data argument accepts
    #[arg(long, value_name = "DATA", help_heading = "Data")]
    held_out: Option<PathBuf>,
    /// Labels of the held-out pictures
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    held_out_labels: Option<PathBuf>,
    /// Train adversarially within this radius, in pixel units from 0 to 1
    #[arg(
        long,
        value_name = "EPS",
        alias = "adversarial-epsilon",
        allow_hyphen_values = true,
        help_heading = "Adversarial training"
    )]
    adversarial_eps: Option<Eps>,
    /// Norm of the radius: linf, l2 or l1
    #[arg(
        long,
        value_name = "NORM",
        default_value = "linf",
        requires = "adversarial_eps",
        help_heading = "Adversarial training"
    )]
    adversarial_norm: Norm,
    /// Number of steps of the attack
    #[arg(
        long,
        value_name = "N",
        default_value_t = 7,
        value_parser = whole::<usize>,
        requires = "adversarial_eps",
        help_heading = "Adversarial training"
    )]
    adversarial_steps: usize,
    /// Step size of the attack, in the units of the radius [default: 2.5 times the radius, divided by the number of
    /// steps]
    #[arg(
        long,
        value_name = "SIZE",
        requires = "adversarial_eps",
        help_heading = "Adversarial training"
    )]
    adversarial_step_size: Option<Eps>,
    /// Number of epochs before the full radius is used: plain training in the first half, a growing radius in the
    /// second [default: a third of all epochs]
    #[arg(
        long,
        value_name = "N",
        requires = "adversarial_eps",
        value_parser = whole::<usize>,
        help_heading = "Adversarial training"
    )]
    warm_up_epochs: Option<usize>,
    /// The engine that runs the network
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    engine: EngineArg,
    /// Output format
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
    // Reported now rather than after the first epoch.
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        bail!(
            "{}: there is no folder {}; create it first",
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
                        complain(&format!("resuming after step {done} of {of} from {path}"));
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
    // An earlier, interrupted call may not have written its last epoch.
    write_history(&args.out, &settings, &trained.history)?;
    // Removed only now, because the training can be resumed until the model is written.
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

/// Writes `MODEL.history.csv` and `MODEL.history.html`.
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

/// Formats an epoch as one line.
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
            (Optimiser::Adam, Some(_)) => bail!("--momentum needs --optimiser sgd"),
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
                // As in Madry et al., all steps together cover 2.5 times the radius.
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
