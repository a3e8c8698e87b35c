//! Attacks that search for the smallest norm, using gradients.

pub(super) mod ddn;
