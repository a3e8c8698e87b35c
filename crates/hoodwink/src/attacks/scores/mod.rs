//! Attacks that see logits but no gradients.

pub(super) mod square;
