//! `hoodwink natural`: models on real pictures that fool models.

mod pictures;
mod saved;

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hoodwink::{
    files, legible,
    natural::{Definition, ModelTable, Part, Report, Resampling, Settings, page, plain},
};

use super::{Format, print_json};
use crate::{
    Status,
    args::{ConfigArgs, CrewArgs, ModelFlags},
    subject::RemoteArgs,
    terminal,
};

/// Measure models on natural adversarial examples: real, unmodified pictures that fool models.
///
/// Accuracy over some of the classes, calibration, confusions, and how well unknown objects are told from known ones. The
/// logits of the classes in play are selected before softmax and argmax. Works on models and folders of pictures, or on logits
/// that any framework has saved.
#[derive(Parser)]
#[command(after_help = "Examples:
  Two models on ImageNet-A, beside ordinary pictures of the same 200 classes:
    hoodwink natural resnet50.onnx densenet121.onnx --hard imagenet-a/ --clean imagenet/val/ \\
      --preprocessing torchvision

  How well unknown objects are told from known ones:
    hoodwink natural resnet50.onnx --clean imagenet/val/ --ood imagenet-o/ --subset imagenet-o \\
      --preprocessing torchvision

  A page with the surest mistakes, and the models of the ImageNet testbed beside them:
    hoodwink natural resnet50.onnx --hard imagenet-a/ --clean imagenet/val/ --table testbed --out natural/ \\
      --preprocessing torchvision --class-names imagenet.txt

  The same measures from saved logits, as the published script computes them:
    hoodwink natural --logits logits.npy --labels labels.npy --subset imagenet-a --parity nae --format json")]
pub(crate) struct Args {
    /// The models: ONNX files, each perhaps with its .toml beside it, or models elsewhere; the flags below are for all of them
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelFlags,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Hard pictures: folders called by WordNet ids, names or numbers of classes, as in ImageNet-A, -R, -V2, -Sketch; ObjectNet
    /// with its mappings; or any other labelled data
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    hard: Option<PathBuf>,
    /// Ordinary pictures; those of classes that are not in play are left out
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    clean: Option<PathBuf>,
    /// Pictures of unknown classes, such as ImageNet-O; their labels do not matter
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    ood: Option<PathBuf>,
    /// Score unknown pictures also by ODIN, which takes a gradient and two more answers for each picture
    #[arg(long, help_heading = "Pictures", requires = "ood")]
    odin: bool,
    /// Also the share of hard pictures of which any of ten crops is answered right (corners, centre, mirror images); takes ten
    /// answers for each, and --resize larger than --crop
    #[arg(long, help_heading = "Pictures", requires = "hard")]
    ten_crops: bool,
    /// Leave out pictures that cannot be read, and name them
    #[arg(long, help_heading = "Pictures")]
    skip_broken: bool,
    /// Do not look for wrong preprocessing and labels
    #[arg(long, help_heading = "Pictures")]
    no_lint: bool,
    /// Logits of hard pictures instead of a model: an .npy of floats, [pictures, classes]
    #[arg(long, value_name = "FILE", help_heading = "Saved logits", requires = "labels", conflicts_with_all = ["hard", "clean", "ood"])]
    logits: Option<PathBuf>,
    /// Their true classes: an .npy of integers
    #[arg(long, value_name = "FILE", help_heading = "Saved logits")]
    labels: Option<PathBuf>,
    /// Logits of ordinary pictures
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Saved logits",
        requires = "logits",
        requires = "clean_labels"
    )]
    clean_logits: Option<PathBuf>,
    /// Their true classes
    #[arg(long, value_name = "FILE", help_heading = "Saved logits")]
    clean_labels: Option<PathBuf>,
    /// Logits of pictures of unknown classes
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Saved logits",
        requires = "logits"
    )]
    ood_logits: Option<PathBuf>,
    /// The labels count within the classes in play, from 0, as the folders of ImageNet-A do, not among all of the model
    #[arg(long, help_heading = "Saved logits", requires = "logits")]
    labels_within_subset: bool,
    /// Classes in play: all, imagenet-a, imagenet-o, imagenet-r, present (those of the hard pictures), or a file with a number,
    /// WordNet id or name in each line [default: a list that the folders match, else all]
    #[arg(long, value_name = "NAME|FILE")]
    subset: Option<String>,
    /// Compute as the script of natural-adv-examples does (nae): without the last bin of the calibration errors, the temperature
    /// between 0.2 and 5, FPR95 at the nearest recall
    #[arg(long, value_name = "SCRIPT", default_value = "standard")]
    parity: Definition,
    /// Drawings for the bootstrap intervals; 0 leaves them out
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    /// Seed of the drawings
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tables of models to show beside: testbed (335 models, built in), or CSV files such as timm's results-imagenet-a.csv
    #[arg(long, value_name = "NAME|FILE", value_delimiter = ',')]
    table: Vec<String>,
    /// Folder for report.html, with the surest mistakes, and natural.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Mistakes to show in the page for each model
    #[arg(long, value_name = "N", default_value_t = 48)]
    show: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    crew: CrewArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let named = &args.models;
    let (mut report, parts) = match (&args.logits, named.is_empty()) {
        (Some(_), false) => bail!(
            "saved logits take the place of a model: leave out {}, or --logits",
            named[0].display()
        ),
        (Some(logits), true) => (Report::of(vec![saved::evaluate(args, logits)?]), Vec::new()),
        (None, true) if args.table.is_empty() => bail!(
            "there is nothing to measure: name a model and --hard DIR, or --logits FILE and --labels FILE"
        ),
        (None, true) => (Report::of(Vec::new()), Vec::new()),
        (None, false) => pictures::evaluate(args, named)?,
    };
    report.tables = args.tables(&report)?;
    if let Some(folder) = &args.out {
        write(folder, &report, &parts)?;
    }
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Table => write!(terminal::out(), "{}", plain(&report))?,
    }
    Ok(Status::Done)
}

/// Writes the page and the figures.
fn write(folder: &std::path::Path, report: &Report, parts: &[Part]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("report.html");
    files::write(&path, page(report, parts)?.as_bytes())?;
    files::write(&folder.join("natural.json"), &serde_json::to_vec(report)?)?;
    terminal::complain(&format!(
        "report: {}",
        legible::line(&path.display().to_string())
    ));
    Ok(())
}

impl Args {
    /// The tables that were asked for; beside others, or where there are several models, also one of those measured.
    fn tables(&self, report: &Report) -> Result<Vec<ModelTable>> {
        let resampling = self.settings().resampling;
        let own = ModelTable::of(report, resampling);
        let own = own.filter(|own| own.rows.len() > 1 || !self.table.is_empty());
        let mut tables = Vec::from_iter(own);
        for name in &self.table {
            tables.push(match name.as_str() {
                "testbed" => ModelTable::testbed(resampling)?,
                path => ModelTable::read(path.as_ref(), resampling)?,
            });
        }
        Ok(tables)
    }

    fn settings(&self) -> Settings {
        Settings {
            definition: self.parity,
            resampling: Resampling {
                count: self.resamples,
                seed: self.seed,
            },
        }
    }
}
