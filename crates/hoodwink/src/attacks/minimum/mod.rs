//! Attacks that look for the smallest norm, by gradients.

pub(super) mod ddn;
