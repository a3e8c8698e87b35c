//! Finds what fools a trained vision model, measures how much, and shows why.

pub mod attacks;
mod counted;
pub mod data;
pub mod engine;
mod error;
pub mod evaluate;
pub mod files;
pub mod image;
pub mod judge;
pub mod legible;
pub mod lint;
pub mod model;
pub mod nearest;
pub mod oracle;
pub mod panics;
mod parallel;
mod parquet_file;
pub mod preprocessing;
pub mod report;
pub mod results;
pub mod run;
pub mod stats;
#[cfg(test)]
mod testing;

pub mod threat;
pub mod train;
pub mod transform;

pub use counted::counted;
pub use error::{Error, Result};
