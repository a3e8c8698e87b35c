//! `hoodwink predict`: what a model says about pictures.

use std::io::Write as _;

use anyhow::Result;
use clap::Parser;
use hoodwink::{
    data::{Sample, short_name},
    model::Classifier,
    oracle::{Access, Halt, Scores as _, argmax, batcher::drive, confidence},
    stats::{CONFIDENCE, Interval, clopper_pearson},
};
use serde::Serialize;

use super::{Format, warn_of_guessing};
use crate::{
    Status,
    args::{ConfigArgs, CrewArgs, DataArgs, ModelArgs, text},
    progress::{Progress, complain},
};

/// Show what a model says about pictures, and its accuracy if they have labels.
///
/// A model that cannot be imported is run as it is by the engine, with a note.
#[derive(Parser)]
#[command(after_help = "Examples:
  One photograph, for a network trained with torchvision:
    hoodwink predict resnet.onnx photo.jpg --resize 256 --crop 224 \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
      --class-names imagenet.txt

  The accuracy on the first 500 pictures of an array, as JSON:
    hoodwink predict cifar.onnx x.npy --labels y.npy --limit 500 --format json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Most likely classes to show for each picture
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Show this many pictures; the accuracy is over all
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    crew: CrewArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Answer {
    model: String,
    data: String,
    accuracy: Option<Interval>,
    top_k_accuracy: Option<Interval>,
    k: usize,
    pictures: Vec<Predicted>,
}

/// One picture.
#[derive(Serialize)]
struct Predicted {
    #[serde(skip)]
    index: usize,
    file: String,
    label: Option<usize>,
    top: Vec<Class>,
}

/// One of the most likely classes.
#[derive(Serialize)]
struct Class {
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    confidence: f32,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let prepared = args.model.resolve()?;
    let model = args.model.open(&prepared, Access::Scores)?;
    let data = args.data.open(&prepared, &model)?;
    for notice in model.notices().iter().chain(data.notices()) {
        complain(&format!("note: {notice}"));
    }
    let names = prepared.class_names(&model, &data)?;
    let k = args.top.clamp(1, model.classes());
    let mut progress = Progress::new("predicting", args.crew.quiet);
    let mut pictures: Vec<Predicted> = Vec::with_capacity(data.len());
    predict(&model, &data, args, k, |predicted| {
        pictures.push(predicted);
        progress.show(pictures.len(), data.len(), "");
    })?;
    progress.finish();
    pictures.sort_by_key(|predicted| predicted.index);

    let labelled = pictures
        .iter()
        .filter(|predicted| predicted.label.is_some())
        .count() as u64;
    let hits = |within: usize| {
        let right = |predicted: &&Predicted| {
            let top = predicted.top.iter().take(within);
            predicted
                .label
                .is_some_and(|label| top.into_iter().any(|class| class.class == label))
        };
        let right = pictures.iter().filter(right).count() as u64;
        (labelled > 0).then(|| clopper_pearson(right, labelled, CONFIDENCE))
    };
    let (accuracy, top_k_accuracy) = (hits(1), hits(k));
    for class in pictures.iter_mut().flat_map(|predicted| &mut predicted.top) {
        class.name = names.get(class.class).cloned();
    }
    let answer = Answer {
        model: text(&args.model.model),
        data: text(&args.data.data),
        accuracy,
        top_k_accuracy,
        k,
        pictures,
    };
    if let Some(accuracy) = &answer.accuracy {
        warn_of_guessing(accuracy, model.classes());
    }
    print(&answer, &names, args)?;
    Ok(Status::Done)
}

fn predict(
    model: &Classifier,
    data: &hoodwink::data::Dataset,
    args: &Args,
    k: usize,
    mut each: impl FnMut(Predicted),
) -> hoodwink::Result<()> {
    drive(
        model,
        args.crew.resolve(),
        (0..data.len()).map(|index| data.get(index)),
        &Halt::new(),
        |sample: hoodwink::Result<Sample>, handle| {
            Box::pin(async move {
                let sample = sample?;
                let logits = handle.logits(&sample.picture.to_image()).await?;
                Ok(Predicted {
                    index: sample.index,
                    file: sample.file,
                    label: sample.label,
                    top: most_likely(&logits, k),
                })
            })
        },
        |predicted| {
            each(predicted);
            Ok(())
        },
    )
}

/// The `k` most likely classes; the lower index first among equals, as everywhere.
fn most_likely(logits: &[f32], k: usize) -> Vec<Class> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    debug_assert_eq!(order.first(), Some(&argmax(logits)));
    order
        .into_iter()
        .take(k)
        .map(|class| Class {
            class,
            name: None,
            confidence: confidence(logits, class),
        })
        .collect()
}

fn print(answer: &Answer, names: &[String], args: &Args) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        serde_json::to_writer(&mut out, answer)?;
        writeln!(out)?;
        return Ok(());
    }
    let width = answer
        .pictures
        .iter()
        .take(args.show)
        .map(|predicted| predicted.file.len())
        .max()
        .unwrap_or(0);
    for predicted in answer.pictures.iter().take(args.show) {
        let (verdict, truth) = match (predicted.label, predicted.top.first()) {
            (None, _) => ("", String::new()),
            (Some(label), Some(first)) if label == first.class => ("right  ", String::new()),
            (Some(label), _) => (
                "WRONG  ",
                format!("  (it is: {})", short_name(names, label)),
            ),
        };
        let percent = |class: &Class| {
            let name = short_name(names, class.class);
            format!("{name} {:.1}%", 100.0 * class.confidence)
        };
        let classes: Vec<String> = predicted.top.iter().map(percent).collect();
        writeln!(
            out,
            "{:width$}  {verdict}{}{truth}",
            predicted.file,
            classes.join(", ")
        )?;
    }
    if answer.pictures.len() > args.show {
        writeln!(out, "… and {} more", answer.pictures.len() - args.show)?;
    }
    for (name, interval) in [
        ("top-1", &answer.accuracy),
        (&*format!("top-{}", answer.k), &answer.top_k_accuracy),
    ] {
        if let Some(interval) = interval {
            writeln!(out, "{name} accuracy {}", shown(interval))?;
        }
        if answer.k == 1 {
            break;
        }
    }
    Ok(())
}

/// An interval as `91.5% (95% interval 88.1–94.2%, n = 200)`.
fn shown(interval: &Interval) -> String {
    format!(
        "{} (95% interval {}, n = {})",
        interval.percent(),
        interval.ends(),
        interval.n
    )
}
