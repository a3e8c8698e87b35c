//! Filters for scaling pictures, in Pillow's fixed-point arithmetic, so that the bytes are the ones a training script
//! saw.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, nearest::unknown};

/// How new pixels are computed from old ones. When a picture shrinks, all filters except `Nearest` get wider by the
/// same factor (antialiasing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle.
    #[default]
    Bilinear,
    /// The cubic of Keys (1981) with a = -1/2.
    Bicubic,
    /// A windowed sinc with three lobes.
    Lanczos,
    /// The nearest old pixel.
    Nearest,
    /// The mean of the old pixels under the new one.
    Box,
    /// A sinc with one lobe, in a Hamming window.
    Hamming,
}

impl Interpolation {
    const ALL: [(&str, Self); 6] = [
        ("bilinear", Self::Bilinear),
        ("bicubic", Self::Bicubic),
        ("lanczos", Self::Lanczos),
        ("nearest", Self::Nearest),
        ("box", Self::Box),
        ("hamming", Self::Hamming),
    ];

    /// Returns the filter with this number in Pillow's `Image.Resampling`, as in Hugging Face's `resample`.
    pub(crate) fn of_pillow(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Nearest,
            1 => Self::Lanczos,
            2 => Self::Bilinear,
            3 => Self::Bicubic,
            4 => Self::Box,
            5 => Self::Hamming,
            _ => return None,
        })
    }
}

impl FromStr for Interpolation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|(name, _)| *name == wanted);
        let (_, filter) =
            found.ok_or_else(|| unknown("filter", text, &Self::ALL.map(|(name, _)| name)))?;
        Ok(filter)
    }
}

impl Interpolation {
    /// Returns the radius of the filter.
    fn radius(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Returns the weight at a distance.
    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            // At the edge between two pixels, the later one counts.
            Self::Nearest | Self::Box => f64::from(-0.5 < distance && distance <= 0.5),
            Self::Hamming if x < 1.0 => sinc(x) * (0.54 + 0.46 * (x * std::f64::consts::PI).cos()),
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bicubic | Self::Lanczos | Self::Hamming => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    let angle = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { angle.sin() / angle }
}

/// Fractional bits of a weight.
pub(super) const PRECISION_BITS: u32 = 22;

/// The neighbouring values of one scaled value, with their weights.
pub(super) struct Taps {
    /// The position of the first neighbour.
    pub(super) first: usize,
    /// Their weights, with the sum 1, in units of 2^-22.
    pub(super) weights: Vec<i64>,
}

impl Taps {
    /// Returns the taps for every position of a scaled axis.
    pub(super) fn all(interpolation: Interpolation, from: usize, to: usize) -> Vec<Self> {
        if interpolation != Interpolation::Nearest {
            return (0..to)
                .map(|at| Self::new(interpolation, at, from, to))
                .collect();
        }
        // Pillow adds up the steps, and the rounding of the sum decides ties.
        let step = from as f64 / to as f64;
        let centres = std::iter::successors(Some(step * 0.5), |centre| Some(centre + step));
        let nearest = centres.take(to).map(|centre| Self {
            first: (centre as usize).min(from - 1),
            weights: vec![1 << PRECISION_BITS],
        });
        nearest.collect()
    }

    /// Returns the filter around position `at` of `to`, widened by the scaling factor.
    fn new(interpolation: Interpolation, at: usize, from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let radius = interpolation.radius() * stretch;
        let centre = (at as f64 + 0.5) * scale;
        // The cast truncates, and clips negative values to 0, the edge of the picture.
        let first = (centre - radius + 0.5) as usize;
        let end = ((centre + radius + 0.5) as usize).min(from);
        let weight = |at: usize| interpolation.weight((at as f64 + 0.5 - centre) / stretch);
        let total: f64 = (first..end).map(weight).sum();
        let one = f64::from(1 << PRECISION_BITS);
        Self {
            first,
            weights: (first..end)
                .map(|at| (weight(at) / total * one).round() as i64)
                .collect(),
        }
    }
}
