//! Patterns on objects.

use super::dice::Dice;
use super::noise::{cell, cloud, floor, fract, odd, step, value, wave, zigzag};

/// Names of the textures, in the order of the table.
pub(super) const NAMES: [&str; 10] = [
    "speckle", "checks", "scales", "wood", "plain", "marble", "dots", "rings", "zigzag", "stripes",
];

/// Returns the share of the second tone at a point of the object, 0 to 1. `blur` is the width of a pixel in the
/// object's units: edges of a pattern are this soft.
type Pattern = fn(x: f32, y: f32, blur: f32, seed: u32) -> f32;

const PATTERNS: [Pattern; 10] = [
    speckle, checks, scales, wood, plain, marble, dots, rings, chevrons, stripes,
];

/// A texture laid on an object.
pub(super) struct Texture {
    pattern: Pattern,
    stretch: f32,
    shift: [f32; 2],
    seed: u32,
}

impl Texture {
    /// Creates a texture of a kind, with its own grain, place and size.
    pub(super) fn new(kind: usize, dice: &mut Dice) -> Self {
        Self {
            pattern: PATTERNS[kind],
            stretch: dice.range(0.85, 1.2),
            shift: [dice.range(-0.3, 0.3), dice.range(-0.3, 0.3)],
            seed: dice.noise_seed(),
        }
    }

    /// Returns the share of the second tone at (x, y) of the object; `blur` as in [`Pattern`].
    pub(super) fn at(&self, x: f32, y: f32, blur: f32) -> f32 {
        let (x, y) = (x + self.shift[0], y + self.shift[1]);
        (self.pattern)(
            x * self.stretch,
            y * self.stretch,
            blur * self.stretch,
            self.seed,
        )
    }
}

fn plain(_: f32, _: f32, _: f32, _: u32) -> f32 {
    0.0
}

fn stripes(x: f32, y: f32, blur: f32, _: u32) -> f32 {
    let across = 2.4 * (x + 0.25 * y);
    step(0.5 - 2.4 * blur, 0.5 + 2.4 * blur, zigzag(across))
}

fn checks(x: f32, y: f32, blur: f32, _: u32) -> f32 {
    let soft = 1.8 * blur;
    let across = step(0.5 - soft, 0.5 + soft, zigzag(1.8 * x));
    let along = step(0.5 - soft, 0.5 + soft, zigzag(1.8 * y));
    across + along - 2.0 * across * along
}

fn dots(x: f32, y: f32, blur: f32, _: u32) -> f32 {
    let row = floor(2.3 * y);
    let u = fract(2.3 * x + 0.5 * odd(row)) - 0.5;
    let v = 2.3 * y - row - 0.5;
    let radius = (u * u + v * v).sqrt();
    1.0 - step(0.3 - 1.5 * blur, 0.3 + 1.5 * blur, radius)
}

fn scales(x: f32, y: f32, _: f32, _: u32) -> f32 {
    let row = floor(3.4 * y);
    let u = fract(2.6 * x + 0.5 * odd(row)) - 0.5;
    let v = 3.4 * y - row;
    let arc = (u * u * 1.6 + (v - 0.9) * (v - 0.9) * 0.7).sqrt();
    step(0.3, 0.75, arc)
}

fn wood(x: f32, y: f32, _: f32, seed: u32) -> f32 {
    let bend = 1.4 * value(1.1 * x, 2.0 * y, seed);
    let grain = 0.5 + 0.5 * wave(2.6 * y + bend + 0.15 * x);
    0.75 * grain + 0.25 * value(3.0 * x, 14.0 * y, seed)
}

fn marble(x: f32, y: f32, _: f32, seed: u32) -> f32 {
    let vein = (x + 0.6 * y + 2.4 * cloud(1.6 * x, 1.6 * y, seed)) * 1.3;
    let ridge = 1.0 - zigzag(vein);
    ridge * ridge
}

fn speckle(x: f32, y: f32, blur: f32, seed: u32) -> f32 {
    let spot = cell(4.2 * x, 4.2 * y, seed);
    let radius = 0.18 + 0.22 * spot.tone;
    1.0 - step(radius - 3.0 * blur, radius + 3.0 * blur, spot.near)
}

fn rings(x: f32, y: f32, blur: f32, _: u32) -> f32 {
    let radius = (x * x + y * y).sqrt();
    step(0.5 - 2.4 * blur, 0.5 + 2.4 * blur, zigzag(2.4 * radius))
}

fn chevrons(x: f32, y: f32, blur: f32, _: u32) -> f32 {
    let across = 2.2 * y + 0.8 * zigzag(1.6 * x);
    step(0.5 - 2.6 * blur, 0.5 + 2.6 * blur, zigzag(across))
}
