//! What is asked: a model in a file, or one elsewhere.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use hoodwink::{
    model::{Classifier, Remote, RemoteSettings},
    oracle::{Access, pool::Model},
};

use crate::{
    args::{ModelArgs, Prepared, number, whole},
    interrupt,
};

/// How a model behind a URL or a program is asked.
#[derive(Args)]
pub(crate) struct RemoteArgs {
    /// Seconds that an answer of a remote model may take
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Remote model")]
    timeout: Option<Duration>,
    /// How often a question is asked again after a bad answer or none [default: 3]
    #[arg(long, value_name = "N", value_parser = whole::<u32>, help_heading = "Remote model")]
    retries: Option<u32>,
    /// Most pictures in a second, over all workers
    #[arg(long, value_name = "N", value_parser = number, help_heading = "Remote model")]
    rate: Option<f64>,
    /// Most pictures in one request [default: 32]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, help_heading = "Remote model")]
    request_batch: Option<usize>,
    /// A header of HTTP requests, such as 'Authorization: Bearer KEY'; it is not kept in the run
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, help_heading = "Remote model")]
    header: Vec<(String, String)>,
    /// Shape of the pictures where the model does not say it, such as 3x32x32
    #[arg(long, value_name = "CxHxW", value_parser = shape, help_heading = "Remote model")]
    picture_shape: Option<[usize; 3]>,
    /// Number of classes where the model does not say it
    #[arg(long, value_name = "N", value_parser = whole::<usize>, help_heading = "Remote model")]
    num_classes: Option<usize>,
}

impl RemoteArgs {
    fn settings(&self) -> RemoteSettings {
        let plain = RemoteSettings::default();
        RemoteSettings {
            input: self.picture_shape,
            classes: self.num_classes,
            timeout: self.timeout.unwrap_or(plain.timeout),
            retries: self.retries.unwrap_or(plain.retries),
            rate: self.rate,
            batch: self.request_batch.unwrap_or(plain.batch),
            headers: self.header.clone(),
            stop: Some(&interrupt::HALT),
            ..plain
        }
    }

    /// An option that was given, if any was.
    fn given(&self) -> Option<&'static str> {
        let all = [
            ("--timeout", self.timeout.is_some()),
            ("--retries", self.retries.is_some()),
            ("--rate", self.rate.is_some()),
            ("--request-batch", self.request_batch.is_some()),
            ("--header", !self.header.is_empty()),
            ("--picture-shape", self.picture_shape.is_some()),
            ("--num-classes", self.num_classes.is_some()),
        ];
        all.into_iter()
            .find(|(_, given)| *given)
            .map(|(name, _)| name)
    }
}

/// A model in a file, or one elsewhere.
pub(crate) enum Subject {
    /// An ONNX file.
    File(Box<Classifier>),
    /// Behind a URL or a program.
    Remote(Box<Remote>),
}

impl Subject {
    /// What the arguments name, for an attacker who may see so much.
    pub(crate) fn open(
        model: &ModelArgs,
        remote: &RemoteArgs,
        prepared: &Prepared,
        access: Access,
    ) -> Result<Self> {
        let address = model.model.to_string_lossy();
        if !Remote::is_named_by(&address) {
            if let Some(option) = remote.given() {
                bail!(
                    "{option} is for a model behind http://, https:// or cmd:, and {address} is a file"
                );
            }
            return Ok(Self::File(Box::new(model.open(prepared, access)?)));
        }
        if !prepared.is_plain() {
            bail!(
                "a model elsewhere eats pixels from 0 to 1 and prepares them itself: leave out --mean, --std, --input-range, \
                 --channels and --layout"
            );
        }
        let opened = Remote::open(&address, &remote.settings())?;
        Ok(Self::Remote(Box::new(opened)))
    }

    /// `[channels, height, width]` of its pictures.
    pub(crate) fn input(&self) -> [usize; 3] {
        match self {
            Self::File(model) => model.input(),
            Self::Remote(model) => model.input(),
        }
    }

    /// Number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.model().classes()
    }

    /// To be asked.
    pub(crate) fn model(&self) -> &dyn Model {
        match self {
            Self::File(model) => model.as_ref(),
            Self::Remote(model) => model.as_ref(),
        }
    }

    /// The most that it lets an attacker see.
    pub(crate) fn gives(&self) -> Access {
        match self {
            Self::File(_) => Access::Gradients,
            Self::Remote(model) if model.gives_labels_only() => Access::Labels,
            Self::Remote(_) => Access::Scores,
        }
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Classifier> {
        match self {
            Self::File(model) => Some(model),
            Self::Remote(_) => None,
        }
    }

    /// What the user should know about it.
    pub(crate) fn notices(&self) -> &[String] {
        self.file().map_or(&[], Classifier::notices)
    }

    /// What runs it, for the record of a run.
    pub(crate) fn engine(&self) -> String {
        self.file()
            .map_or("elsewhere".to_owned(), |model| model.engine().version())
    }

    /// Digest of the file; of a model elsewhere nothing is known.
    pub(crate) fn sha256(&self) -> &str {
        self.file().map_or("unknown", Classifier::sha256)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a time is a number of seconds above 0".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn shape(text: &str) -> Result<[usize; 3], String> {
    let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
    sides
        .and_then(|sides| sides.try_into().ok())
        .ok_or_else(|| "a shape is written 3x32x32: channels, height, width".to_owned())
}
