//! `--show-preprocessing`: writes a picture of the model input.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hoodwink::{data::Dataset, files, model::Classifier, preprocessing::Shown};

use crate::{args::Prepared, terminal::complain};

/// The maximum number of pictures to show.
const PICTURES: usize = 8;

/// Options to show the model input.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// Write a PNG of the model input for the first 8 pictures: the original above, the preprocessed picture below,
    /// with the lowest possible value in black and the highest in white. Channels are drawn in the order of the input
    /// as red, green and blue, so --channels bgr swaps red and blue. Statistics of each channel are printed on stderr
    #[arg(
        long,
        value_name = "FILE.png",
        help_heading = "Preprocessing",
        requires = "data"
    )]
    show_preprocessing: Option<PathBuf>,
}

impl ShowArgs {
    /// Writes the picture if requested.
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
            "wrote the model input for the first {} of {} pictures to {}:",
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
        complain("normalised pictures usually have a mean near 0 and a standard deviation near 1");
        Ok(())
    }
}
