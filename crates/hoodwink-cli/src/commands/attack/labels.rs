//! What counts as right: labels, one class for all pictures, or what the model says.

use anyhow::{Context as _, Result};
use clap::Args;
use hoodwink::{counted, data::Dataset, data::class_named, results::Truth};

use crate::terminal;

/// Where the labels of pictures come from, if not from the data.
#[derive(Args)]
pub(super) struct LabelArgs {
    /// The class that all pictures show, by its name or number, whatever labels they have
    #[arg(long, value_name = "CLASS", help_heading = "Data", conflicts_with_all = ["label_from_prediction", "labels"])]
    label: Option<String>,
    /// Take what the model says about each picture for its label; so it is where pictures have none
    #[arg(long, aliases = ["labels-from-prediction", "label-from-predictions"], help_heading = "Data", conflicts_with = "labels")]
    label_from_prediction: bool,
}

impl LabelArgs {
    /// Settles the labels of data whose classes have their names.
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
            false => " as there are no labels",
        };
        let pictures = counted(data.len(), "picture", "pictures");
        terminal::note([format!(
            "prediction instead of truth: {pictures}, attacked from what the model says about each{why}"
        )]);
        Ok(Truth::Prediction)
    }
}
