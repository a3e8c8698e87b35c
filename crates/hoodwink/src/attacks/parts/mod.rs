//! What several attacks share.

pub mod descent;
pub mod step;
