//! Whether a mistake is only one of cropping: the object may lie outside of the centre.

use super::accuracy::largest;
use super::asking::Asking;
use super::sets::PictureSet;
use super::subset::Subset;
use crate::image::Picture;
use crate::oracle::pool::{Model, drive};
use crate::oracle::{Halt, Scores};
use crate::stats::{CONFIDENCE, Interval, clopper_pearson};
use crate::{Error, Result, legible};

impl Asking {
    /// The share of pictures of which at least one of ten crops is answered right: the corners, the centre, and the mirror image of
    /// each, as torchvision's `TenCrop`. The pictures of `set` are not cropped yet; `indices` are positions of those to ask about,
    /// and `places` are from [`PictureSet::places`].
    ///
    /// # Errors
    /// If a picture cannot be read, or is smaller than the model's.
    pub fn any_of_ten_crops(
        &self,
        model: &dyn Model,
        set: &PictureSet,
        indices: &[usize],
        places: &[Option<usize>],
        subset: &Subset,
        mut tell: impl FnMut(usize, usize),
    ) -> Result<Interval> {
        let (mut done, mut right) = (0, 0);
        drive(
            &[model],
            self.crew,
            indices.iter().copied(),
            &Halt::new(),
            |index, handle| {
                Box::pin(async move {
                    let sample = set.data().get(index)?;
                    let crops = crops(&sample.picture, self.input[1], self.input[2])
                        .ok_or_else(|| too_small(&sample.file, self.input))?;
                    let images: Vec<_> = crops.iter().map(Picture::to_image).collect();
                    let answers = Scores::of(&handle).logits_of(&images).await?;
                    Ok(answers.into_iter().any(|logits| {
                        let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
                        Some(largest(&subset.select(&logits))) == places[index]
                    }))
                })
            },
            |any| {
                right += u64::from(any);
                done += 1;
                tell(done, indices.len());
                Ok(())
            },
        )?;
        Ok(clopper_pearson(right, indices.len() as u64, CONFIDENCE))
    }
}

fn too_small(file: &str, [_, height, width]: [usize; 3]) -> Error {
    Error::invalid(format!(
        "{} is smaller than the {height}x{width} pixels of a crop; resize the pictures first",
        legible::name(file)
    ))
}

/// The corners and the centre, then their mirror images; `None` of a smaller picture.
fn crops(picture: &Picture, height: usize, width: usize) -> Option<Vec<Picture>> {
    let down = picture.height().checked_sub(height)?;
    let right = picture.width().checked_sub(width)?;
    // Half of an odd number is rounded to even, as in Python.
    let half = |room: usize| (room as f64 / 2.0).round_ties_even() as usize;
    let corners = [
        (0, 0),
        (0, right),
        (down, 0),
        (down, right),
        (half(down), half(right)),
    ];
    let plain = corners.map(|(top, left)| crop(picture, [top, left], [height, width], false));
    let mirrored = corners.map(|(top, left)| {
        // The same corner of the mirror image.
        crop(picture, [top, right - left], [height, width], true)
    });
    plain.into_iter().chain(mirrored).collect()
}

fn crop(
    picture: &Picture,
    [top, left]: [usize; 2],
    [height, width]: [usize; 2],
    mirrored: bool,
) -> Option<Picture> {
    let channels = picture.channels();
    let mut bytes = Vec::with_capacity(height * width * channels);
    for row in top..top + height {
        for column in 0..width {
            let column = match mirrored {
                true => left + width - 1 - column,
                false => left + column,
            };
            let at = (row * picture.width() + column) * channels;
            bytes.extend_from_slice(&picture.bytes()[at..at + channels]);
        }
    }
    Picture::new(channels, height, width, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_those_of_torchvision() {
        let picture = Picture::new(1, 3, 4, (0..12).collect()).unwrap();
        let found: Vec<Vec<u8>> = crops(&picture, 2, 2)
            .unwrap()
            .iter()
            .map(|crop| crop.bytes().to_vec())
            .collect();
        // torchvision.transforms.TenCrop(2) of numpy.arange(12).reshape(3, 4).
        let expected: [[u8; 4]; 10] = [
            [0, 1, 4, 5],
            [2, 3, 6, 7],
            [4, 5, 8, 9],
            [6, 7, 10, 11],
            [1, 2, 5, 6],
            [3, 2, 7, 6],
            [1, 0, 5, 4],
            [7, 6, 11, 10],
            [5, 4, 9, 8],
            [2, 1, 6, 5],
        ];
        assert_eq!(found, expected);
        assert!(crops(&picture, 4, 2).is_none());
    }
}
