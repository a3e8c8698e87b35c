//! Attacks that see only the most likely class.

pub(super) mod hopskipjump;
pub(super) mod noise;
