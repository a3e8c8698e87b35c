//! Finds what fools a trained vision model, measures how much, and shows why.

pub mod data;
mod error;
pub mod image;
pub mod results;
pub mod stats;

pub use error::{Error, Result};
