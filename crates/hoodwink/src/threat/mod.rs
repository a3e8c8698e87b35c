//! The threat model: what the attacker wants, may know and may do.

mod ball;
mod bounds;
mod distances;
mod eps;
mod goal;
pub mod hyperplane;
mod level;
pub mod norm;
mod region;
#[expect(clippy::module_inception, reason = "the module's main type")]
mod threat;

pub use ball::Ball;
pub use bounds::Bounds;
pub use distances::{Distances, distances};
pub use eps::{Eps, Radius, Sweep};
pub use goal::{Goal, TargetChoice};
pub use norm::Norm;
pub use region::Region;
pub use threat::{Conditions, Threat};
