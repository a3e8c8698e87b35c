//! Attacks that search for the largest loss within a radius, using gradients.

pub(super) mod apgd;
pub(super) mod bim;
pub(super) mod fgsm;
pub(super) mod pgd;
