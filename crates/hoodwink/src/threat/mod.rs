//! The threat model: what the attacker wants, may do and may see.

mod ball;
mod bounds;
mod eps;
mod goal;
pub mod hyperplane;
mod level;
pub mod norm;

pub use ball::{Ball, distances};
pub use bounds::Bounds;
pub use eps::Eps;
pub use goal::{Goal, TargetChoice};
pub use norm::Norm;
