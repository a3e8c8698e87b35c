//! What several attacks share.

pub(super) mod descent;
pub(super) mod step;
