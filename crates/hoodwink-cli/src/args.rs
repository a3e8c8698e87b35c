//! Flags shared by several sub-commands, and the `MODEL.toml` file next to a model.

use std::{
    io::ErrorKind,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{ArgAction, Args, ValueEnum};
use hoodwink::{
    Error,
    data::{
        Crop, DataOptions, Dataset, Interpolation, KnownClasses, Resize, Transform,
        read_class_names,
    },
    engine::{self, Engine},
    files,
    model::{Classifier, Remote},
    oracle::{Access, pool::Parallelism},
    preprocessing::{Channels, Described, InputRange, Layout, Preprocessing, class_names_beside},
};
use onnx_grad::LoadOptions;
use serde::Deserialize;
use toml::{Table, Value};

use crate::terminal::{self, complain};

/// The maximum size of a settings file.
pub(crate) const SETTINGS_BYTES: u64 = 1 << 20;

/// How to read a model file where the file leaves a choice.
#[derive(Args, Clone)]
pub(crate) struct ReadArgs {
    /// Name of the output to use as scores if the model has several, or of a value inside the model
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    scores: Option<String>,
    /// Keep a final softmax or sigmoid as part of the scores; by default, scores are its input (the logits)
    #[arg(long, help_heading = "Model")]
    keep_softmax: bool,
    /// Use straight-through gradients for Sign, Round, Floor and Ceil instead of zero
    #[arg(long, help_heading = "Model")]
    straight_through: bool,
    /// Height and width of the input if the file leaves them open, such as 224x224
    #[arg(long, value_name = "PIXELS", value_parser = side, help_heading = "Model")]
    input_side: Option<(usize, usize)>,
}

impl ReadArgs {
    /// Returns the options for the import.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            input_side: self.input_side,
            output: self.scores.clone(),
            keep_softmax: self.keep_softmax,
            straight_through: self.straight_through,
        }
    }
}

/// `224x320`, or `224` for both.
fn side(text: &str) -> Result<(usize, usize), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|&side| side > 0);
    let sides = number(height).zip(number(width));
    sides.ok_or_else(|| "expected a side or HEIGHTxWIDTH, such as 224 or 224x320".to_owned())
}

/// Parses a whole number, at least 1.
pub(crate) fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "expected a whole number, 1 or more".to_owned())
}

/// Parses a whole number, at least 0.
pub(crate) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "expected a whole number, 0 or more".to_owned())
}

/// Parses one number of a list. Python-style brackets around the list are allowed.
fn listed(text: &str) -> Result<f32, String> {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || "[]()".contains(c));
    let number = bare.parse().ok().filter(|number: &f32| number.is_finite());
    number
        .ok_or_else(|| "expected numbers separated by commas, such as 0.485,0.456,0.406".to_owned())
}

/// Parses a finite number.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number, such as 0.9".to_owned())
}

/// The model and the preprocessing it was trained with.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The model, an ONNX file; preprocessing flags and class-names can also be set in a file net.toml next to
    /// net.onnx. attack and predict also accept a remote model: http://HOST/PATH or 'cmd:PROGRAM ARGUMENTS' (or
    /// --model); see docs/remote.md
    pub(crate) model: PathBuf,
    #[command(flatten)]
    flags: ModelFlags,
}

/// How to read a model, and the preprocessing it was trained with.
#[derive(Args, Clone)]
pub(crate) struct ModelFlags {
    #[command(flatten)]
    read: ReadArgs,
    /// Class names: a file with one name per line, a CSV file with the columns index and name, or one of imagenet,
    /// cifar10, cifar100, mnist, fashion-mnist, none [default: config.json next to the model, else the names in the
    /// data, else a built-in list that matches the input shape and the number of classes]
    #[arg(
        long,
        value_name = "FILE|NAME",
        alias = "classes",
        help_heading = "Model"
    )]
    class_names: Option<PathBuf>,
    /// Preprocessing by name: imagenet, imagenet-inception, imagenet-caffe, cifar10, cifar100, mnist, fashion-mnist,
    /// 0..1, 0..255, -1..1; with resizing: torchvision, torchvision-v2, torchvision-inception, clip; or a file: timm's
    /// config.json or Hugging Face's preprocessor_config.json. The flags below take precedence. [default: such a file
    /// next to the model]
    #[arg(
        long,
        value_name = "NAME|FILE",
        alias = "preprocess",
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    preprocessing: Option<String>,
    /// Mean to subtract from pixels in 0..1: one value, or one per channel in the order the model expects
    #[arg(
        long,
        value_name = "MEAN",
        value_delimiter = ',',
        value_parser = listed,
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    mean: Option<Vec<f32>>,
    /// Standard deviation to divide by: one value, or one per channel
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = listed,
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    std: Option<Vec<f32>>,
    /// Range of pixel values the model expects: 0..1, 0..255 or -1..1 [default: 0..1]
    #[arg(
        long,
        value_name = "RANGE",
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    input_range: Option<InputRange>,
    /// Order of colour channels the model expects: rgb or bgr [default: rgb]
    #[arg(long, value_name = "ORDER", help_heading = "Preprocessing")]
    channels: Option<Channels>,
    /// Order of axes the model expects: nchw or nhwc [default: nchw]
    #[arg(long, value_name = "ORDER", help_heading = "Preprocessing")]
    layout: Option<Layout>,
    /// Resize every picture first: 256 (the short side) or 224x320 (height and width) [default: photographs that do not
    /// match the model's input size are resized and centre-cropped]
    #[arg(long, value_name = "PIXELS", help_heading = "Preprocessing")]
    resize: Option<Resize>,
    /// Interpolation for resizing: bilinear, bicubic, lanczos, nearest, box or hamming [default: bilinear]
    #[arg(long, value_name = "FILTER", help_heading = "Preprocessing")]
    interpolation: Option<Interpolation>,
    /// Crop the centre after resizing: 224 (a square) or 224x320 (height and width)
    #[arg(
        long,
        value_name = "PIXELS",
        alias = "center-crop",
        help_heading = "Preprocessing"
    )]
    crop: Option<Crop>,
    /// The engine that runs the model; auto uses ONNX Runtime if it is installed
    #[arg(long, value_enum, default_value_t = EngineArg::Auto, help_heading = "Model")]
    engine: EngineArg,
}

/// The engines by name.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum EngineArg {
    /// ONNX Runtime if installed, else rten
    Auto,
    /// The built-in engine
    Rten,
    /// ONNX Runtime, from ORT_DYLIB_PATH or the Python package onnxruntime
    Ort,
}

impl EngineArg {
    /// Opens the engine.
    pub(crate) fn open(self) -> Result<Arc<dyn Engine>> {
        let engine = engine::open(match self {
            Self::Auto => engine::Choice::Auto,
            Self::Rten => engine::Choice::Rten,
            Self::Ort => engine::Choice::Ort,
        })?;
        for notice in engine.notices() {
            complain(&format!("note: {notice}"));
        }
        Ok(engine)
    }
}

/// The pictures to use.
#[derive(Args)]
pub(crate) struct DataArgs {
    /// The pictures: a folder (one sub-folder per class, with labels.csv, or unlabelled), .npy or .npz, MNIST or CIFAR
    /// files, Hugging Face Parquet, WebDataset shards (*.tar), a single picture, a pattern ('shards/{00..09}.tar'), or
    /// a list (.txt, or - for stdin: one file name per line, optionally followed by a tab and the label).
    /// scenes:count=1000,side=64,seed=0 draws pictures (background=0.95 makes the background match the class in 95% of
    /// them; background=0.95+3 makes it match the class three places on)
    pub(crate) data: PathBuf,
    /// Labels: an .npy of integers for an array, or a CSV file with the columns file and label (number or name) for a
    /// folder
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    labels: Option<PathBuf>,
    /// Skip the first N pictures
    #[arg(long, value_name = "N", default_value_t = 0, alias = "offset", value_parser = whole::<usize>, help_heading = "Data")]
    skip: usize,
    /// Use at most N pictures, after --skip
    #[arg(
        long,
        value_name = "N",
        aliases = ["max-samples", "num-samples", "n-samples", "num-images", "n-examples"],
        value_parser = whole::<usize>,
        help_heading = "Data"
    )]
    limit: Option<usize>,
}

/// Options read from a file or printed as one.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    /// Read options from a TOML file, keyed by long name (threads = 4), including arguments such as model and data; the
    /// command line takes precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings as TOML, including defaults, and exit (for attack with a model and data: the contents of
    /// run.toml)
    #[arg(long)]
    pub(crate) show_settings: bool,
}

/// How much work runs in parallel.
#[derive(Args)]
pub(crate) struct CrewArgs {
    /// Worker threads, at most four per core [default: one per core]
    #[arg(long, value_name = "N", aliases = ["workers", "num-workers", "jobs"], value_parser = count)]
    threads: Option<NonZeroUsize>,
    /// Pictures that each worker processes at once, at most 64; does not affect results [default: 16, or 8 if they are
    /// large]
    #[arg(long, value_name = "N", value_parser = count)]
    batch: Option<NonZeroUsize>,
    /// Do not show progress on stderr
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
}

impl CrewArgs {
    /// Returns the flags as command-line words.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.batch.map(|batch| format!("--batch={batch}")));
        words.extend(self.threads.map(|threads| format!("--threads={threads}")));
        words.extend(self.quiet.then(|| "--quiet".to_owned()));
        words
    }

    /// Fills in the defaults for pictures of `values` values each.
    pub(crate) fn resolve(&self, values: usize) -> Parallelism {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        Parallelism {
            threads: self.threads.map_or_else(cores, usize::from),
            batch: self.batch.map_or_else(|| in_hand(values), usize::from),
        }
    }
}

/// Returns the default number of pictures per worker: enough that some can be prepared while others wait for answers,
/// and fewer if each takes a lot of memory.
fn in_hand(values: usize) -> usize {
    /// A colour picture of 128 by 128 pixels.
    const SMALL: usize = 3 * 128 * 128;
    if values <= SMALL { 16 } else { 8 }
}

/// `MODEL.toml`: the preprocessing flags under the same names, and the class names. Paths are relative to its folder
/// and must stay inside it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ModelToml {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    input_range: Option<InputRange>,
    channels: Option<Channels>,
    layout: Option<Layout>,
    resize: Option<Size>,
    interpolation: Option<Interpolation>,
    crop: Option<Size>,
    class_names: Option<String>,
}

/// A size in `MODEL.toml`: `256` or `"224x320"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Number(usize),
    Text(String),
}

impl Size {
    /// Parses it like the option of the same name.
    fn read<T: FromStr<Err = Error>>(self) -> Result<T> {
        let text = match self {
            Self::Number(side) => side.to_string(),
            Self::Text(text) => text,
        };
        Ok(text.parse()?)
    }
}

/// The settings from the flags and `MODEL.toml` combined. Flags take precedence.
pub(crate) struct Prepared {
    /// How to read the model file.
    pub(crate) options: LoadOptions,
    /// The preprocessing that becomes part of the graph.
    pub(crate) preprocessing: Preprocessing,
    /// Whether the preprocessing was stated anywhere, even if it is "none".
    pub(crate) is_said: bool,
    /// Notes for the user about where these settings come from.
    pub(crate) notices: Vec<String>,
    /// Applied to every picture on loading.
    resize: Option<Resize>,
    interpolation: Interpolation,
    crop: Option<Crop>,
    class_names: Option<PathBuf>,
    /// The path of the model, which hints at its classes.
    model: PathBuf,
}

impl Prepared {
    /// Tells whether pixels are passed to the model unchanged.
    pub(crate) fn is_plain(&self) -> bool {
        self.preprocessing == Preprocessing::default()
    }

    /// Describes the preprocessing and the model options for the record of a run.
    pub(crate) fn record(&self, model: Option<&Classifier>) -> Result<String> {
        let Some(model) = model else {
            return Ok(self.with(&self.preprocessing));
        };
        let done = self.with(&model.as_eaten(&self.preprocessing)?);
        Ok(match model.runs_as_it_is() {
            false => done,
            true => format!("run-as-it-is {done}"),
        })
    }

    /// Returns the transform applied to every picture on loading, for a model that takes `[channels, height, width]`.
    pub(crate) fn transform(&self, input: [usize; 3]) -> Transform {
        Transform {
            channels: Some(input[0]).filter(|channels| matches!(channels, 1 | 3)),
            resize: self.resize,
            interpolation: self.interpolation,
            crop: self.crop,
        }
    }

    /// Names the classes of the data: the given names, else a built-in list that suits the model and does not
    /// contradict the data.
    fn name_classes(&self, data: &mut Dataset, pictures: &Path, model: Shape) -> Result<()> {
        let Shape { input, classes } = model;
        if let Some(names) = self.said_names(classes)? {
            return Ok(data.name_classes(&names, None, classes)?);
        }
        let called = [&*self.model, pictures].map(last_parts).join(" ");
        let likely = KnownClasses::likely(input, classes, &called);
        Ok(data.name_classes(&[], likely, classes)?)
    }

    /// Returns the given names of the model's classes, or else built-in names that fit the model and the file names, or an
    /// empty list.
    pub(crate) fn names_for(&self, pictures: &Path, model: Shape) -> Result<Vec<String>> {
        let Shape { input, classes } = model;
        if let Some(names) = self.said_names(classes)? {
            return Ok(names);
        }
        let called = [&*self.model, pictures].map(last_parts).join(" ");
        let likely = KnownClasses::likely(input, classes, &called);
        Ok(likely
            .and_then(|known| known.names(classes))
            .unwrap_or_default())
    }

    /// Returns the class names from the settings or from a file next to the model, or `None` if neither has them.
    fn said_names(&self, classes: usize) -> Result<Option<Vec<String>>> {
        if let Some(said) = self.class_names.as_deref() {
            return names_of(said, classes).map(Some);
        }
        if self.is_remote() {
            return Ok(None);
        }
        Ok(
            class_names_beside(&self.model, classes)?.map(|(path, names)| {
                terminal::note([format!("class names from {}", text(&path))]);
                names
            }),
        )
    }

    fn is_remote(&self) -> bool {
        Remote::is_named_by(&self.model.to_string_lossy())
    }
}

/// The word for no class names.
const NONE: &str = "none";

/// Returns the class names for a word, or those in a file.
fn names_of(said: &Path, classes: usize) -> Result<Vec<String>> {
    let word = Some(said).filter(|path| !path.is_file());
    match word.and_then(Path::to_str) {
        Some(NONE) => Ok(Vec::new()),
        Some(word) if is_word(word) => {
            let known: KnownClasses = word.parse()?;
            known.names(classes).ok_or_else(|| {
                anyhow!("the model has {classes} classes, which does not match {known}; choose another --class-names")
            })
        }
        _ => Ok(read_class_names(said, classes)?),
    }
}

/// Tells whether class names are given by a word rather than a file.
fn is_word(text: &str) -> bool {
    text == NONE || text.parse::<KnownClasses>().is_ok()
}

/// Returns the last two parts of a path.
fn last_parts(path: &Path) -> String {
    let parts: Vec<_> = path
        .iter()
        .rev()
        .take(2)
        .map(|part| part.to_string_lossy())
        .collect();
    parts.join(" ")
}

/// The input shape and the number of classes of a model.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// `[channels, height, width]` of its pictures.
    pub(crate) input: [usize; 3],
    /// Number of classes.
    pub(crate) classes: usize,
}

impl Prepared {
    /// Returns the preprocessing as options, wherever it was set, leaving out defaults.
    pub(crate) fn options(&self) -> Result<Table> {
        let mut options = Table::try_from(&self.preprocessing)?;
        for (name, values) in [
            ("mean", &self.preprocessing.mean),
            ("std", &self.preprocessing.std),
        ] {
            // Keeps the text short: the nearest double to 0.485f32 has sixteen digits.
            let shortest = |value: &f32| value.to_string().parse().map(Value::Float);
            if !values.is_empty() {
                let values = values.iter().map(shortest).collect::<Result<_, _>>()?;
                options.insert(name.to_owned(), Value::Array(values));
            }
        }
        if let Some(resize) = self.resize {
            options.insert("resize".to_owned(), resize.to_string().into());
            let interpolation = Value::try_from(self.interpolation)?;
            options.insert("interpolation".to_owned(), interpolation);
        }
        if let Some(crop) = self.crop {
            options.insert("crop".to_owned(), crop.to_string().into());
        }
        if let Some(path) = &self.class_names {
            options.insert("class-names".to_owned(), text(path).into());
        }
        Ok(options)
    }
}

impl Prepared {
    /// Describes the settings as options, with this preprocessing in the graph.
    fn with(&self, preprocessing: &Preprocessing) -> String {
        let mut done = Vec::new();
        if let Some(scores) = &self.options.output {
            done.push(format!("scores={scores:?}"));
        }
        if self.options.keep_softmax {
            done.push("keep-softmax".to_owned());
        }
        if self.options.straight_through {
            done.push("straight-through".to_owned());
        }
        if let Some((height, width)) = self.options.input_side {
            done.push(format!("input-side={height}x{width}"));
        }
        if let Some(resize) = self.resize {
            done.push(format!("resize={resize}"));
            if self.interpolation != Interpolation::default() {
                done.push(format!("interpolation={:?}", self.interpolation));
            }
        }
        if let Some(crop) = self.crop {
            done.push(format!("crop={crop}"));
        }
        done.push(preprocessing.to_string());
        done.join(" ")
    }
}

impl ModelFlags {
    /// Applies these flags to a model.
    pub(crate) fn of(&self, model: PathBuf) -> ModelArgs {
        let flags = self.clone();
        ModelArgs { model, flags }
    }

    /// The given names of a model's classes; empty if there are none.
    pub(crate) fn given_names(&self, classes: usize) -> Result<Vec<String>> {
        let said = self.class_names.as_deref();
        Ok(said
            .map(|said| names_of(said, classes))
            .transpose()?
            .unwrap_or_default())
    }
}

impl ModelArgs {
    /// Combines the flags with `MODEL.toml`.
    pub(crate) fn resolve(&self) -> Result<Prepared> {
        let flags = &self.flags;
        let beside = self.model.with_extension("toml");
        let file = match files::read_text(&beside, SETTINGS_BYTES) {
            // `.` and `..` have no extension to replace.
            _ if beside.is_dir() => ModelToml::default(),
            Ok(contents) => toml::from_str(&contents).with_context(|| text(&beside))?,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                ModelToml::default()
            }
            Err(error) => return Err(error.into()),
        };
        // The names appear in reports, so a file from a stranger must not read them from anywhere on the disk.
        let named = file.class_names.as_deref();
        if let Some(named) = named.filter(|named| !is_word(named)) {
            let folder = beside.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new("."));
            files::inside(folder, named)
                .with_context(|| format!("{}: class-names", text(&beside)))?;
        }
        // Flags override the description, and the description overrides the file next to the model.
        let described = flags.preprocessing.as_deref().map(Described::read);
        let mut described = described.transpose()?;
        let mut notices = Vec::new();
        let by_flags = flags.mean.is_some() || flags.std.is_some() || flags.input_range.is_some();
        let by_file = file.mean.is_some() || file.std.is_some() || file.input_range.is_some();
        let mut is_said = by_flags || by_file || described.is_some() || self.is_remote();
        if !is_said && let Some((path, found)) = Described::beside(&self.model)? {
            notices.push(format!("preprocessing from {}", text(&path)));
            described = Some(found);
            is_said = true;
        }
        // A description is complete: what it does not mention is not done.
        let Described {
            preprocessing,
            resize,
            interpolation,
            crop,
        } = match described {
            Some(mut described) => {
                described.preprocessing.layout = file.layout.unwrap_or_default();
                described
            }
            None => Described {
                preprocessing: Preprocessing {
                    mean: file.mean.unwrap_or_default(),
                    std: file.std.unwrap_or_default(),
                    input_range: file.input_range.unwrap_or_default(),
                    channels: file.channels.unwrap_or_default(),
                    layout: file.layout.unwrap_or_default(),
                },
                resize: file.resize.map(Size::read).transpose()?,
                interpolation: file.interpolation.unwrap_or_default(),
                crop: file.crop.map(Size::read).transpose()?,
            },
        };
        Ok(Prepared {
            options: flags.read.options(),
            preprocessing: Preprocessing {
                mean: flags.mean.clone().unwrap_or(preprocessing.mean),
                std: flags.std.clone().unwrap_or(preprocessing.std),
                input_range: flags.input_range.unwrap_or(preprocessing.input_range),
                channels: flags.channels.unwrap_or(preprocessing.channels),
                layout: flags.layout.unwrap_or(preprocessing.layout),
            },
            resize: flags.resize.or(resize),
            interpolation: flags.interpolation.unwrap_or(interpolation),
            crop: flags.crop.or(crop),
            class_names: flags.class_names.clone().or_else(|| match named? {
                word if is_word(word) => Some(word.into()),
                file => Some(beside.with_file_name(file)),
            }),
            is_said,
            notices,
            model: self.model.clone(),
        })
    }

    fn is_remote(&self) -> bool {
        Remote::is_named_by(&self.model.to_string_lossy())
    }

    /// Opens the engine named by the flags.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>> {
        self.flags.engine.open()
    }

    /// Opens the model with its preprocessing. If it cannot be imported and no gradients are needed, the engine runs
    /// the file unchanged.
    pub(crate) fn open(&self, prepared: &Prepared, access: Access) -> Result<Classifier> {
        let open = match access {
            Access::Gradients => Classifier::open_with,
            Access::Scores | Access::Labels => Classifier::open_for_scores,
        };
        let (options, preprocessing) = (&prepared.options, &prepared.preprocessing);
        let opened = open(&self.model, options, preprocessing, self.engine()?);
        opened
            .map_err(|error| {
                let helps = access == Access::Gradients
                    && error.is_unsupported()
                    && Classifier::may_run_as_it_is(&self.model, options, preprocessing);
                match helps {
                    true => anyhow!("{error}; to run black-box attacks, use --access scores"),
                    false => error.into(),
                }
            })
            .with_context(|| self.model.display().to_string())
    }
}

impl DataArgs {
    /// Selects all of the data at a path.
    pub(crate) fn of(data: PathBuf, labels: Option<PathBuf>) -> Self {
        Self {
            data,
            labels,
            skip: 0,
            limit: None,
        }
    }

    /// Opens the data set with pictures converted for the model: colour or grey, resized and cropped.
    pub(crate) fn open(&self, prepared: &mut Prepared, model: Shape) -> Result<Dataset> {
        let Shape { input, classes } = model;
        let mut data = self.open_with(prepared.transform(input))?;
        if let Some((resize, crop)) = data.fit_to(input)? {
            prepared.resize = Some(resize);
            prepared.crop = Some(Crop::square(crop));
            prepared.notices.push(format!(
                "pictures are resized to the model's {crop}x{crop} pixels (--resize {resize} --crop {crop})"
            ));
        }
        prepared.name_classes(&mut data, &self.data, model)?;
        data.check_fits(input, classes)?;
        terminal::note(&prepared.notices);
        terminal::note(data.notices());
        Ok(data)
    }

    /// Opens the data set and transforms its pictures.
    pub(crate) fn open_with(&self, transform: Transform) -> Result<Dataset> {
        let options = DataOptions {
            labels: self.labels.clone(),
            transform,
            skip: self.skip,
            limit: self.limit,
        };
        Ok(Dataset::open(&self.data, &options)?)
    }
}

/// Formats a path for records and messages.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
