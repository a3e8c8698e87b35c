//! `hoodwink predict`: shows the predictions of a model.

use std::io::Write as _;

use anyhow::Result;
use clap::Parser;
use hoodwink::{
    data::{Sample, short_name},
    legible,
    oracle::{
        Access, Halt, Scores, argmax, confidence,
        pool::{Model, drive},
    },
    stats::{CONFIDENCE, Interval, clopper_pearson},
};
use serde::Serialize;

use super::{Format, warn_of_guessing};
use crate::{
    Status,
    args::{ConfigArgs, CrewArgs, DataArgs, ModelArgs, Shape, text, whole},
    progress::Progress,
    shown::ShowArgs,
    subject::{RemoteArgs, Subject},
    terminal,
};

/// Show the predictions of a model on pictures, and its accuracy if they have labels.
///
/// If the model cannot be imported, the engine runs the file unchanged, with a note.
#[derive(Parser)]
#[command(mut_arg("batch", |batch| batch.alias("batch-size")))]
#[command(after_help = "Examples:
  Classify one photograph with a network trained with torchvision:
    hoodwink predict resnet.onnx photo.jpg --resize 256 --crop 224 \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
      --class-names imagenet.txt

  Print the accuracy on the first 500 pictures of an array as JSON:
    hoodwink predict cifar.onnx x.npy --labels y.npy --limit 500 --format json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    show: ShowArgs,
    /// Number of most likely classes to show for each picture
    #[arg(long, value_name = "K", default_value_t = 5, aliases = ["top-k", "topk", "k"], value_parser = whole::<usize>)]
    top: usize,
    /// Number of pictures to show; the accuracy covers all pictures
    #[arg(long = "show", value_name = "N", default_value_t = 20, value_parser = whole::<usize>)]
    rows: usize,
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
struct Answer {
    model: String,
    data: String,
    accuracy: Option<Interval>,
    top_k_accuracy: Option<Interval>,
    k: usize,
    pictures: Vec<Predicted>,
}

/// The prediction for one picture.
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
    let mut prepared = args.model.resolve()?;
    let model = Subject::open(&args.model, &args.remote, &prepared, Access::Scores)?;
    terminal::note(model.notices());
    let shape = Shape {
        input: model.input(),
        classes: model.classes(),
    };
    let data = args.data.open(&mut prepared, shape)?;
    if let Some(file) = model.file() {
        args.show.write(&prepared, file, &data)?;
    }
    let names = data.class_names().unwrap_or_default().to_vec();
    let k = args.top.clamp(1, model.classes());
    let mut progress = Progress::new("predicting", args.crew.quiet);
    // The table shows only the first pictures. The rest are only counted, so memory does not grow with the data.
    let shown = match args.format {
        Format::Json => data.len(),
        Format::Table => args.rows,
    };
    let mut pictures: Vec<Predicted> = Vec::new();
    let (mut done, mut right) = (0, Right::default());
    let values = model.input().iter().product();
    predict(model.model(), &data, args, (k, values), |predicted| {
        right.count(&predicted);
        if predicted.index < shown {
            pictures.push(predicted);
        }
        done += 1;
        progress.show(done, data.len(), "");
    })?;
    progress.finish();
    pictures.sort_by_key(|predicted| predicted.index);
    let labelled = right.labelled;
    let share = |right| (labelled > 0).then(|| clopper_pearson(right, labelled, CONFIDENCE));
    let (accuracy, top_k_accuracy) = (share(right.first), share(right.among_top));
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
    print(&answer, data.len(), &names, args)?;
    Ok(Status::Done)
}

/// The number of pictures that the model classifies correctly.
#[derive(Default)]
struct Right {
    labelled: u64,
    first: u64,
    among_top: u64,
}

impl Right {
    fn count(&mut self, predicted: &Predicted) {
        let Some(label) = predicted.label else {
            return;
        };
        let is_right = |class: &Class| class.class == label;
        self.labelled += 1;
        self.first += u64::from(predicted.top.first().is_some_and(is_right));
        self.among_top += u64::from(predicted.top.iter().any(is_right));
    }
}

fn predict(
    model: &dyn Model,
    data: &hoodwink::data::Dataset,
    args: &Args,
    (k, values): (usize, usize),
    mut each: impl FnMut(Predicted),
) -> hoodwink::Result<()> {
    drive(
        &[model],
        args.crew.resolve(values),
        (0..data.len()).map(|index| data.get(index)),
        &Halt::new(),
        |sample: hoodwink::Result<Sample>, handle| {
            Box::pin(async move {
                let sample = sample?;
                let logits = Scores::of(&handle)
                    .logits(&sample.picture.to_image())
                    .await?;
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

/// Returns the `k` most likely classes. Ties go to the lower index, as everywhere.
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

fn print(answer: &Answer, all: usize, names: &[String], args: &Args) -> Result<()> {
    let mut out = terminal::out();
    if args.format == Format::Json {
        serde_json::to_writer(&mut out, answer)?;
        writeln!(out)?;
        return Ok(());
    }
    let files = answer.pictures.iter();
    let files: Vec<String> = files
        .map(|predicted| legible::name(&predicted.file))
        .collect();
    let widths = files.iter().map(|file| file.chars().count());
    let width = widths.max().unwrap_or(0);
    let short_name = |class| legible::name(&short_name(names, class));
    for (predicted, file) in answer.pictures.iter().zip(&files) {
        let (verdict, truth) = match (predicted.label, predicted.top.first()) {
            (None, _) => ("", String::new()),
            (Some(label), Some(first)) if label == first.class => ("right  ", String::new()),
            (Some(label), _) => ("WRONG  ", format!("  (true class: {})", short_name(label))),
        };
        let percent = |class: &Class| {
            let name = short_name(class.class);
            format!("{name} {:.1}%", 100.0 * class.confidence)
        };
        let classes: Vec<String> = predicted.top.iter().map(percent).collect();
        writeln!(out, "{file:width$}  {verdict}{}{truth}", classes.join(", "))?;
    }
    if all > answer.pictures.len() {
        writeln!(out, "… and {} more", all - answer.pictures.len())?;
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

/// Formats an interval as `91.5% (95% interval 88.1–94.2%, n = 200)`.
fn shown(interval: &Interval) -> String {
    format!(
        "{} (95% interval {}, n = {})",
        interval.percent(),
        interval.ends(),
        interval.n
    )
}
