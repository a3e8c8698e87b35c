//! Backgrounds.

use super::dice::Dice;
use super::noise::{cell, cloud, floor, odd, step, value, wave, white, zigzag};
use super::palette::{Rgb, blend, rgb, scale};

/// Names of the backgrounds, in the order of the table.
pub(super) const NAMES: [&str; 10] = [
    "sky", "planks", "water", "snow", "tiles", "grass", "soil", "sand", "night", "brick",
];

/// Colour at a point of the frame (-1 to 1, right and down).
type Scenery = fn(x: f32, y: f32, seed: u32) -> Rgb;

const SCENERIES: [Scenery; 10] = [
    sky, planks, water, snow, tiles, grass, soil, sand, night, brick,
];

/// Creates a background of a kind.
pub(super) struct Background {
    scenery: Scenery,
    zoom: f32,
    shift: [f32; 2],
    tint: Rgb,
    seed: u32,
}

impl Background {
    /// A background with its own place, tint and grain.
    pub(super) fn new(kind: usize, dice: &mut Dice) -> Self {
        let brightness = dice.range(0.85, 1.12);
        Self {
            scenery: SCENERIES[kind],
            zoom: dice.range(0.85, 1.2),
            shift: [dice.range(-0.3, 0.3), dice.range(-0.3, 0.3)],
            tint: std::array::from_fn(|_| brightness * dice.range(0.93, 1.07)),
            seed: dice.noise_seed(),
        }
    }

    /// Returns the colour at (x, y) of the frame under white light.
    pub(super) fn at(&self, x: f32, y: f32) -> Rgb {
        let x = x * self.zoom + self.shift[0];
        let y = y * self.zoom + self.shift[1];
        let colour = (self.scenery)(x, y, self.seed);
        std::array::from_fn(|i| colour[i] * self.tint[i])
    }
}

fn sky(x: f32, y: f32, seed: u32) -> Rgb {
    const ZENITH: Rgb = rgb(0x5fa8e8);
    const HORIZON: Rgb = rgb(0xcdeaf7);
    let puff = step(0.5, 0.72, cloud(1.3 * x, 2.4 * y, seed));
    let clear = blend(ZENITH, HORIZON, step(-1.2, 1.2, y));
    blend(clear, rgb(0xffffff), 0.85 * puff)
}

fn planks(x: f32, y: f32, seed: u32) -> Rgb {
    let row = floor(1.9 * y);
    let within = 1.9 * y - row;
    let board = white(row as i32, 3, seed);
    let grain = value(1.5 * x + 9.0 * board, 11.0 * y, seed);
    let wood = blend(rgb(0x9c7048), rgb(0xc79a66), 0.55 * grain + 0.45 * board);
    let gap = step(0.0, 0.07, within.min(1.0 - within));
    scale(wood, 0.35 + 0.65 * gap)
}

fn water(x: f32, y: f32, seed: u32) -> Rgb {
    let swell = 2.2 * y + 0.22 * wave(0.9 * x + 2.0 * value(x, y, seed));
    let ripple = zigzag(swell + 0.5 * value(1.7 * x, 1.2 * y, seed ^ 7));
    let deep = blend(rgb(0x1f6fa8), rgb(0x3fa3c8), ripple);
    blend(deep, rgb(0xcdf3f7), 0.8 * step(0.86, 1.0, ripple))
}

fn snow(x: f32, y: f32, seed: u32) -> Rgb {
    let drift = cloud(1.2 * x, 1.8 * y, seed);
    let ground = blend(rgb(0xa9c0dc), rgb(0xe2ebf4), step(0.2, 0.75, drift));
    let flake = cell(3.2 * x, 3.2 * y, seed);
    blend(ground, rgb(0xffffff), 1.0 - step(0.06, 0.14, flake.near))
}

fn tiles(x: f32, y: f32, seed: u32) -> Rgb {
    let (u, v) = (2.1 * (x + y), 2.1 * (x - y));
    let (i, j) = (floor(u), floor(v));
    let tile = blend(rgb(0xd9dfe0), rgb(0x8fb0b5), odd(i + j));
    let (a, b) = (u - i, v - j);
    let joint = step(0.02, 0.1, a.min(1.0 - a).min(b).min(1.0 - b));
    let shade = 0.9 + 0.2 * white(i as i32, j as i32, seed);
    scale(tile, shade * (0.6 + 0.4 * joint))
}

fn grass(x: f32, y: f32, seed: u32) -> Rgb {
    let patch = value(1.5 * x, 1.5 * y, seed);
    let blades = value(8.0 * x + 2.0 * patch * y, 3.2 * y, seed ^ 1);
    let sunny = blend(rgb(0x3a7d33), rgb(0x74b04a), patch);
    let green = blend(sunny, rgb(0xa9d665), step(0.45, 0.85, blades));
    let flower = cell(1.7 * x, 1.7 * y, seed ^ 3);
    let blossom = (1.0 - step(0.06, 0.12, flower.near)) * step(0.45, 0.5, flower.tone);
    blend(green, rgb(0xfff3c9), blossom)
}

fn soil(x: f32, y: f32, seed: u32) -> Rgb {
    let pebble = cell(2.6 * x, 2.6 * y, seed);
    let clod = step(0.03, 0.28, pebble.border);
    let earth = blend(
        rgb(0x3d2a22),
        rgb(0x7d5a44),
        clod * (0.35 + 0.65 * pebble.tone),
    );
    scale(earth, 0.8 + 0.4 * value(7.0 * x, 7.0 * y, seed))
}

fn sand(x: f32, y: f32, seed: u32) -> Rgb {
    let dune = 1.6 * y + 0.5 * x + 0.9 * value(1.1 * x, 1.4 * y, seed);
    let ridge = 0.5 + 0.5 * wave(1.7 * dune);
    let grain = value(13.0 * x, 13.0 * y, seed);
    blend(rgb(0xcfa66b), rgb(0xf5dfae), 0.7 * ridge + 0.3 * grain)
}

fn night(x: f32, y: f32, seed: u32) -> Rgb {
    let haze = step(0.35, 0.8, cloud(1.1 * x + 0.6 * y, 1.5 * y - 0.5 * x, seed));
    let high = blend(rgb(0x0f1638), rgb(0x34316e), step(-1.2, 1.2, y));
    let sky = blend(high, rgb(0x5a4a94), 0.6 * haze);
    let star = cell(2.8 * x, 2.8 * y, seed);
    let glow = 1.0 - step(0.02, 0.05 + 0.1 * star.tone, star.near);
    blend(sky, rgb(0xfff4cf), glow)
}

fn brick(x: f32, y: f32, seed: u32) -> Rgb {
    let row = floor(3.0 * y);
    let along = 1.5 * x + 0.5 * odd(row);
    let column = floor(along);
    let (u, v) = (along - column, 3.0 * y - row);
    let joint = step(0.04, 0.13, v.min(1.0 - v).min(2.0 * u.min(1.0 - u)));
    let fired = white(column as i32, row as i32, seed);
    let clay = blend(rgb(0x8f4a3a), rgb(0xc47a5c), fired);
    let rough = scale(clay, 0.85 + 0.3 * value(6.0 * x, 6.0 * y, seed));
    blend(rgb(0xcfc3b4), rough, joint)
}
