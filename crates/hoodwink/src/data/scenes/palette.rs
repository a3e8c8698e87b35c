//! Colours in linear light, and the palettes of the objects.

use super::noise::mix;

/// Red, green and blue in linear light, 0 to 1.
pub(super) type Rgb = [f32; 3];

/// Returns the linear colour of an `0xRRGGBB` code. The display curve is approximated by a square, which is close to
/// sRGB, because a square root is the same on every platform and a power of 2.4 is not.
pub(super) const fn rgb(code: u32) -> Rgb {
    let red = ((code >> 16) & 0xff) as f32 / 255.0;
    let green = ((code >> 8) & 0xff) as f32 / 255.0;
    let blue = (code & 0xff) as f32 / 255.0;
    [red * red, green * green, blue * blue]
}

/// Interpolates from `a` (t = 0) to `b` (t = 1).
pub(super) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| mix(a[i], b[i], t))
}

/// Returns a colour made brighter or darker.
pub(super) fn scale(colour: Rgb, by: f32) -> Rgb {
    colour.map(|value| value * by)
}

/// Outlines and dark details of every object.
pub(super) const INK: Rgb = rgb(0x2a2230);
/// Bright details of every object: eyes, windows.
pub(super) const CREAM: Rgb = rgb(0xfff6e0);

/// The colours of one object.
pub(super) struct Palette {
    /// The main colour of the object.
    pub(super) body: Rgb,
    /// The second tone of the texture.
    pub(super) tone: Rgb,
    /// Parts without texture: a stem, a roof, fins.
    pub(super) accent: Rgb,
}

/// Names of the palettes, in the order of [`PALETTES`].
pub(super) const NAMES: [&str; 10] = [
    "violet", "blue", "orange", "cream", "gold", "green", "red", "brown", "pink", "teal",
];

/// The palettes. Every body is bright enough to stand out against the night, and coloured enough to stand out against
/// snow.
pub(super) const PALETTES: [Palette; 10] = [
    palette(0x9a5fd6, 0xd9b8f7, 0xffc94d),
    palette(0x3f7de0, 0xb9dcff, 0xf7f1e3),
    palette(0xff8a2a, 0xffd9a0, 0xe8473b),
    palette(0xf6e7c4, 0xc9a878, 0xc8503c),
    palette(0xf7c531, 0xb9801c, 0xfff0b3),
    palette(0x4fae4a, 0xbfe58f, 0xe9f0b8),
    palette(0xe23b3b, 0xffe9df, 0xf4dcb8),
    palette(0xa86a3d, 0xe3b98a, 0xd9cf9a),
    palette(0xf77fb0, 0xffdcec, 0x8e5bd0),
    palette(0x1fb5ad, 0xc6f2e6, 0xff9d6b),
];

const fn palette(body: u32, tone: u32, accent: u32) -> Palette {
    Palette {
        body: rgb(body),
        tone: rgb(tone),
        accent: rgb(accent),
    }
}
