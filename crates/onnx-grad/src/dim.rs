//! The sides of shapes.

use std::fmt;

/// One side of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known size.
    Fixed(usize),
    /// A multiple of the batch size: `Batch(k)` is `k * N`.
    Batch(usize),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(side) => write!(f, "{side}"),
            Self::Batch(1) => write!(f, "N"),
            Self::Batch(factor) => write!(f, "{factor}N"),
        }
    }
}

impl From<usize> for Dim {
    fn from(side: usize) -> Self {
        Self::Fixed(side)
    }
}
