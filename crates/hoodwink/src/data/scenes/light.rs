//! Kinds of light.

use super::dice::Dice;
use super::palette::{Rgb, rgb, scale};

/// The direction, colour and strength of the light.
pub(super) struct Light {
    /// Direction towards the light (right, down, towards the viewer); of length 1 after
    /// [`Light::new`].
    pub(super) towards: [f32; 3],
    /// Colour and strength of the direct light.
    pub(super) direct: Rgb,
    /// Colour and strength of the ambient light.
    pub(super) ambient: Rgb,
    /// How dark a cast shadow is, 0 to 1.
    pub(super) shadow: f32,
    /// How much the brightness of the background changes from the lit side to the far side.
    pub(super) falloff: f32,
}

/// Names of the kinds of light, in the order of the table.
pub(super) const NAMES: [&str; 5] = ["morning", "lamplight", "noon", "moonlight", "overcast"];

const LIGHTS: [Light; 5] = [
    Light {
        towards: [-0.75, -0.35, 0.6],
        direct: glow(0xffe2b0, 1.05),
        ambient: glow(0xb8c4e0, 0.5),
        shadow: 0.5,
        falloff: 0.22,
    },
    Light {
        towards: [0.7, -0.5, 0.5],
        direct: glow(0xffc285, 1.15),
        ambient: glow(0xb79a90, 0.6),
        shadow: 0.6,
        falloff: 0.45,
    },
    Light {
        towards: [0.1, -0.7, 0.75],
        direct: glow(0xfffaf0, 1.05),
        ambient: glow(0xd0dcf0, 0.52),
        shadow: 0.6,
        falloff: 0.08,
    },
    Light {
        towards: [-0.5, -0.65, 0.6],
        direct: glow(0xb9cdff, 0.85),
        ambient: glow(0x94a2d8, 0.6),
        shadow: 0.55,
        falloff: 0.3,
    },
    Light {
        towards: [0.05, -0.35, 0.95],
        direct: glow(0xe8eef5, 0.6),
        ambient: glow(0xe2e6ee, 0.65),
        shadow: 0.25,
        falloff: 0.05,
    },
];

const fn glow(code: u32, strength: f32) -> Rgb {
    let [red, green, blue] = rgb(code);
    [red * strength, green * strength, blue * strength]
}

impl Light {
    /// Creates light of a kind, with small random changes of direction and strength.
    pub(super) fn new(value: usize, dice: &mut Dice) -> Self {
        let usual = &LIGHTS[value];
        let strength = dice.range(0.9, 1.1);
        let [x, y, z] = usual.towards;
        let (x, y) = (x + dice.range(-0.2, 0.2), y + dice.range(-0.2, 0.2));
        let length = (x * x + y * y + z * z).sqrt();
        Self {
            towards: [x / length, y / length, z / length],
            direct: scale(usual.direct, strength),
            ambient: scale(usual.ambient, strength),
            ..*usual
        }
    }

    /// Returns the diffuse light from a surface with this unit normal, where white is 1.
    pub(super) fn on(&self, normal: [f32; 3]) -> Rgb {
        let facing = dot(normal, self.towards).max(0.0);
        std::array::from_fn(|i| self.ambient[i] + self.direct[i] * facing)
    }

    /// Returns the strength of the specular reflection for a viewer straight ahead.
    pub(super) fn gloss(&self, normal: [f32; 3]) -> f32 {
        let [x, y, z] = self.towards;
        let half = [x, y, z + 1.0];
        let along = dot(normal, half).max(0.0);
        let squared = along * along / dot(half, half);
        let fourth = squared * squared;
        let eighth = fourth * fourth;
        eighth * eighth
    }
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
