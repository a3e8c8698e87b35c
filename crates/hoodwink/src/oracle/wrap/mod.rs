//! Wrappers: oracles between an attack and a model.
//!
//! A wrapper turns the questions that it receives into questions to the oracles inside it. The counting and limiting
//! oracle stands innermost, next to the model, so that every question to the model is paid for.

mod bpda;
mod ensemble;
mod eot;
mod memo;
#[cfg(test)]
mod tests;
pub mod transform;

pub use bpda::Bpda;
pub use ensemble::{Average, Ensemble};
pub use eot::Eot;
pub use memo::Memo;
pub use transform::Transformation;
