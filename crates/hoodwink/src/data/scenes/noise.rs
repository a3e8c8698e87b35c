//! Smooth random patterns from integer hashes, and small shaping functions.

/// Hashes a lattice point, uniform over `u32`.
fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// Returns white noise over lattice points, in \[0, 1).
pub(super) fn white(x: i32, y: i32, seed: u32) -> f32 {
    (hash(x, y, seed) >> 8) as f32 / 16_777_216.0
}

/// Returns value noise in \[0, 1\]: random values at the lattice points, blended smoothly between them.
pub(super) fn value(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (floor(x), floor(y));
    let (u, v) = (fade(x - left), fade(y - top));
    let (i, j) = (left as i32, top as i32);
    let upper = mix(white(i, j, seed), white(i + 1, j, seed), u);
    let lower = mix(white(i, j + 1, seed), white(i + 1, j + 1, seed), u);
    mix(upper, lower, v)
}

/// Returns value noise of two octaves, in \[0, 1\].
pub(super) fn cloud(x: f32, y: f32, seed: u32) -> f32 {
    0.65 * value(x, y, seed) + 0.35 * value(2.1 * x, 2.1 * y, seed ^ 0x51ed)
}

/// The cell of scattered points that (x, y) falls into (Worley 1996).
pub(super) struct Cell {
    /// Distance to the cell's own point.
    pub(super) near: f32,
    /// How much farther the second nearest point is: 0 on the border between two cells.
    pub(super) border: f32,
    /// A random number in \[0, 1) of the cell.
    pub(super) tone: f32,
}

/// Finds the cell of a point, with one random point per unit square.
pub(super) fn cell(x: f32, y: f32, seed: u32) -> Cell {
    let (i, j) = (floor(x) as i32, floor(y) as i32);
    let (mut first, mut second, mut tone) = (f32::MAX, f32::MAX, 0.0);
    for row in j - 1..=j + 1 {
        for column in i - 1..=i + 1 {
            let h = hash(column, row, seed);
            // Points stay away from the edges of their squares, so that no cell is tiny.
            let dx = column as f32 + 0.15 + 0.7 * ((h & 0xffff) as f32 / 65_536.0) - x;
            let dy = row as f32 + 0.15 + 0.7 * ((h >> 16) as f32 / 65_536.0) - y;
            let squared = dx * dx + dy * dy;
            if squared < first {
                second = first;
                first = squared;
                tone = (h & 0xff) as f32 / 256.0;
            } else {
                second = second.min(squared);
            }
        }
    }
    let near = first.sqrt();
    Cell {
        near,
        border: second.sqrt() - near,
        tone,
    }
}

/// Returns a wave of period 1 between -1 and 1, made of two parabolas: close to a sine.
pub(super) fn wave(x: f32) -> f32 {
    let t = fract(x);
    if t < 0.5 {
        16.0 * t * (0.5 - t)
    } else {
        -16.0 * (t - 0.5) * (1.0 - t)
    }
}

/// Returns a zigzag of period 1: 0 at whole numbers, 1 halfway between them.
pub(super) fn zigzag(x: f32) -> f32 {
    1.0 - (2.0 * fract(x) - 1.0).abs()
}

/// Returns the largest integer not above `x`, for |x| < 2^31. `f32::floor` returns the same number, but is a function
/// call if the processor is not known to have the instruction (x86-64 before SSE4.1).
pub(super) fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// Returns the fractional part, in \[0, 1).
pub(super) fn fract(x: f32) -> f32 {
    x - floor(x)
}

/// Returns 1 for odd integers, 0 for even ones.
pub(super) fn odd(whole: f32) -> f32 {
    whole - 2.0 * floor(0.5 * whole)
}

/// Interpolates from `a` (t = 0) to `b` (t = 1).
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Returns 0 below `low`, 1 above `high`, and a smooth transition between them.
pub(super) fn step(low: f32, high: f32, x: f32) -> f32 {
    fade(((x - low) / (high - low)).clamp(0.0, 1.0))
}

fn fade(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}
