//! The model under test: a file or a remote model.

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

/// Settings for a model behind a URL or program.
#[derive(Args)]
pub(crate) struct RemoteArgs {
    /// Maximum time for one answer, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Remote model")]
    timeout: Option<Duration>,
    /// Number of retries after a missing or invalid answer [default: 3]
    #[arg(long, value_name = "N", value_parser = whole::<u32>, help_heading = "Remote model")]
    retries: Option<u32>,
    /// Maximum pictures per second, over all workers
    #[arg(long, value_name = "N", value_parser = number, help_heading = "Remote model")]
    rate: Option<f64>,
    /// Maximum pictures per request [default: 32]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, help_heading = "Remote model")]
    request_batch: Option<usize>,
    /// HTTP header to send, such as 'Authorization: Bearer KEY'; not stored in the run folder
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, help_heading = "Remote model")]
    header: Vec<(String, String)>,
    /// Input shape if the model does not report it, such as 3x32x32
    #[arg(long, value_name = "CxHxW", value_parser = shape, help_heading = "Remote model")]
    picture_shape: Option<[usize; 3]>,
    /// Number of classes if the model does not report it
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

    /// Returns the first remote option that was given, if any.
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

/// A model in a file, or a remote one.
pub(crate) enum Subject {
    /// An ONNX file.
    File(Box<Classifier>),
    /// A model behind a URL or a program.
    Remote(Box<Remote>),
}

impl Subject {
    /// Opens the model in the arguments for an attacker with this access.
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
                    "{option} applies only to remote models (http://, https:// or cmd:), but {address} is a file; leave it out"
                );
            }
            return Ok(Self::File(Box::new(model.open(prepared, access)?)));
        }
        if !prepared.is_plain() {
            bail!(
                "a remote model receives pixels from 0 to 1 and does its own preprocessing; leave out --preprocessing, --mean, --std, \
                 --input-range, --channels and --layout"
            );
        }
        let opened = Remote::open(&address, &remote.settings())?;
        Ok(Self::Remote(Box::new(opened)))
    }

    /// Returns the input shape, `[channels, height, width]`.
    pub(crate) fn input(&self) -> [usize; 3] {
        match self {
            Self::File(model) => model.input(),
            Self::Remote(model) => model.input(),
        }
    }

    /// Returns the number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.model().classes()
    }

    /// Returns the model for queries.
    pub(crate) fn model(&self) -> &dyn Model {
        match self {
            Self::File(model) => model.as_ref(),
            Self::Remote(model) => model.as_ref(),
        }
    }

    /// Returns the highest access that the model can provide.
    pub(crate) fn gives(&self) -> Access {
        match self {
            Self::File(_) => Access::Gradients,
            Self::Remote(model) if model.gives_labels_only() => Access::Labels,
            Self::Remote(_) => Access::Scores,
        }
    }

    /// Returns the classifier if the model is a file.
    pub(crate) fn file(&self) -> Option<&Classifier> {
        match self {
            Self::File(model) => Some(model),
            Self::Remote(_) => None,
        }
    }

    /// Returns notes for the user about the model.
    pub(crate) fn notices(&self) -> &[String] {
        self.file().map_or(&[], Classifier::notices)
    }

    /// Returns the engine and its version for the record of a run.
    pub(crate) fn engine(&self) -> String {
        self.file()
            .map_or("elsewhere".to_owned(), |model| model.engine().version())
    }

    /// Returns the SHA-256 digest of the file, or "unknown" for a remote model.
    pub(crate) fn sha256(&self) -> &str {
        self.file().map_or("unknown", Classifier::sha256)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("expected a header such as 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn shape(text: &str) -> Result<[usize; 3], String> {
    let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
    sides
        .and_then(|sides| sides.try_into().ok())
        .ok_or_else(|| "expected a shape such as 3x32x32: channels, height, width".to_owned())
}
