//! The history of a training.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The measurements of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the training pictures as they were used: augmented and, in adversarial training, attacked.
    pub loss: f64,
    /// Share of these pictures that the weights of that moment classified correctly.
    pub train_accuracy: f64,
    /// Share of the held-out pictures that the weights at the end of the epoch classify correctly; `None` without any.
    pub held_out_accuracy: Option<f64>,
    /// The same share under the training's attack at its full radius; `None` in plain training.
    pub held_out_robust_accuracy: Option<f64>,
}

/// Writes one line per epoch, with a header. Values that were not measured are empty.
pub fn to_csv(history: &[Epoch]) -> Result<String> {
    let unwritable = |error: &dyn std::fmt::Display| {
        Error::invalid(format!("the history cannot be written as a table: {error}"))
    };
    let mut table = csv::Writer::from_writer(Vec::new());
    for epoch in history {
        table.serialize(epoch).map_err(|error| unwritable(&error))?;
    }
    let bytes = table.into_inner().map_err(|error| unwritable(&error))?;
    String::from_utf8(bytes).map_err(|error| unwritable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_epoch() {
        let epoch = Epoch {
            epoch: 1,
            loss: 0.5,
            train_accuracy: 0.75,
            held_out_accuracy: Some(1.0),
            held_out_robust_accuracy: None,
        };
        assert_eq!(
            to_csv(&[epoch]).unwrap(),
            "epoch,loss,train_accuracy,held_out_accuracy,held_out_robust_accuracy\n1,0.5,0.75,1.0,\n"
        );
    }
}
