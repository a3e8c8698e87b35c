//! One drawn transformation: an affine map on the values of an image.

use crate::{Error, Result, image::Image};

/// A transformation drawn from its family: `x -> factor * (rows ⊗ columns) x + noise`, the same for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    shape: [usize; 3],
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) factor: f64,
    /// Has the shape of the image, or is empty.
    noise: Vec<f32>,
}

impl Drawn {
    /// Creates the transformation that changes nothing.
    pub(super) fn identity(shape: [usize; 3]) -> Self {
        let [_, height, width] = shape;
        Self {
            shape,
            rows: Axis::cropped(height, 0, 0),
            columns: Axis::cropped(width, 0, 0),
            factor: 1.0,
            noise: Vec::new(),
        }
    }

    /// Adds a fresh return value of `noise` to each value.
    pub(super) fn add(&mut self, mut noise: impl FnMut() -> f64) {
        let values = 0..self.shape.iter().product();
        self.noise = values.map(|_| noise() as f32).collect();
    }

    /// Transforms an image. Values may leave \[0, 1\].
    ///
    /// # Errors
    /// The image's shape differs from the one that the transformation was drawn for.
    pub fn apply(&self, image: &Image) -> Result<Image> {
        let mut moved = self.apply_linear(image)?;
        for (x, &noise) in moved.pixels_mut().iter_mut().zip(&self.noise) {
            *x += noise;
        }
        Ok(moved)
    }

    /// Like [`Drawn::apply`] without the added noise. This linear part applies to a difference of two images.
    ///
    /// # Errors
    /// The image's shape differs from the one that the transformation was drawn for.
    pub fn apply_linear(&self, image: &Image) -> Result<Image> {
        self.expect(image)?;
        let mut moved = Image::zeros(self.shape);
        self.for_each_plane(image.pixels(), moved.pixels_mut(), |from, to| {
            self.for_each_tap(|out, tap, weight| to[out] += weight * f64::from(from[tap]));
        });
        Ok(moved)
    }

    /// Computes the gradient with respect to the original image from the gradient with respect to the transformed one.
    /// This is the transpose of [`Drawn::apply_linear`].
    ///
    /// # Errors
    /// The cotangent's shape differs from the one that the transformation was drawn for.
    pub fn pull_back(&self, cotangent: &Image) -> Result<Image> {
        self.expect(cotangent)?;
        let mut moved = Image::zeros(self.shape);
        self.for_each_plane(cotangent.pixels(), moved.pixels_mut(), |from, to| {
            self.for_each_tap(|out, tap, weight| to[tap] += weight * f64::from(from[out]));
        });
        Ok(moved)
    }

    /// Sums up every plane in double precision.
    fn for_each_plane(&self, from: &[f32], to: &mut [f32], sum: impl Fn(&[f32], &mut [f64])) {
        let [_, height, width] = self.shape;
        let plane = (height * width).max(1);
        let mut sums = vec![0.0; plane];
        for (from, to) in from.chunks_exact(plane).zip(to.chunks_exact_mut(plane)) {
            sums.fill(0.0);
            sum(from, &mut sums);
            for (to, &sum) in to.iter_mut().zip(&sums) {
                *to = (self.factor * sum) as f32;
            }
        }
    }

    /// Calls `tap` with a place in the transformed plane, a place in the original plane, and the weight between them.
    fn for_each_tap(&self, mut tap: impl FnMut(usize, usize, f64)) {
        let width = self.shape[2];
        for (row, rows) in self.rows.0.iter().enumerate() {
            for &(from_row, row_weight) in rows.iter().filter(|tap| tap.1 != 0.0) {
                for (column, columns) in self.columns.0.iter().enumerate() {
                    for &(from_column, weight) in columns {
                        let (out, from) = (row * width + column, from_row * width + from_column);
                        tap(out, from, row_weight * weight);
                    }
                }
            }
        }
    }

    fn expect(&self, image: &Image) -> Result<()> {
        match image.shape() == self.shape {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "a transformation for images of shape {:?} cannot be applied to an image of shape {:?}",
                self.shape,
                image.shape()
            ))),
        }
    }
}

/// A linear map along one axis. Each place of the result has two places of the original with their weights. Both
/// weights are zero where the result is zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis(Vec<[(usize, f64); 2]>);

impl Axis {
    const NOTHING: [(usize, f64); 2] = [(0, 0.0); 2];

    /// Pads the axis with zeros on both sides and cuts `length` places from `start`.
    pub(super) fn cropped(length: usize, padding: usize, start: usize) -> Self {
        let from = |at: usize| match (at + start).checked_sub(padding) {
            Some(from) if from < length => [(from, 1.0), (from, 0.0)],
            _ => Self::NOTHING,
        };
        Self((0..length).map(from).collect())
    }

    /// Reverses the axis.
    pub(super) fn mirrored(length: usize) -> Self {
        let from = |at| [(at, 1.0), (at, 0.0)];
        Self((0..length).rev().map(from).collect())
    }

    /// Shrinks the axis to `size` places after `before` zeros, by linear interpolation between the centres of places
    /// (PyTorch's `align_corners=False` without antialiasing).
    pub(super) fn resized(length: usize, size: usize, before: usize) -> Self {
        let last = length.saturating_sub(1);
        let from = |at: usize| match at.checked_sub(before) {
            Some(at) if at < size => {
                let center = (at as f64 + 0.5) * length as f64 / size as f64 - 0.5;
                let center = center.clamp(0.0, last as f64);
                let first = center.floor() as usize;
                let share = center - first as f64;
                [(first, 1.0 - share), ((first + 1).min(last), share)]
            }
            _ => Self::NOTHING,
        };
        Self((0..length).map(from).collect())
    }
}
