//! Flags that several sub-commands share, and the `MODEL.toml` beside a model.

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

/// The largest file of settings that is read.
pub(crate) const SETTINGS_BYTES: u64 = 1 << 20;

/// How a model file is read, where it leaves that open.
#[derive(Args, Clone)]
pub(crate) struct ReadArgs {
    /// The output with the scores, where the model has several, or a value inside it that is to be the scores
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    scores: Option<String>,
    /// Take a final softmax or sigmoid as part of the scores; without this, scores are what goes into it
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

/// A number of things of which there may be none.
pub(crate) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "a whole number from 0 on is needed".to_owned())
}

/// One of a list of numbers, which may stand in brackets as in Python.
fn listed(text: &str) -> Result<f32, String> {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || "[]()".contains(c));
    let number = bare.parse().ok().filter(|number: &f32| number.is_finite());
    number.ok_or_else(|| {
        "numbers with commas between them are needed, such as 0.485,0.456,0.406".to_owned()
    })
}

/// A number with or without a fraction.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "a number is needed, such as 0.9".to_owned())
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
    /// Names of the model's classes: a file with one per line, or a CSV table with the columns index and name; or imagenet,
    /// cifar10, cifar100, mnist, fashion-mnist, none [default: config.json beside the model, the names of the data, or those
    /// that suit the model's pictures and number of classes]
    #[arg(
        long,
        value_name = "FILE|NAME",
        alias = "classes",
        help_heading = "Model"
    )]
    class_names: Option<PathBuf>,
    /// Preprocessing by name: imagenet, imagenet-inception, imagenet-caffe, cifar10, cifar100, mnist, fashion-mnist, 0..1,
    /// 0..255, -1..1, and with sizes torchvision, torchvision-v2, torchvision-inception, clip; or from a file, timm's
    /// config.json or Hugging Face's preprocessor_config.json. The flags below win. [default: such a file beside the model]
    #[arg(
        long,
        value_name = "NAME|FILE",
        alias = "preprocess",
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    preprocessing: Option<String>,
    /// Subtracted from pixels in 0..1: one value, or one per channel in the order the model eats them
    #[arg(
        long,
        value_name = "MEAN",
        value_delimiter = ',',
        value_parser = listed,
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    mean: Option<Vec<f32>>,
    /// Divided by, likewise
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = listed,
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
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
    /// Resize every picture first: 256 (the short side) or 224x320 (height and width) [default: photographs of another size
    /// than the model's pictures as is usual, with the centre cut out]
    #[arg(long, value_name = "PIXELS", help_heading = "Preprocessing")]
    resize: Option<Resize>,
    /// How pictures are resized: bilinear, bicubic, lanczos, nearest, box or hamming [default: bilinear]
    #[arg(long, value_name = "FILTER", help_heading = "Preprocessing")]
    interpolation: Option<Interpolation>,
    /// Then cut this much out of the centre: 224 (a square) or 224x320 (height and width)
    #[arg(
        long,
        value_name = "PIXELS",
        alias = "center-crop",
        help_heading = "Preprocessing"
    )]
    crop: Option<Crop>,
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
    /// The pictures: a folder with one sub-folder per class, a folder with labels.csv, or of pictures alone, an .npy, an .npz, MNIST's or CIFAR's
    /// files, Parquet as of Hugging Face, WebDataset shards (*.tar), one file, a pattern ('shards/{00..09}.tar'), a list (.txt
    /// or - for stdin: a name per line, perhaps a tab and the label), or drawn ones: scenes:count=1000,side=64,seed=0
    /// (background=0.95 ties that cue to the class, background=0.95+3 to the value of another class)
    pub(crate) data: PathBuf,
    /// Labels: an .npy of integers for an array, a CSV table with the columns file and label (numbers or names) for a folder
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    labels: Option<PathBuf>,
    /// Leave out this many pictures at the beginning
    #[arg(long, value_name = "N", default_value_t = 0, alias = "offset", value_parser = whole::<usize>, help_heading = "Data")]
    skip: usize,
    /// Take only the first N of the others
    #[arg(
        long,
        value_name = "N",
        aliases = ["max-samples", "num-samples", "n-samples", "num-images", "n-examples"],
        value_parser = whole::<usize>,
        help_heading = "Data"
    )]
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
    #[arg(long, value_name = "N", aliases = ["workers", "num-workers", "jobs"], value_parser = count)]
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
    /// As the option of the same name reads it.
    fn read<T: FromStr<Err = Error>>(self) -> Result<T> {
        let text = match self {
            Self::Number(side) => side.to_string(),
            Self::Text(text) => text,
        };
        Ok(text.parse()?)
    }
}

/// What the flags and `MODEL.toml` say together; flags win.
pub(crate) struct Prepared {
    /// How the file is read.
    pub(crate) options: LoadOptions,
    /// Part of the graph.
    pub(crate) preprocessing: Preprocessing,
    /// Whether anybody said what is done to pixels, be it nothing.
    pub(crate) is_said: bool,
    /// What the user should know about where this is from.
    pub(crate) notices: Vec<String>,
    /// Done to every picture when it is loaded.
    resize: Option<Resize>,
    interpolation: Interpolation,
    crop: Option<Crop>,
    class_names: Option<PathBuf>,
    /// The model, whose name and folder tell more.
    model: PathBuf,
}

impl Prepared {
    /// Whether nothing is done to pixels.
    pub(crate) fn is_plain(&self) -> bool {
        self.preprocessing == Preprocessing::default()
    }

    /// What was done to pictures and model, for the record of a run.
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

    /// What is done to every picture when it is loaded, for a model that takes `[channels, height, width]`.
    pub(crate) fn transform(&self, input: [usize; 3]) -> Transform {
        Transform {
            channels: Some(input[0]).filter(|channels| matches!(channels, 1 | 3)),
            resize: self.resize,
            interpolation: self.interpolation,
            crop: self.crop,
        }
    }

    /// Names the classes of the data: as given, or else as suits the model and contradicts nothing.
    fn name_classes(&self, data: &mut Dataset, pictures: &Path, model: Shape) -> Result<()> {
        let Shape { input, classes } = model;
        if let Some(names) = self.said_names(classes)? {
            return Ok(data.name_classes(&names, None, classes)?);
        }
        let called = [&*self.model, pictures].map(last_parts).join(" ");
        let likely = KnownClasses::likely(input, classes, &called);
        Ok(data.name_classes(&[], likely, classes)?)
    }

    /// The names of the model's classes: the given ones, or else those that suit the model and what the files are called;
    /// empty if there are none.
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

    /// The names of the model's classes from the settings or a file beside the model; `None` if neither names them.
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

/// Class names that stand for none at all.
const NONE: &str = "none";

/// The class names that a word stands for, or those in a file.
fn names_of(said: &Path, classes: usize) -> Result<Vec<String>> {
    let word = Some(said).filter(|path| !path.is_file());
    match word.and_then(Path::to_str) {
        Some(NONE) => Ok(Vec::new()),
        Some(word) if is_word(word) => {
            let known: KnownClasses = word.parse()?;
            known.names(classes).ok_or_else(|| {
                anyhow!("the model has {classes} classes, which are not those of {known}")
            })
        }
        _ => Ok(read_class_names(said, classes)?),
    }
}

/// Whether class names are said by a word and not by a file.
fn is_word(text: &str) -> bool {
    text == NONE || text.parse::<KnownClasses>().is_ok()
}

/// The name of a file or folder with the one that it is in.
fn last_parts(path: &Path) -> String {
    let parts: Vec<_> = path
        .iter()
        .rev()
        .take(2)
        .map(|part| part.to_string_lossy())
        .collect();
    parts.join(" ")
}

/// What a model takes and gives.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// `[channels, height, width]` of its pictures.
    pub(crate) input: [usize; 3],
    /// Number of its classes.
    pub(crate) classes: usize,
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
            options.insert("crop".to_owned(), crop.to_string().into());
        }
        if let Some(path) = &self.class_names {
            options.insert("class-names".to_owned(), text(path).into());
        }
        Ok(options)
    }
}

impl Prepared {
    /// What is done, in words of options, with this preprocessing in the graph.
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
    /// These flags for a model.
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
    /// Joins the flags with `MODEL.toml`.
    pub(crate) fn resolve(&self) -> Result<Prepared> {
        let flags = &self.flags;
        let beside = self.model.with_extension("toml");
        let file = match files::read_text(&beside, SETTINGS_BYTES) {
            // `.` and `..` have no other extension.
            _ if beside.is_dir() => ModelToml::default(),
            Ok(contents) => toml::from_str(&contents).with_context(|| text(&beside))?,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                ModelToml::default()
            }
            Err(error) => return Err(error.into()),
        };
        // Its names come into reports: a stranger's file may not choose them from all of the disk.
        let named = file.class_names.as_deref();
        if let Some(named) = named.filter(|named| !is_word(named)) {
            let folder = beside.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new("."));
            files::inside(folder, named)
                .with_context(|| format!("{}: class-names", text(&beside)))?;
        }
        // Beneath the flags, above the file beside the model.
        let described = flags.preprocessing.as_deref().map(Described::read);
        let mut described = described.transpose()?;
        let mut notices = Vec::new();
        let by_flags = flags.mean.is_some() || flags.std.is_some() || flags.input_range.is_some();
        let by_file = file.mean.is_some() || file.std.is_some() || file.input_range.is_some();
        let mut is_said = by_flags || by_file || described.is_some() || self.is_remote();
        if !is_said && let Some((path, found)) = Described::beside(&self.model)? {
            notices.push(format!("preprocessing as {} says", text(&path)));
            described = Some(found);
            is_said = true;
        }
        // A description says all of it, also what is not done.
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
    pub(crate) fn open(&self, prepared: &mut Prepared, model: Shape) -> Result<Dataset> {
        let Shape { input, classes } = model;
        let mut data = self.open_with(prepared.transform(input))?;
        if let Some((resize, crop)) = data.fit_to(input)? {
            prepared.resize = Some(resize);
            prepared.crop = Some(Crop::square(crop));
            prepared.notices.push(format!(
                "pictures are scaled to the model's {crop}x{crop} pixels (--resize {resize} --crop {crop})"
            ));
        }
        prepared.name_classes(&mut data, &self.data, model)?;
        data.check_fits(input, classes)?;
        terminal::note(&prepared.notices);
        terminal::note(data.notices());
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
