//! Small changes to training pictures that keep their class.

use rand::{Rng, RngExt};

use crate::{Result, image::Image};

/// Random changes, drawn again for each picture in each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Maximum shift in each direction, in pixels. The new border repeats the edge.
    pub shift: usize,
    /// Mirror half of the pictures left to right, at random. Not suitable for digits or letters.
    pub flip: bool,
}

impl Augment {
    /// Applies one random change to `image`.
    pub(super) fn apply(self, image: &Image, rng: &mut impl Rng) -> Result<Image> {
        let [down, right] =
            [(); 2].map(|()| rng.random_range(0..=2 * self.shift) as isize - self.shift as isize);
        let mirrored = self.flip && rng.random();
        changed(image, down, right, mirrored)
    }
}

fn changed(image: &Image, down: isize, right: isize, mirrored: bool) -> Result<Image> {
    let [channels, height, width] = image.shape();
    let source =
        |at: usize, shift: isize, side: usize| at.saturating_add_signed(-shift).min(side - 1);
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for plane in image.pixels().chunks_exact(height * width).take(channels) {
        for row in 0..height {
            let line = &plane[source(row, down, height) * width..][..width];
            pixels.extend((0..width).map(|column| {
                let column = source(column, right, width);
                line[if mirrored { width - 1 - column } else { column }]
            }));
        }
    }
    Image::new(image.shape(), pixels)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn shifts_repeat_the_edge_and_flips_mirror() {
        let image = Image::new([1, 2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        for (down, right, mirrored, expected) in [
            (0, 0, false, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            (1, 0, false, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
            (0, -1, false, [2.0, 3.0, 3.0, 5.0, 6.0, 6.0]),
            (0, 2, false, [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]),
            (0, 0, true, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]),
            (0, 1, true, [3.0, 3.0, 2.0, 6.0, 6.0, 5.0]),
        ] {
            let image = changed(&image, down, right, mirrored).unwrap();
            assert_eq!(image.pixels(), expected, "{down} {right} {mirrored}");
        }
    }

    #[test]
    fn no_augmentation_changes_nothing() {
        let image = Image::new([3, 1, 2], vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(Augment::default().apply(&image, &mut rng).unwrap(), image);
    }
}
