//! Attacks: straight-line code for one image, one file per attack.
//!
//! An attack offers points; only the judge decides whether it succeeded. [`ATTACKS`] lists all attacks. Many share
//! parts, such as the loop in `parts/descent.rs`. `docs/adding-an-attack.md` explains how to add one.

mod best;
mod case;
mod edit;
mod gradient;
mod labels;
#[cfg(test)]
mod laws;
mod loss;
mod minimum;
pub mod parameters;
mod parts;
pub mod random;
mod recipe;
mod registry;
mod scores;
mod shared;
#[cfg(test)]
pub(crate) mod toys;

pub use best::{Best, Candidate};
pub use case::Case;
pub use edit::{Edit, Fitting};
pub use loss::LossName;
pub use parameters::{Parameter, Values};
pub use parts::step::StepRule;
pub(crate) use parts::step::Stepper;
pub use recipe::Spec;
pub use registry::{ATTACKS, Aim, Attack, Entry, Family, find};
