//! The source of true classes: labels, one class for all pictures, or the predictions of the model.

use anyhow::{Context as _, Result};
use clap::Args;
use hoodwink::{counted, data::Dataset, data::class_named, results::Truth};

use crate::terminal;

/// How to label pictures when not from the data.
#[derive(Args)]
pub(super) struct LabelArgs {
    /// Treat all pictures as this class (name or number), overriding their labels
    #[arg(long, value_name = "CLASS", help_heading = "Data", conflicts_with_all = ["label_from_prediction", "labels"])]
    label: Option<String>,
    /// Use the predicted class of each picture as its label; the default for pictures without labels
    #[arg(long, aliases = ["labels-from-prediction", "label-from-predictions"], help_heading = "Data", conflicts_with = "labels")]
    label_from_prediction: bool,
}

impl LabelArgs {
    /// Sets the labels of data whose classes already have names.
    pub(super) fn settle(&self, data: &mut Dataset, classes: usize) -> Result<Truth> {
        if let Some(label) = &self.label {
            let names = data.class_names().unwrap_or_default();
            let class = class_named(label, names, classes).context("--label")?;
            data.label_all(class);
            return Ok(Truth::Labels);
        }
        let has_labels = data.labels().is_ok();
        if has_labels && !self.label_from_prediction {
            return Ok(Truth::Labels);
        }
        data.forget_labels();
        let why = match self.label_from_prediction {
            true => "",
            false => " because there are no labels",
        };
        let pictures = counted(data.len(), "picture", "pictures");
        terminal::note([format!(
            "prediction instead of truth: {pictures}, attacked away from the predicted class{why}"
        )]);
        Ok(Truth::Prediction)
    }
}
