//! Flags that several sub-commands share, and the `MODEL.toml` beside a model.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use clap::{ArgAction, Args, ValueEnum};
use hoodwink::{
    data::{DataOptions, Dataset, Resize, Transform},
    engine::{self, Engine},
    model::Classifier,
    oracle::batcher::Crew,
    preprocessing::{Channels, InputRange, Layout, Preprocessing},
};
use serde::Deserialize;

/// The model, and what its training code did to pictures.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The model, an ONNX file; a MODEL.toml beside it may hold the preprocessing flags
    pub(crate) model: PathBuf,
    /// Subtracted from pixels in 0..1: one value, or one per channel in the order the model eats them
    #[arg(
        long,
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    mean: Option<Vec<f32>>,
    /// Divided by, likewise
    #[arg(long, value_delimiter = ',', help_heading = "Preprocessing")]
    std: Option<Vec<f32>>,
    /// Range of values the model eats: 0..1, 0..255 or -1..1 [default: 0..1]
    #[arg(long, allow_hyphen_values = true, help_heading = "Preprocessing")]
    input_range: Option<InputRange>,
    /// Order of colour channels the model eats: rgb or bgr [default: rgb]
    #[arg(long, help_heading = "Preprocessing")]
    channels: Option<Channels>,
    /// Order of axes the model eats: nchw or nhwc [default: nchw]
    #[arg(long, help_heading = "Preprocessing")]
    layout: Option<Layout>,
    /// Resize every picture first: 256 (the short side) or 224x320 (height and width)
    #[arg(long, value_name = "PIXELS", help_heading = "Preprocessing")]
    resize: Option<Resize>,
    /// Then cut out a square of this many pixels from the centre
    #[arg(long, value_name = "PIXELS", help_heading = "Preprocessing")]
    crop: Option<usize>,
    /// What runs the model; auto takes ONNX Runtime where it finds it
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
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
        Ok(engine::open(match self {
            Self::Auto => engine::Choice::Auto,
            Self::Rten => engine::Choice::Rten,
            Self::Ort => engine::Choice::Ort,
        })?)
    }
}

/// The pictures.
#[derive(Args)]
pub(crate) struct DataArgs {
    /// The pictures: a folder with one sub-folder per class, a folder with labels.csv, an .npy, an .npz or one file
    pub(crate) data: PathBuf,
    /// Labels for an .npy of pictures
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Leave out this many pictures at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Take only the first N of the others
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// How much runs at once.
#[derive(Args)]
pub(crate) struct CrewArgs {
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Pictures per execution of the model, and live at once in each worker
    #[arg(long, value_name = "N", default_value_t = 8)]
    batch: usize,
    /// No progress on stderr
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
}

impl CrewArgs {
    /// With defaults filled in.
    pub(crate) fn resolve(&self) -> Crew {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        Crew {
            threads: self.threads.unwrap_or_else(cores).max(1),
            batch: self.batch.max(1),
        }
    }
}

/// `MODEL.toml`: the preprocessing flags under the same names.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ModelToml {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    input_range: Option<InputRange>,
    channels: Option<Channels>,
    layout: Option<Layout>,
    resize: Option<Size>,
    crop: Option<usize>,
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
    /// Part of the graph.
    pub(crate) preprocessing: Preprocessing,
    /// Done to every picture when it is loaded.
    resize: Option<Resize>,
    crop: Option<usize>,
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(resize) = self.resize {
            write!(f, "resize={resize} ")?;
        }
        if let Some(crop) = self.crop {
            write!(f, "crop={crop} ")?;
        }
        self.preprocessing.fmt(f)
    }
}

impl ModelArgs {
    /// Joins the flags with `MODEL.toml`.
    pub(crate) fn resolve(&self) -> Result<Prepared> {
        let beside = self.model.with_extension("toml");
        let file = match fs::read_to_string(&beside) {
            Ok(text) => toml::from_str(&text).with_context(|| beside.display().to_string())?,
            Err(_) => ModelToml::default(),
        };
        let resize = match file.resize {
            Some(Size::ShortSide(side)) => Some(Resize::ShortSide(side)),
            Some(Size::Text(text)) => Some(text.parse()?),
            None => None,
        };
        Ok(Prepared {
            preprocessing: Preprocessing {
                mean: self.mean.clone().or(file.mean).unwrap_or_default(),
                std: self.std.clone().or(file.std).unwrap_or_default(),
                input_range: self.input_range.or(file.input_range).unwrap_or_default(),
                channels: self.channels.or(file.channels).unwrap_or_default(),
                layout: self.layout.or(file.layout).unwrap_or_default(),
            },
            resize: self.resize.or(resize),
            crop: self.crop.or(file.crop),
        })
    }

    /// The engine the flags name.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>> {
        self.engine.open()
    }

    /// The model with its preprocessing.
    pub(crate) fn open(&self, prepared: &Prepared) -> Result<Classifier> {
        Classifier::open(&self.model, &prepared.preprocessing, self.engine()?)
            .with_context(|| self.model.display().to_string())
    }
}

impl DataArgs {
    /// The data set, its pictures as they are.
    pub(crate) fn open_plain(&self) -> Result<Dataset> {
        self.open(&Prepared {
            preprocessing: Preprocessing::default(),
            resize: None,
            crop: None,
        })
    }

    /// The data set, its pictures resized and cropped as the model wants them.
    pub(crate) fn open(&self, prepared: &Prepared) -> Result<Dataset> {
        let options = DataOptions {
            labels: self.labels.clone(),
            transform: Transform {
                resize: prepared.resize,
                crop: prepared.crop,
                ..Transform::default()
            },
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
