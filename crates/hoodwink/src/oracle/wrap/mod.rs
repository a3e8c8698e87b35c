//! Oracles around oracles: what stands between an attack and a model.
//!
//! A wrapper makes questions to the oracles inside it out of those that it is asked. What counts and limits stands inside, next
//! to the model, so that every question to the model is paid for.

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
