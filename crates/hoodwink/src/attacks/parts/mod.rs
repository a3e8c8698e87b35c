//! Parts that several attacks share.

pub(super) mod descent;
pub(super) mod step;
