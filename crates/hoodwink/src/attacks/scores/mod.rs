//! Attacks that see the logits, and no gradients.

pub(super) mod square;
