//! Attacks that fit one perturbation to many pictures.

pub(super) mod universal;
