//! Loss functions of the attacker, all to be maximised.

/// A loss over logits, one value per picture; it grows as the attack succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// `-ln p_y`.
    CrossEntropy,
    /// `ln p_t`: towards the target.
    CrossEntropyTargeted,
    /// `ln p_t - ln p_y`: away from the truth and towards the target.
    TwoTerm,
    /// `max_{j != y} z_j - z_y` (Carlini and Wagner, arXiv 1608.04644).
    Margin,
    /// `z_t - max_{j != t} z_j`.
    MarginTargeted,
    /// Difference of logits ratio (Croce and Hein, arXiv 2003.01690, section 4.1); needs three classes.
    Dlr,
    /// Targeted difference of logits ratio; needs four classes.
    DlrTargeted,
}
