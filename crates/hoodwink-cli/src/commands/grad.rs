//! `hoodwink grad`: writes the gradient of a model as a plain ONNX file.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hoodwink::{attacks::LossName, files, legible};
use onnx_grad::{Dim, Head, Lowering, gradient_graph, load_with, scores, to_onnx};
use serde::Serialize;

use super::{Format, print_json};
use crate::{
    Status,
    args::{ConfigArgs, ReadArgs, text},
    terminal,
};

/// Write the gradient of a model as a plain ONNX file.
///
/// The inputs of the file are the input of the model and `labels` (int64, one per picture); targeted losses also need
/// `targets`. The outputs are `logits`, `loss` and `grad`, the gradient of the sum of the losses with respect to the
/// input. The file runs on any ONNX runtime.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink grad resnet.onnx -o resnet-grad.onnx
  hoodwink grad resnet.onnx -o towards.onnx --loss two-term --targeted

In Python, with ONNX Runtime:
  session = onnxruntime.InferenceSession('resnet-grad.onnx')
  feed = {session.get_inputs()[0].name: x, 'labels': y}
  logits, loss, grad = session.run(['logits', 'loss', 'grad'], feed)

--format json prints one object: file, nodes, nodes_with_gradient, notices.")]
pub(crate) struct Args {
    /// The model, an ONNX file
    model: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE", alias = "output")]
    out: PathBuf,
    /// Loss: ce, margin, dlr or, with --targeted, two-term
    #[arg(long, default_value = "ce")]
    loss: LossName,
    /// Use the targeted form of the loss; adds the input `targets`
    #[arg(long)]
    targeted: bool,
    #[command(flatten)]
    read: ReadArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Written {
    file: String,
    nodes: usize,
    nodes_with_gradient: usize,
    notices: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    hoodwink::model::refuse_foreign(&args.model)?;
    let loaded = load_with(&args.model, &args.read.options()).with_context(|| text(&args.model))?;
    let mut notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
    let model = loaded.graph;
    let mut headed = model.clone();
    let scores = scores(&headed).with_context(|| text(&args.model))?;
    let head = Head::of(&mut headed, scores).with_context(|| text(&args.model))?;
    notices.extend(head.notices(&headed));
    terminal::note(&notices);
    let classes = match headed.shape(head.logits) {
        &[_, Dim::Fixed(classes)] => classes,
        _ => bail!(
            "the number of classes is not fixed; export the model with a fixed number of classes"
        ),
    };
    let gradient = gradient_graph(&model, args.loss.resolve(args.targeted, classes)?)?;
    files::write(&args.out, &to_onnx(&gradient, Lowering::Portable)?)?;
    let written = Written {
        file: text(&args.out),
        nodes: model.nodes().len(),
        nodes_with_gradient: gradient.nodes().len(),
        notices,
    };
    match args.format {
        Format::Json => print_json(&written)?,
        Format::Table => writeln!(
            terminal::out(),
            "{}: {} nodes forward, {} with the gradient",
            legible::line(&written.file),
            written.nodes,
            written.nodes_with_gradient
        )?,
    }
    Ok(Status::Done)
}
