//! `hoodwink train`: a small classifier, plainly or adversarially, as an ONNX file.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use hoodwink::{
    data::{DataOptions, Dataset},
    threat::{Ball, Eps, Norm},
    train::{self, Adversarial, Augment, Optimiser, Preset, Settings},
};
use onnx_grad::{Lowering, to_onnx};

use crate::{
    Status,
    args::{CrewArgs, DataArgs, EngineArg, text},
    progress::{Progress, complain},
};

/// Train a small classifier, plainly or adversarially, and write it as an ONNX file.
///
/// With --adversarial-eps every picture is attacked by PGD before it is learned from (Madry et al., arXiv 1706.06083).
/// The same seed gives the same file for any number of threads.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink train x.npy --labels y.npy --preset tutorial --epochs 10 -o mnist.onnx
  hoodwink train photos/ --preset residual --epochs 20 --adversarial-eps 8/255 --adversarial-steps 7 -o robust.onnx")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Where to write the model
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The network: tutorial (84 thousand weights on 28x28) or residual (about 100 thousand)
    #[arg(long, default_value = "residual")]
    preset: Preset,
    /// Passes over the pictures
    #[arg(long, value_name = "N", default_value_t = 10)]
    epochs: usize,
    /// Pictures for each step of the optimiser
    #[arg(long, value_name = "N", default_value_t = 64)]
    train_batch: usize,
    /// Largest learning rate of the schedule, for Adam
    #[arg(long, value_name = "RATE", default_value_t = 0.002)]
    learning_rate: f64,
    /// Share of a weight that every step takes off
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    weight_decay: f64,
    /// Shift pictures by up to so many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    shift: usize,
    /// Mirror half of the pictures
    #[arg(long)]
    flip: bool,
    /// Train adversarially: radius of the ball in L∞, in pixel units from 0 to 1
    #[arg(long, value_name = "EPS")]
    adversarial_eps: Option<Eps>,
    /// Steps of the inner attack
    #[arg(long, value_name = "N", default_value_t = 7)]
    adversarial_steps: usize,
    /// Epochs over which the radius grows to its full size
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up_epochs: usize,
    /// Pictures to measure accuracy on after every epoch, with labels of their own
    #[arg(long, value_name = "DATA")]
    held_out: Option<PathBuf>,
    /// Labels for held-out pictures in an .npy
    #[arg(long, value_name = "FILE")]
    held_out_labels: Option<PathBuf>,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What runs the network
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    engine: EngineArg,
    #[command(flatten)]
    crew: CrewArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let data = args.data.open_plain()?;
    let options = DataOptions {
        labels: args.held_out_labels.clone(),
        ..DataOptions::default()
    };
    let held_out = args
        .held_out
        .as_ref()
        .map(|path| Dataset::open(path, &options))
        .transpose()?;
    let settings = Settings {
        preset: args.preset,
        epochs: args.epochs,
        batch: args.train_batch,
        learning_rate: args.learning_rate,
        optimiser: Optimiser::Adam,
        weight_decay: args.weight_decay,
        augment: Augment {
            shift: args.shift,
            flip: args.flip,
        },
        adversarial: args.adversarial_eps.as_ref().map(|eps| Adversarial {
            ball: Ball {
                norm: Norm::Linf,
                eps: eps.value(),
            },
            // Madry et al. step 2.5 radii in all.
            step_size: 2.5 * eps.value() / args.adversarial_steps.max(1) as f64,
            steps: args.adversarial_steps,
            warm_up_epochs: args.warm_up_epochs,
        }),
        seed: args.seed,
        threads: args.crew.resolve().threads,
    };
    let engine = args.engine.open()?;
    let mut progress = Progress::new("training", args.crew.quiet);
    let trained = train::train(
        &settings,
        engine.as_ref(),
        &data,
        held_out.as_ref(),
        |so_far| {
            match so_far {
                train::Progress::Step { done, of, loss } => {
                    progress.show(done, of, &format!("loss {loss:.3}"))
                }
                train::Progress::Epoch(epoch) => {
                    let held_out = epoch
                        .held_out_accuracy
                        .map_or_else(String::new, |accuracy| {
                            format!("  held out {:.1}%", 100.0 * accuracy)
                        });
                    if !args.crew.quiet {
                        complain(&format!(
                            "epoch {}: loss {:.4}  training {:.1}%{held_out}",
                            epoch.epoch,
                            epoch.loss,
                            100.0 * epoch.train_accuracy
                        ));
                    }
                }
            }
            Ok(())
        },
    )?;
    progress.finish();
    fs::write(
        &args.output,
        to_onnx(&onnx_grad::fold(&trained.graph)?, Lowering::Portable)?,
    )
    .with_context(|| text(&args.output))?;
    writeln!(std::io::stdout(), "{}", text(&args.output))?;
    Ok(Status::Done)
}
