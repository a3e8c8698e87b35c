//! `--show-preprocessing`: the pictures as the model is fed them.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hoodwink::{data::Dataset, files, model::Classifier, preprocessing::Shown};

use crate::{args::Prepared, terminal::complain};

/// The most pictures that are shown.
const PICTURES: usize = 8;

/// Whether to show what the model is fed.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// Write what the model is fed for the first 8 pictures: above as they are in their files, below as they go in, the lowest
    /// possible value black, the highest white, the channels in the order eaten as red, green and blue (so red and blue look
    /// swapped for --channels bgr); the values of each channel are told on stderr
    #[arg(
        long,
        value_name = "FILE.png",
        help_heading = "Preprocessing",
        requires = "data"
    )]
    show_preprocessing: Option<PathBuf>,
}

impl ShowArgs {
    /// Writes the picture if it was asked for.
    pub(crate) fn write(
        &self,
        prepared: &Prepared,
        model: &Classifier,
        data: &Dataset,
    ) -> Result<()> {
        let Some(path) = &self.show_preprocessing else {
            return Ok(());
        };
        let preprocessing = model.as_eaten(&prepared.preprocessing)?;
        let shown = Shown::of(&preprocessing, model.engine(), data, PICTURES)?;
        files::write(path, &shown.sheet.encode_png())?;
        complain(&format!(
            "what the model is fed for the first {} of {} pictures is shown in {}:",
            shown.pictures,
            data.len(),
            path.display()
        ));
        for (at, channel) in shown.channels.iter().enumerate() {
            complain(&format!(
                "channel {at} ({}): {:.2} to {:.2}, mean {:.2}, standard deviation {:.2}",
                channel.name, channel.lowest, channel.highest, channel.mean, channel.deviation
            ));
        }
        complain("for normalised pictures a mean near 0 and a standard deviation near 1 are usual");
        Ok(())
    }
}
