//! Finds what fools a trained vision model, measures how much, and shows why.

pub mod attacks;
pub mod data;
pub mod engine;
mod error;
pub mod image;
pub mod oracle;
pub mod results;
pub mod stats;
pub mod threat;

pub use error::{Error, Result};
