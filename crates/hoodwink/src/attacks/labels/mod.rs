//! Attacks that see no more than the most likely class.

pub(super) mod hopskipjump;
pub(super) mod noise;
