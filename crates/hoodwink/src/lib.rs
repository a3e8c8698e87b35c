//! Finds what fools a trained vision model, measures how much, and shows why.

mod error;
pub mod image;
pub mod results;

pub use error::{Error, Result};
