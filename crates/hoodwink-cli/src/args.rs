//! Flags that several sub-commands share, and the `MODEL.toml` beside a model.

use std::{
    fmt,
    io::ErrorKind,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{ArgAction, Args, ValueEnum};
use hoodwink::{
    Error,
    data::{DataOptions, Dataset, Interpolation, Resize, Transform, read_class_names},
    engine::{self, Engine},
    files,
    model::Classifier,
    oracle::{Access, pool::Parallelism},
    preprocessing::{Channels, Described, InputRange, Layout, Preprocessing},
};
use onnx_grad::LoadOptions;
use serde::Deserialize;
use toml::{Table, Value};

use crate::terminal::complain;

/// The largest file of settings that is read.
pub(crate) const SETTINGS_BYTES: u64 = 1 << 20;

/// How a model file is read, where it leaves that open.
#[derive(Args, Clone)]
pub(crate) struct ReadArgs {
    /// The output with the scores, where the model has several
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    scores: Option<String>,
    /// Take a final softmax as part of the scores; without this, scores are what goes into it
    #[arg(long, help_heading = "Model")]
    keep_softmax: bool,
    /// Give Sign, Round, Floor and Ceil the gradient of what they step along, instead of none
    #[arg(long, help_heading = "Model")]
    straight_through: bool,
    /// Height and width of the model's pictures, such as 224x224, where the file leaves them open
    #[arg(long, value_name = "PIXELS", value_parser = side, help_heading = "Model")]
    input_side: Option<(usize, usize)>,
}

impl ReadArgs {
    /// For the import.
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
    sides.ok_or_else(|| "a height and a width are written 224x320".to_owned())
}

/// A number of things of which there is at least one.
pub(crate) fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "a whole number from 1 on is needed".to_owned())
}

/// The model, and what its training code did to pictures.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The model, an ONNX file; beside net.onnx a net.toml may hold the preprocessing flags and class-names. For attack and
    /// predict also a model elsewhere, http://HOST/PATH or 'cmd:PROGRAM ARGUMENTS' (also as --model); docs/remote.md says how
    /// it is asked
    pub(crate) model: PathBuf,
    #[command(flatten)]
    flags: ModelFlags,
}

/// How any model is read, and what its training code did to pictures.
#[derive(Args, Clone)]
pub(crate) struct ModelFlags {
    #[command(flatten)]
    read: ReadArgs,
    /// Names of the model's classes: one per line, or a CSV table with the columns index and name
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    class_names: Option<PathBuf>,
    /// Preprocessing as described elsewhere, beneath the flags: timm's config.json, Hugging Face's preprocessor_config.json, or
    /// torchvision, torchvision-v2, torchvision-inception, clip
    #[arg(long, value_name = "FILE|NAME", help_heading = "Preprocessing")]
    preprocessing: Option<String>,
    /// Subtracted from pixels in 0..1: one value, or one per channel in the order the model eats them
    #[arg(
        long,
        value_name = "MEAN",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    mean: Option<Vec<f32>>,
    /// Divided by, likewise
    #[arg(long, value_delimiter = ',', help_heading = "Preprocessing")]
    std: Option<Vec<f32>>,
    /// Range of values the model eats: 0..1, 0..255 or -1..1 [default: 0..1]
    #[arg(
        long,
        value_name = "RANGE",
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    input_range: Option<InputRange>,
    /// Order of colour channels the model eats: rgb or bgr [default: rgb]
    #[arg(long, value_name = "ORDER", help_heading = "Preprocessing")]
    channels: Option<Channels>,
    /// Order of axes the model eats: nchw or nhwc [default: nchw]
    #[arg(long, value_name = "ORDER", help_heading = "Preprocessing")]
    layout: Option<Layout>,
    /// Resize every picture first: 256 (the short side) or 224x320 (height and width)
    #[arg(long, value_name = "PIXELS", help_heading = "Preprocessing")]
    resize: Option<Resize>,
    /// How pictures are resized: bilinear, bicubic or lanczos [default: bilinear]
    #[arg(long, value_name = "FILTER", help_heading = "Preprocessing")]
    interpolation: Option<Interpolation>,
    /// Then cut out a square of this many pixels from the centre
    #[arg(long, value_name = "PIXELS", help_heading = "Preprocessing")]
    crop: Option<usize>,
    /// What runs the model; auto takes ONNX Runtime where it finds it
    #[arg(long, value_enum, default_value_t = EngineArg::Auto, help_heading = "Model")]
    engine: EngineArg,
}

/// Names of engines.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum EngineArg {
    /// ONNX Runtime if it is found, else rten
    Auto,
    /// Built in
    Rten,
    /// ONNX Runtime, from ORT_DYLIB_PATH or the Python package onnxruntime
    Ort,
}

impl EngineArg {
    /// The engine of this name.
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

/// The pictures.
#[derive(Args)]
pub(crate) struct DataArgs {
    /// The pictures: a folder with one sub-folder per class, a folder with labels.csv, an .npy, an .npz, MNIST's or CIFAR's
    /// files, Parquet as of Hugging Face, WebDataset shards (*.tar), one file, a pattern ('shards/{00..09}.tar'), a list (.txt
    /// or - for stdin: a name per line, perhaps a tab and the label), or drawn ones: scenes:count=1000,side=64,seed=0
    /// (background=0.95 ties that cue to the class, background=0.95+3 to the value of another class)
    pub(crate) data: PathBuf,
    /// Labels: an .npy of integers for an array, a CSV table with the columns file and label for a folder
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    labels: Option<PathBuf>,
    /// Leave out this many pictures at the beginning
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Data")]
    skip: usize,
    /// Take only the first N of the others
    #[arg(long, value_name = "N", help_heading = "Data")]
    limit: Option<usize>,
}

/// Options from a file, and as one.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    /// Options from a TOML file, by their long names (threads = 4; arguments such as model and data too); the line itself wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings as TOML, defaults filled in (for attack, what run.toml would say), and do nothing
    #[arg(long)]
    pub(crate) show_settings: bool,
}

/// How much runs at once.
#[derive(Args)]
pub(crate) struct CrewArgs {
    /// Worker threads, at most four per core [default: one per core]
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<NonZeroUsize>,
    /// Pictures that each worker has in hand at once, at most 64 [default: 16, or 8 large ones]; no result depends on it
    #[arg(long, value_name = "N", value_parser = count)]
    batch: Option<NonZeroUsize>,
    /// No progress on stderr
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
}

impl CrewArgs {
    /// As words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.batch.map(|batch| format!("--batch={batch}")));
        words.extend(self.threads.map(|threads| format!("--threads={threads}")));
        words.extend(self.quiet.then(|| "--quiet".to_owned()));
        words
    }

    /// With defaults filled in, for pictures of so many values.
    pub(crate) fn resolve(&self, values: usize) -> Parallelism {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        Parallelism {
            threads: self.threads.map_or_else(cores, usize::from),
            batch: self.batch.map_or_else(|| in_hand(values), usize::from),
        }
    }
}

/// Pictures in hand, so many that while some are answered about others wait for their turn; fewer where each takes much
/// memory.
fn in_hand(values: usize) -> usize {
    /// Those of 128 by 128 pixels in colour.
    const SMALL: usize = 3 * 128 * 128;
    if values <= SMALL { 16 } else { 8 }
}

/// `MODEL.toml`: the preprocessing flags under the same names, and the names of the classes, which a model needs no less
/// than its mean. Its paths are relative to its own folder, and do not leave it.
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
    crop: Option<usize>,
    class_names: Option<String>,
}

/// A size in `MODEL.toml`: `256` or `"224x320"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    ShortSide(usize),
    Text(String),
}

/// What the flags and `MODEL.toml` say together; flags win.
pub(crate) struct Prepared {
    /// How the file is read.
    pub(crate) options: LoadOptions,
    /// Part of the graph.
    pub(crate) preprocessing: Preprocessing,
    /// Done to every picture when it is loaded.
    resize: Option<Resize>,
    interpolation: Interpolation,
    crop: Option<usize>,
    class_names: Option<PathBuf>,
}

impl Prepared {
    /// Whether nothing is done to pixels.
    pub(crate) fn is_plain(&self) -> bool {
        self.preprocessing == Preprocessing::default()
    }

    /// What was done to pictures and model, for the record of a run.
    pub(crate) fn record(&self, model: Option<&Classifier>) -> String {
        match model.is_some_and(Classifier::runs_as_it_is) {
            false => self.to_string(),
            true => format!("run-as-it-is {self}"),
        }
    }

    /// What is done to every picture when it is loaded, for a model that takes `[channels, height, width]`.
    pub(crate) fn transform(&self, input: [usize; 3]) -> Transform {
        Transform {
            channels: Some(input[0]).filter(|channels| matches!(channels, 1 | 3)),
            resize: self.resize,
            interpolation: self.interpolation,
            crop: self.crop,
        }
    }

    /// The names that were given for the model's classes; empty if none were.
    pub(crate) fn given_names(&self, classes: usize) -> Result<Vec<String>> {
        match &self.class_names {
            Some(path) => Ok(read_class_names(path, classes)?),
            None => Ok(Vec::new()),
        }
    }

    /// The names of the model's classes by number: those given for the model, else those of the data, which may stop
    /// before the last class.
    pub(crate) fn class_names(&self, classes: usize, data: &Dataset) -> Result<Vec<String>> {
        match &self.class_names {
            Some(path) => Ok(read_class_names(path, classes)?),
            None => Ok(data.class_names().unwrap_or_default().to_vec()),
        }
    }
}

impl Prepared {
    /// The preprocessing as options, whichever file said it: an option for everything that is not as by default.
    pub(crate) fn options(&self) -> Result<Table> {
        let mut options = Table::try_from(&self.preprocessing)?;
        for (name, values) in [
            ("mean", &self.preprocessing.mean),
            ("std", &self.preprocessing.std),
        ] {
            // As short as they were typed: the nearest double of 0.485f32 has sixteen digits.
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
            options.insert("crop".to_owned(), i64::try_from(crop)?.into());
        }
        if let Some(path) = &self.class_names {
            options.insert("class-names".to_owned(), text(path).into());
        }
        Ok(options)
    }
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scores) = &self.options.output {
            write!(f, "scores={scores:?} ")?;
        }
        if self.options.keep_softmax {
            write!(f, "keep-softmax ")?;
        }
        if self.options.straight_through {
            write!(f, "straight-through ")?;
        }
        if let Some((height, width)) = self.options.input_side {
            write!(f, "input-side={height}x{width} ")?;
        }
        if let Some(resize) = self.resize {
            write!(f, "resize={resize} ")?;
            if self.interpolation != Interpolation::default() {
                write!(f, "interpolation={:?} ", self.interpolation)?;
            }
        }
        if let Some(crop) = self.crop {
            write!(f, "crop={crop} ")?;
        }
        self.preprocessing.fmt(f)
    }
}

impl ModelFlags {
    /// These flags for a model.
    pub(crate) fn of(&self, model: PathBuf) -> ModelArgs {
        let flags = self.clone();
        ModelArgs { model, flags }
    }

    /// The names that were given for a model's classes; empty if none were.
    pub(crate) fn given_names(&self, classes: usize) -> Result<Vec<String>> {
        match &self.class_names {
            Some(path) => Ok(read_class_names(path, classes)?),
            None => Ok(Vec::new()),
        }
    }
}

impl ModelArgs {
    /// Joins the flags with `MODEL.toml`.
    pub(crate) fn resolve(&self) -> Result<Prepared> {
        let flags = &self.flags;
        let beside = self.model.with_extension("toml");
        let file = match files::read_text(&beside, SETTINGS_BYTES) {
            Ok(contents) => toml::from_str(&contents).with_context(|| text(&beside))?,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                ModelToml::default()
            }
            Err(error) => return Err(error.into()),
        };
        // Its names come into reports: a stranger's file may not choose them from all of the disk.
        let named = file.class_names.as_deref();
        if let Some(named) = named {
            let folder = beside.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new("."));
            files::inside(folder, named)
                .with_context(|| format!("{}: class-names", text(&beside)))?;
        }
        // Beneath the flags, above the file beside the model.
        let described = flags.preprocessing.as_deref().map(Described::read);
        let described = described.transpose()?;
        let said = described.as_ref();
        let list = |values: &Vec<f32>| Some(values.clone()).filter(|values| !values.is_empty());
        let resize = match file.resize {
            Some(Size::ShortSide(side)) => Some(Resize::ShortSide(side)),
            Some(Size::Text(text)) => Some(text.parse()?),
            None => None,
        };
        Ok(Prepared {
            options: flags.read.options(),
            preprocessing: Preprocessing {
                mean: (flags.mean.clone())
                    .or_else(|| list(&said?.preprocessing.mean))
                    .or(file.mean)
                    .unwrap_or_default(),
                std: (flags.std.clone())
                    .or_else(|| list(&said?.preprocessing.std))
                    .or(file.std)
                    .unwrap_or_default(),
                input_range: (flags.input_range)
                    .or(said.map(|said| said.preprocessing.input_range))
                    .or(file.input_range)
                    .unwrap_or_default(),
                channels: flags.channels.or(file.channels).unwrap_or_default(),
                layout: flags.layout.or(file.layout).unwrap_or_default(),
            },
            resize: (flags.resize).or_else(|| said?.resize).or(resize),
            interpolation: (flags.interpolation)
                .or(said.map(|said| said.interpolation))
                .or(file.interpolation)
                .unwrap_or_default(),
            crop: (flags.crop).or_else(|| said?.crop).or(file.crop),
            class_names: flags
                .class_names
                .clone()
                .or_else(|| Some(beside.with_file_name(named?))),
        })
    }

    /// The engine the flags name.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>> {
        self.flags.engine.open()
    }

    /// The model with its preprocessing. One that cannot be imported is run as it is where nobody needs its gradients.
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
                    true => anyhow!("{error}; black-box attacks work with --access scores"),
                    false => error.into(),
                }
            })
            .with_context(|| self.model.display().to_string())
    }
}

impl DataArgs {
    /// All of the data at a path.
    pub(crate) fn of(data: PathBuf, labels: Option<PathBuf>) -> Self {
        Self {
            data,
            labels,
            skip: 0,
            limit: None,
        }
    }

    /// The data set, its pictures as the model wants them: grey or in colour as it eats them, resized and cropped.
    pub(crate) fn open(
        &self,
        prepared: &Prepared,
        input: [usize; 3],
        classes: usize,
    ) -> Result<Dataset> {
        let mut data = self.open_with(prepared.transform(input))?;
        data.label_for(&prepared.given_names(classes)?, classes)?;
        data.check_fits(input, classes)?;
        Ok(data)
    }

    /// The data set, its pictures transformed.
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

/// A path for records and messages.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
