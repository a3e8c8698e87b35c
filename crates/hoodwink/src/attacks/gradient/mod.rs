//! Attacks that look for the largest loss within a radius, by gradients.

pub(super) mod apgd;
pub(super) mod bim;
pub(super) mod fgsm;
pub(super) mod pgd;
