//! Compares slopes along random directions with finite differences.

use onnx_grad::Tensor;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::Outcome;

/// Runs a program on inputs. Returns the sum of its values, and the other outputs.
pub(crate) type Ask<'a> = dyn FnMut(&[Tensor]) -> Outcome<(f64, Vec<Tensor>)> + 'a;

/// Steps of the central differences, relative to the input's root mean square or 1. Kinks and curvature disturb a long
/// step, rounding a short one. One must agree.
const STEPS: [f32; 8] = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5];

/// Bound of the slope's error, relative to the root of the sum of its squared parts. The slope itself is at least
/// [`VISIBLE`] of that, so that a gradient error of a twentieth is noticed.
const SLOPE: f64 = 5e-3;
const VISIBLE: f64 = 0.2;

/// Compares the slope along a random direction of one input with central differences.
pub(crate) fn compare(
    here: &[Tensor],
    at: usize,
    slope: &[f64],
    rng: &mut ChaCha8Rng,
    ask: &mut Ask<'_>,
) -> Outcome<()> {
    let values = here[at].as_f32().ok_or("an input is not of floats")?;
    // Returns the slope along a direction, and the root of the sum of its squared parts.
    let along = |direction: &mut dyn Iterator<Item = f64>| -> (f64, f64) {
        let parts = slope
            .iter()
            .zip(direction)
            .map(|(slope, part)| slope * part);
        let (sum, squares) = parts.fold((0.0, 0.0), |(sum, squares), part| {
            (sum + part, squares + part * part)
        });
        (sum, squares.sqrt())
    };
    let mut direction: Vec<f32> = Vec::new();
    for _ in 0..100 {
        direction = values.iter().map(|_| normal(rng)).collect();
        let (sum, size) = along(&mut direction.iter().map(|&part| f64::from(part)));
        if sum.abs() >= VISIBLE * size {
            break;
        }
    }
    let mut nearest = (f64::INFINITY, String::new());
    for step in STEPS {
        let step = step * scale(values);
        let [there, back] = [step, -step].map(|step| -> Vec<f32> {
            let moved = values.iter().zip(&direction);
            moved.map(|(value, part)| value + step * part).collect()
        });
        let mut value = |values: &[f32]| -> Outcome<f64> {
            let mut inputs = here.to_vec();
            inputs[at] = Tensor::f32(here[at].shape(), values)?;
            Ok(ask(&inputs)?.0)
        };
        let (ahead, behind) = (value(&there)?, value(&back)?);
        let found = ahead - behind;
        let rounding = f64::from(f32::EPSILON) * (ahead.abs() + behind.abs());
        // Along the actual step, since single precision rounds the intended one.
        let mut way = (there.iter().zip(&back)).map(|(&a, &b)| f64::from(a) - f64::from(b));
        let (expected, size) = along(&mut way);
        let off = (found - expected).abs();
        let error = off / size.max(found.abs()).max(f64::MIN_POSITIVE);
        if error < nearest.0 {
            let way = 2.0 * f64::from(step);
            let lost = if off < rounding {
                ", lost in rounding"
            } else {
                ""
            };
            let (expected, found) = (expected / way, found / way);
            let reason =
                format!("slope {expected:.2e} along input {at}, differences {found:.2e}{lost}");
            nearest = (error, reason);
        }
    }
    match nearest {
        (error, _) if error <= SLOPE => Ok(()),
        (error, _) if error.is_infinite() => Err("differences are no numbers".into()),
        (_, reason) => Err(reason.into()),
    }
}

/// Returns the root mean square, or 1 if it is larger or zero.
pub(crate) fn scale(values: &[f32]) -> f32 {
    let finite = values.iter().filter(|value| value.is_finite());
    let squares: f32 = finite.map(|value| value * value).sum();
    match (squares / values.len() as f32).sqrt() {
        size if size > 0.0 && size < 1.0 => size,
        _ => 1.0,
    }
}

/// Draws a standard normal number, by Box and Muller.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}
