//! The distance between two images in every norm.

use serde::{Deserialize, Serialize};

use crate::image::Image;

/// Distances between two images, in the units of their values (pixel units for pictures).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// The number of differing values; each channel of a pixel counts.
    pub l0: f64,
    /// The sum of absolute differences.
    pub l1: f64,
    /// The root of the sum of squared differences.
    pub l2: f64,
    /// The largest absolute difference.
    pub linf: f64,
}

/// Computes all norms of the difference of two images of the same shape.
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
