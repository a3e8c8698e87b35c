//! The threat model: what the attacker wants, may do and may see.

mod ball;
mod eps;
mod goal;
pub mod norm;
mod region;

pub use ball::{Ball, distances};
pub use eps::Eps;
pub use goal::{Goal, TargetChoice};
pub use norm::Norm;
pub use region::Region;
