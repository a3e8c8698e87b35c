//! `hoodwink natural`: measures models on natural adversarial examples.

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
/// Reports accuracy on the selected classes, calibration, confusions, and detection of unknown objects. The logits of
/// the selected classes are taken before softmax and argmax. The input is either models and folders of pictures, or
/// logits saved by any framework.
#[derive(Parser)]
#[command(after_help = "Examples:
  Compare two models on ImageNet-A with ordinary pictures of the same 200 classes:
    hoodwink natural resnet50.onnx densenet121.onnx --hard imagenet-a/ --clean imagenet/val/ \\
      --preprocessing torchvision

  Measure how well a model detects unknown objects:
    hoodwink natural resnet50.onnx --clean imagenet/val/ --ood imagenet-o/ --subset imagenet-o \\
      --preprocessing torchvision

  Write a page with the most confident mistakes and a comparison with the models of the ImageNet testbed:
    hoodwink natural resnet50.onnx --hard imagenet-a/ --clean imagenet/val/ --table testbed --out natural/ \\
      --preprocessing torchvision --class-names imagenet.txt

  Compute the same measures from saved logits, like the published script:
    hoodwink natural --logits logits.npy --labels labels.npy --subset imagenet-a --parity nae --format json")]
pub(crate) struct Args {
    /// The models: ONNX files, each with an optional .toml file next to it, or remote models; the options below apply
    /// to all of them
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelFlags,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Hard pictures: folders named by WordNet id, class name or class number, as in ImageNet-A, -R, -V2 and -Sketch;
    /// ObjectNet with its mappings; or other labelled data
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    hard: Option<PathBuf>,
    /// Ordinary pictures; only the selected classes are used
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    clean: Option<PathBuf>,
    /// Pictures of unknown classes, such as ImageNet-O; labels are ignored
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    ood: Option<PathBuf>,
    /// Also score unknown pictures by ODIN, which needs one gradient and two more queries per picture
    #[arg(long, help_heading = "Pictures", requires = "ood")]
    odin: bool,
    /// Also report the share of hard pictures for which the prediction on any of ten crops is correct (corners, centre,
    /// mirror images); needs ten queries per picture and --resize larger than --crop
    #[arg(long, help_heading = "Pictures", requires = "hard")]
    ten_crops: bool,
    /// Skip pictures that cannot be read, and list them
    #[arg(long, help_heading = "Pictures")]
    skip_broken: bool,
    /// Skip the check for wrong preprocessing and labels
    #[arg(long, help_heading = "Pictures")]
    no_lint: bool,
    /// Logits of hard pictures, in place of a model: an .npy of floats, [pictures, classes]
    #[arg(long, value_name = "FILE", help_heading = "Saved logits", requires = "labels", conflicts_with_all = ["hard", "clean", "ood"])]
    logits: Option<PathBuf>,
    /// True classes for --logits: an .npy of integers
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
    /// True classes for --clean-logits
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
    /// Labels number the selected classes from 0, like the folders of ImageNet-A, instead of all classes of the model
    #[arg(long, help_heading = "Saved logits", requires = "logits")]
    labels_within_subset: bool,
    /// The classes to select: all, imagenet-a, imagenet-o, imagenet-r, present (the classes of the hard pictures), or a
    /// file with a class number, WordNet id or name on each line [default: the list that matches the folders, else all]
    #[arg(long, value_name = "NAME|FILE")]
    subset: Option<String>,
    /// Compute like the script of natural-adv-examples (nae): omits the last bin of the calibration errors, limits the
    /// temperature to 0.2..5, and takes FPR95 at the nearest recall
    #[arg(long, value_name = "SCRIPT", default_value = "standard")]
    parity: Definition,
    /// Number of bootstrap resamples for the intervals; 0 omits them
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    /// Random seed of the resamples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tables of other models to compare with: testbed (335 models, built in), or CSV files such as timm's
    /// results-imagenet-a.csv
    #[arg(long, value_name = "NAME|FILE", value_delimiter = ',')]
    table: Vec<String>,
    /// Folder for natural.json and report.html, which shows the most confident mistakes
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Number of mistakes per model to show on the page
    #[arg(long, value_name = "N", default_value_t = 48)]
    show: usize,
    /// Output format
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
            "--logits replaces the model; leave out {} or --logits",
            named[0].display()
        ),
        (Some(logits), true) => (Report::of(vec![saved::evaluate(args, logits)?]), Vec::new()),
        (None, true) if args.table.is_empty() => bail!(
            "nothing to measure: pass a model and --hard DIR, or --logits FILE and --labels FILE"
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

/// Writes the page and the results as JSON.
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
    /// Returns the requested tables, preceded by a table of the measured models if there are several or other tables
    /// were requested.
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
