//! How far one image is from another, in every norm.

use serde::{Deserialize, Serialize};

use crate::image::Image;

/// Distances between two images, in the units of their values: pixel units for pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// Number of pixels' channel values that differ.
    pub l0: f64,
    /// Sum of absolute differences.
    pub l1: f64,
    /// Root of the sum of squared differences.
    pub l2: f64,
    /// Largest absolute difference.
    pub linf: f64,
}

/// All norms of the difference of two images of the same shape.
pub fn distances(original: &Image, x: &Image) -> Distances {
    let mut norms = Distances::default();
    for (&a, &b) in original.pixels().iter().zip(x.pixels()) {
        let difference = (f64::from(a) - f64::from(b)).abs();
        norms.l0 += f64::from(u8::from(difference != 0.0));
        norms.l1 += difference;
        norms.l2 += difference * difference;
        norms.linf = norms.linf.max(difference);
    }
    norms.l2 = norms.l2.sqrt();
    norms
}
