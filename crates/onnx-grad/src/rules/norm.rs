//! Normalisations.

use super::Site;
use crate::{dim::Dim, tape::Expr};

/// Returns the cotangents of `gamma * (x - mean) * r + beta` by channel, where `r = (variance + epsilon)^(-1/2)`.
pub(super) fn batch<'t>(epsilon: f32, site: &Site<'_, 't>, input: usize) -> Expr<'t> {
    let Site { inputs, g, .. } = *site;
    let x = inputs[0];
    let mut by_channel = vec![Dim::Fixed(1); x.rank()];
    by_channel[1] = x.shape()[1];
    let [gamma, mean, variance] =
        [inputs[1], inputs[3], inputs[4]].map(|parameter| parameter.reshape(by_channel.clone()));
    let r = 1.0 / (variance + epsilon).sqrt();
    let whole = match input {
        0 => return g * (gamma * r),
        1 => g * (x - mean) * r,
        2 => g,
        3 => -g * (gamma * r),
        _ => g * (x - mean) * (gamma * r * r * r * -0.5),
    };
    whole.unbroadcast(&by_channel).reshape([by_channel[1]])
}

/// Returns the cotangents of `scale * n + bias` with `n = (x - mean) * r`, `r = (variance + epsilon)^(-1/2)` and
/// moments over the axes from `axis` on.
pub(super) fn layer<'t>(axis: usize, epsilon: f32, site: &Site<'_, 't>, input: usize) -> Expr<'t> {
    let Site { inputs, g, .. } = *site;
    let axes: Vec<usize> = (axis..inputs[0].rank()).collect();
    let mean = |value: Expr<'t>| value.mean(axes.clone());
    let normalised = || {
        let centred = inputs[0] - mean(inputs[0]);
        let r = 1.0 / (mean(centred * centred) + epsilon).sqrt();
        (centred * r, r)
    };
    match input {
        0 => {
            let (n, r) = normalised();
            let gs = g * inputs[1];
            r * (gs - mean(gs) - n * mean(gs * n))
        }
        1 => g * normalised().0,
        _ => g,
    }
}
