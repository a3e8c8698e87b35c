//! `hoodwink inspect`: describes a model file, the access it allows, and whether pictures fit.

use std::{
    fmt::{Display, Write as _},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hoodwink::{
    legible,
    lint::{self, Depth, Finding},
    model::Asked,
    oracle::Access,
};
use onnx_grad::{
    inspect::{self, Classifier, Cost, File, Inspection, Level, Side, Signature, inspect},
    load_with,
};

use serde::Serialize;

use super::{Format, remedy, warning};
use crate::{
    Status,
    args::{ConfigArgs, DataArgs, ModelArgs, Prepared, Shape, text, whole},
    progress::Progress,
    shown::ShowArgs,
    terminal::{self, complain},
};

/// Pictures used for all checks except the search for better preprocessing.
const ENOUGH: usize = 300;

/// Maximum number of inputs, outputs, unsupported operators, steps, obstacles and sides of a shape in the table; JSON
/// lists all.
const SHOWN: usize = 50;

/// Multiply-adds that the search for better preprocessing may use: half a minute on two cores.
const EFFORT: u64 = 1_000_000_000_000;

/// Describe a model file and the attacks it allows; with pictures, also look for mistakes.
///
/// With labelled pictures, the model is run on some of them, also with other preprocessing, to find mistakes that would
/// distort the results: wrong mean, value range or channel order, shifted or permuted labels, saturated or random
/// predictions. The exit status is 1 if anything is found.
///
/// The model is opened in the same way as in predict and attack, and run on a grey picture. An access level that
/// inspect reports as possible works in those commands. If the model cannot be imported, the engine runs the file
/// unchanged; if that gives scores, attacks that need no gradients are possible.
///
/// A model that cannot be attacked is described as far as possible, with every operator that prevents it. The exit
/// status is then 2.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink inspect resnet.onnx
  hoodwink inspect detector.onnx --scores class_scores --input-side 224x224

  Check that pictures, labels and preprocessing fit the model:
    hoodwink inspect resnet.onnx photos/ --resize 256 --crop 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225

  List the operators that cannot be imported:
    hoodwink inspect model.onnx --format json | jq .file.unsupported

--format json prints one object:
  file        producer, opset, inputs, outputs, parameters, operators, unsupported (operators that
              cannot be imported: operator, nodes, first, reason)
  classifier  input, output, classes, batch (null: any), softmax (the one that is skipped),
              operators, preprocessing, forward and gradient (each with multiply_adds and
              activation_bytes), obstacles (node, operator, effect, reason); null if not imported
  notices     differences from the file
  as_it_is    if the engine runs a file that cannot be imported: engine, input, classes; else null
  access      labels, scores, gradients, each with possible and obstacle
  findings    with pictures: mistake, saw, matters, remedy; else null")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Pictures to check the model on, in any form that attack accepts
    data: Option<PathBuf>,
    /// Labels: an .npy of integers for an array, or a CSV file with the columns file and label for a folder
    #[arg(long, value_name = "FILE", help_heading = "Data", requires = "data")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    show: ShowArgs,
    /// Maximum number of pictures to check [default: as many as about 10^12 multiply-adds allow]
    #[arg(long, value_name = "N", alias = "limit", value_parser = whole::<usize>, help_heading = "Data", requires = "data")]
    pictures: Option<usize>,
    /// Do not show progress on stderr
    #[arg(long, short)]
    quiet: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    as_it_is: Option<&'a AsItIs>,
    findings: Option<&'a [Finding]>,
}

/// A model that cannot be imported and is run by the engine.
#[derive(Serialize)]
struct AsItIs {
    engine: &'static str,
    /// `[channels, height, width]` of the pictures.
    input: [usize; 3],
    classes: usize,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let path = &args.model.model;
    let mut prepared = args.model.resolve()?;
    hoodwink::model::refuse_foreign(path)?;
    let mut inspection = inspect(path, &prepared.options).with_context(|| text(path))?;
    let as_it_is = opened(args, &prepared, &mut inspection)?;
    let missing = missing_weights(args, &prepared, &mut inspection);
    let findings = match (&args.data, inspection.access.labels.possible) {
        (Some(data), true) => Some(lint(args, &mut prepared, data)?),
        _ => None,
    };
    let mut out = terminal::out();
    match args.format {
        Format::Json => {
            let page = Page {
                inspection: &inspection,
                as_it_is: as_it_is.as_ref(),
                findings: findings.as_deref(),
            };
            serde_json::to_writer(&mut out, &page)?;
            writeln!(out)?;
        }
        Format::Table => {
            write!(out, "{}", table(&inspection, as_it_is.as_ref())?)?;
            if findings.as_ref().is_some_and(Vec::is_empty) {
                writeln!(out, "\n{:16}nothing looks wrong", "pictures")?;
            }
        }
    }
    terminal::note(&inspection.notices);
    let findings = findings.unwrap_or_default();
    for finding in &findings {
        complain(&warning(finding));
    }
    if let Some(missing) = missing {
        return Err(missing).with_context(|| text(path));
    }
    match &inspection.access.labels.obstacle {
        Some(obstacle) => bail!("{}: {obstacle}", text(path)),
        None if findings.is_empty() => Ok(Status::Done),
        None => Ok(Status::GateFailed),
    }
}

/// Returns the error if a file of weights is missing, so that it is printed once and not for each access level.
fn missing_weights(
    args: &Args,
    prepared: &Prepared,
    inspection: &mut Inspection,
) -> Option<onnx_grad::Error> {
    if inspection.access.labels.possible {
        return None;
    }
    let error = load_with(&args.model.model, &prepared.options).err()?;
    if !matches!(error, onnx_grad::Error::Io { .. }) {
        return None;
    }
    let access = &mut inspection.access;
    for level in [
        &mut access.labels,
        &mut access.scores,
        &mut access.gradients,
    ] {
        level.obstacle = Some("the weights cannot be read".to_owned());
    }
    Some(error)
}

/// Opens the model as `predict` and `attack` do and runs it on a grey picture, so that nothing is promised which they
/// refuse. Returns how the engine runs the file if it cannot be imported.
fn opened(args: &Args, prepared: &Prepared, inspection: &mut Inspection) -> Result<Option<AsItIs>> {
    let model = hoodwink::model::Classifier::open_for_scores(
        &args.model.model,
        &prepared.options,
        &prepared.preprocessing,
        args.model.engine()?,
    );
    let Inspection {
        access, notices, ..
    } = inspection;
    let model = match model {
        Ok(model) => model,
        Err(error) => {
            let refused = no(&error);
            access.labels = refused.clone();
            access.scores = refused.clone();
            if access.gradients.possible {
                access.gradients = refused;
            }
            return Ok(None);
        }
    };
    let scores = level(&model.try_out(Asked::Logits));
    let as_it_is = model.runs_as_it_is().then(|| {
        notices.extend_from_slice(model.notices());
        AsItIs {
            engine: model.engine().name(),
            input: model.input(),
            classes: model.classes(),
        }
    });
    if access.gradients.possible {
        access.gradients = match scores.possible {
            true => level(&model.try_out(Asked::Gradients)),
            false => scores.clone(),
        };
    }
    access.labels = scores.clone();
    access.scores = scores;
    Ok(as_it_is)
}

fn level(tried: &hoodwink::Result<()>) -> Level {
    match tried {
        Ok(()) => Level {
            possible: true,
            obstacle: None,
        },
        Err(error) => no(error),
    }
}

fn no(error: &hoodwink::Error) -> Level {
    Level {
        possible: false,
        obstacle: Some(error.to_string()),
    }
}

fn lint(args: &Args, prepared: &mut Prepared, data: &Path) -> Result<Vec<Finding>> {
    let model = args.model.open(prepared, Access::Scores)?;
    let data = DataArgs::of(data.to_owned(), args.labels.clone()).open(
        prepared,
        Shape {
            input: model.input(),
            classes: model.classes(),
        },
    )?;
    args.show.write(prepared, &model, &data)?;
    let depth = Depth {
        pictures: args.pictures.unwrap_or(ENOUGH),
        searched: args.pictures.unwrap_or(usize::MAX),
        multiply_adds: EFFORT,
        always_search: true,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut progress = Progress::new("asking", args.quiet);
    let tell = |done, all| progress.show(done, all, "");
    let findings = lint::lint(&model, &prepared.preprocessing, &data, depth, tell);
    progress.finish();
    let mut findings = findings?;
    for finding in &mut findings {
        finding.remedy = remedy(finding);
    }
    Ok(findings)
}

fn table(inspection: &Inspection, as_it_is: Option<&AsItIs>) -> Result<String, std::fmt::Error> {
    let mut lines = Lines(String::new());
    file(&mut lines, &inspection.file)?;
    if let Some(model) = &inspection.classifier {
        classifier(&mut lines, model)?;
    }
    if let Some(AsItIs {
        engine, classes, ..
    }) = as_it_is
    {
        lines.0.push('\n');
        lines.line("classes", classes)?;
        lines.line(
            "as it is",
            format!("run unchanged by {engine}; gives labels and scores"),
        )?;
    }
    access(&mut lines, &inspection.access)?;
    Ok(lines.0)
}

/// Lines, each with a name and a text.
struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, text: impl Display) -> std::fmt::Result {
        writeln!(self.0, "{name:16}{}", legible::line(&text.to_string()))
    }

    /// Writes one line per entry, up to a maximum.
    fn lines<T>(&mut self, name: &str, all: &[T], text: impl Fn(&T) -> String) -> std::fmt::Result {
        for one in all.iter().take(SHOWN) {
            self.line(name, text(one))?;
        }
        match all.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => self.line("", format!("… and {} more", grouped(more as u64))),
        }
    }
}

fn file(lines: &mut Lines, file: &File) -> std::fmt::Result {
    if !file.producer.is_empty() {
        lines.line("producer", legible::name(&file.producer))?;
    }
    if let Some(opset) = file.opset {
        lines.line("opset", opset)?;
    }
    for (name, signatures) in [("input", &file.inputs), ("output", &file.outputs)] {
        lines.lines(name, signatures, signed)?;
    }
    lines.line("parameters", grouped(file.parameters))?;
    lines.line("operators", counted(&file.operators))?;
    lines.lines("unsupported", &file.unsupported, |unsupported| {
        let (nodes, plural) = (
            unsupported.nodes,
            if unsupported.nodes == 1 { "" } else { "s" },
        );
        format!(
            "{}, {nodes} node{plural}, the first {}: {}",
            legible::name(&unsupported.operator),
            node(&unsupported.first),
            unsupported.reason
        )
    })
}

/// Formats the name of a node in quotes.
fn node(name: &str) -> String {
    format!("\"{}\"", legible::name(name))
}

fn signed(signature: &Signature) -> String {
    let side = |side: &Side| match side {
        Side::Fixed(side) => side.to_string(),
        Side::Named(name) => legible::name(name),
        Side::Unknown => "?".to_owned(),
    };
    let shape = signature.shape.as_ref().map_or_else(
        || "of unknown shape".to_owned(),
        |shape| {
            let mut sides: Vec<String> = shape.iter().take(SHOWN).map(side).collect();
            if shape.len() > SHOWN {
                sides.push("…".to_owned());
            }
            format!("[{}]", sides.join(", "))
        },
    );
    let name = legible::name(&signature.name);
    format!("{name} {} {shape}", signature.r#type)
}

fn classifier(lines: &mut Lines, model: &Classifier) -> std::fmt::Result {
    lines.0.push('\n');
    let counts = model
        .operators
        .iter()
        .map(|(name, count)| (name.to_string(), *count));
    lines.line("normalised", counted(&counts.collect()))?;
    if let Some(classes) = model.classes {
        lines.line("classes", classes)?;
    }
    match model.batch {
        None => lines.line("batch", "any size")?,
        Some(1) => lines.line("batch", "always 1 picture")?,
        Some(size) => lines.line(
            "batch",
            format!("always {size} pictures; smaller batches are padded"),
        )?,
    }
    if let Some(softmax) = &model.softmax {
        let softmax = node(softmax);
        let text = format!(
            "final {softmax} is skipped: scores are its input (--keep-softmax includes it)"
        );
        lines.line("softmax", text)?;
    }
    let of = match model.batch {
        None | Some(1) => "one picture".to_owned(),
        Some(size) => format!("a batch of {size}"),
    };
    for (name, cost) in [("forward", model.forward), ("gradient", model.gradient)] {
        if let Some(Cost {
            multiply_adds,
            activation_bytes,
        }) = cost
        {
            let text = format!(
                "{} multiply-adds, {} of activations for {of}",
                grouped(multiply_adds),
                bytes(activation_bytes)
            );
            lines.line(name, text)?;
        }
    }
    lines.lines("preprocessing", &model.preprocessing, |step| {
        format!("{} ({} {})", step.does, step.operator, node(&step.node))
    })?;
    lines.lines("obstacle", &model.obstacles, |obstacle| {
        let effect = match obstacle.effect {
            inspect::Effect::Stops => "gradients stop",
            inspect::Effect::Zero => "gradients vanish",
            inspect::Effect::Steep => "gradients nearly vanish",
        };
        let (operator, reason) = (&obstacle.operator, &obstacle.reason);
        format!("{effect} ({operator} {}): {reason}", node(&obstacle.node))
    })
}

fn access(lines: &mut Lines, access: &inspect::Access) -> std::fmt::Result {
    lines.0.push('\n');
    let levels = [
        ("labels", &access.labels),
        ("scores", &access.scores),
        ("gradients", &access.gradients),
    ];
    for (name, Level { possible, obstacle }) in levels {
        match obstacle {
            Some(obstacle) if !possible => lines.line(name, format!("no: {obstacle}"))?,
            _ => lines.line(name, "yes")?,
        }
    }
    Ok(())
}

/// Formats counts, the most frequent first: `Conv 19, Relu 19, Add 9`.
fn counted(operators: &std::collections::BTreeMap<String, usize>) -> String {
    let mut all: Vec<(&String, &usize)> = operators.iter().collect();
    all.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let shown = all.iter().take(SHOWN);
    let mut shown: Vec<String> = shown
        .map(|(name, count)| format!("{} {count}", legible::name(name)))
        .collect();
    if all.len() > SHOWN {
        shown.push(format!("… and {} more", all.len() - SHOWN));
    }
    shown.join(", ")
}

/// Formats `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats `1536` as `1.5 KiB`.
fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut at = 0;
    while size >= 1024.0 && at + 1 < units.len() {
        size /= 1024.0;
        at += 1;
    }
    format!("{size:.1} {}", units[at])
}
