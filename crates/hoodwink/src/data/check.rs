//! Checks that every picture of a data set fits a model, before anything long begins.

use super::Dataset;
use crate::{
    counted,
    error::{Error, Result},
    parallel::in_order,
};

/// Maximum number of broken pictures that an error names. The others are only counted.
const NAMED: usize = 10;

impl Dataset {
    /// Reads and prepares every picture once, in several threads. Refuses the data if any picture fails or has another
    /// shape than `[channels, height, width]`; the error names these pictures. Does nothing if pictures cannot fail, as
    /// in arrays.
    ///
    /// `tell` is called with the number of pictures read so far.
    pub fn check(
        &self,
        shape: [usize; 3],
        threads: usize,
        mut tell: impl FnMut(usize),
    ) -> Result<()> {
        if !self.source.is_encoded() {
            return Ok(());
        }
        let fits = |index| Ok(self.fits(index, shape).err());
        let answers = in_order(self.len(), threads, fits, &mut tell)?;
        let broken: Vec<String> = answers
            .into_iter()
            .flatten()
            .map(|error| error.to_string())
            .collect();
        if broken.is_empty() {
            return Ok(());
        }
        let mut lines = broken.clone();
        if let [only] = lines.as_slice() {
            return Err(Error::invalid(only.clone()));
        }
        if lines.len() > NAMED {
            let more = lines.len() - NAMED;
            lines.truncate(NAMED);
            lines.push(format!("and {more} more"));
        }
        let said = format!(
            "{} of {} pictures cannot be used; repair or remove them",
            broken.len(),
            self.len()
        );
        Err(Error::several(said, lines))
    }

    fn fits(&self, index: usize, shape: [usize; 3]) -> Result<()> {
        let sample = self.get(index)?;
        let picture = &sample.picture;
        let found = [picture.channels(), picture.height(), picture.width()];
        if found == shape {
            return Ok(());
        }
        let told = |[channels, height, width]: [usize; 3]| {
            format!(
                "{} and {height}x{width} pixels",
                counted::channels(channels)
            )
        };
        Err(Error::invalid(format!(
            "{} has {}, but the model takes {}; resize or crop the pictures",
            sample.file,
            told(found),
            told(shape)
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{data::DataOptions, image::Picture};

    #[test]
    fn every_picture_that_cannot_be_shown_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let png = |side: usize| {
            Picture::new(3, side, side, vec![9; 3 * side * side])
                .unwrap()
                .encode_png()
        };
        for at in 0..30 {
            fs::write(folder.path().join(format!("{at:02}.png")), png(4)).unwrap();
        }
        let open = || Dataset::open(folder.path(), &DataOptions::default()).unwrap();
        let mut told = 0;
        open().check([3, 4, 4], 3, |done| told = done).unwrap();
        assert_eq!(told, 30);

        fs::write(folder.path().join("17.png"), &png(4)[..50]).unwrap();
        let refusal = |threads| {
            open()
                .check([3, 4, 4], threads, |_| {})
                .unwrap_err()
                .to_string()
        };
        assert!(refusal(2).starts_with("17.png"), "{}", refusal(2));
        assert!(!refusal(2).contains('\n'), "{}", refusal(2));

        for at in 10..25 {
            fs::write(folder.path().join(format!("{at}.png")), png(5)).unwrap();
        }
        assert_eq!(refusal(1), refusal(4));
        for says in [
            "15 of 30 pictures cannot be used",
            "  10.png has 3 channels and 5x5 pixels, but the model takes 3 channels and 4x4",
            "and 5 more",
        ] {
            assert!(refusal(2).contains(says), "{}", refusal(2));
        }
    }
}
