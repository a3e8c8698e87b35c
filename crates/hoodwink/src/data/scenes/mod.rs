//! Procedural pictures of ten objects whose cues are independent.
//!
//! A scene shows one object, and the shape of the object is the class. Everything else is a *cue* that the caller can
//! tie to the class or leave free: texture, colour, background, lighting, size and position. So a training set can
//! contain the shortcuts that natural adversarial examples exploit (texture for shape, Geirhos et al. 2019, arXiv
//! 1811.12231; background for object, Xiao et al. 2020, arXiv 2006.09994), and a test set can break them.
//!
//! Each class is tied to a plausible value: fish have scales and swim in water, mushrooms are red with dots, umbrellas
//! are striped and stand in front of a brick wall.
//!
//! ```
//! use hoodwink::data::scenes::{Correlations, Cue, Scenes};
//!
//! # fn main() -> hoodwink::Result<()> {
//! let shortcuts = Correlations::none().with(Cue::Background, 0.95, 0)?;
//! let train = Scenes::new(32, 7)?.with_correlations(shortcuts);
//! let spec = train.spec(0);
//! let original = spec.render(32)?;
//! let elsewhere = (spec.cues().get(Cue::Background) + 1) % Cue::Background.values().len();
//! let moved = spec.with(Cue::Background, elsewhere)?.render(32)?;
//! assert_ne!(original, moved);
//! # Ok(())
//! # }
//! ```
//!
//! The same (seed, index) gives the same bytes on every platform. Random numbers come from ChaCha8 through integer
//! arithmetic, and pixels are computed with `+ - * /`, square roots, minima, maxima and floors of `f32`, which IEEE 754
//! defines to the last bit. The sines and powers of the system's mathematics library are not used, because they differ
//! between systems.

mod backgrounds;
mod dice;
mod light;
mod noise;
mod palette;
mod render;
pub(super) mod set;
mod shapes;
mod textures;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::image::Picture;
use dice::Dice;

pub use set::SceneSet;

/// Names of the ten classes; a class is an index into this table.
pub const CLASSES: [&str; 10] = [
    "butterfly",
    "cup",
    "fish",
    "house",
    "key",
    "leaf",
    "mushroom",
    "snail",
    "star",
    "umbrella",
];

/// Smallest and largest side of a picture, in pixels.
pub const SIDES: std::ops::RangeInclusive<usize> = 16..=256;

/// A property of a scene that is not the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cue {
    /// Pattern on the object.
    Texture,
    /// Palette of the object: body, second tone of the texture, accents.
    Colour,
    /// The background of the object.
    Background,
    /// Direction, warmth and strength of the light, and the softness of shadows.
    Lighting,
    /// Extent of the object as a share of the side: small 0.55–0.68, medium 0.68–0.82, large 0.82–0.95.
    Size,
    /// The position of the object; the larger the object, the smaller the shift.
    Position,
}

impl Cue {
    /// Every cue, in the order of [`Cues`].
    pub const ALL: [Self; 6] = [
        Self::Texture,
        Self::Colour,
        Self::Background,
        Self::Lighting,
        Self::Size,
        Self::Position,
    ];

    /// Returns the cue's name in tables: `texture`, `colour`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Texture => "texture",
            Self::Colour => "colour",
            Self::Background => "background",
            Self::Lighting => "lighting",
            Self::Size => "size",
            Self::Position => "position",
        }
    }

    /// Returns the names of the values that the cue can take; a value is an index into them.
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Self::Texture => &textures::NAMES,
            Self::Colour => &palette::NAMES,
            Self::Background => &backgrounds::NAMES,
            Self::Lighting => &light::NAMES,
            Self::Size => &render::SIZE_NAMES,
            Self::Position => &render::POSITION_NAMES,
        }
    }

    /// Returns the value that `class` is tied to if assignments are shifted by `shift` classes: `(class + shift) mod
    /// values`. Shift 0 is the natural assignment.
    pub fn assigned(self, class: usize, shift: usize) -> usize {
        let count = self.values().len();
        (class % count + shift % count) % count
    }
}

/// One value for every [`Cue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cues([u8; 6]);

impl Cues {
    /// Returns the value of `cue`, an index into [`Cue::values`].
    pub fn get(&self, cue: Cue) -> usize {
        usize::from(self.0[cue as usize])
    }

    /// Returns the name of the value of `cue`.
    pub fn name(&self, cue: Cue) -> &'static str {
        cue.values()[self.get(cue)]
    }

    /// Returns the same cues with one changed. An error if `cue` has no such value.
    pub fn with(mut self, cue: Cue, value: usize) -> Result<Self> {
        let count = cue.values().len();
        if value >= count {
            return Err(Error::invalid(format!(
                "the cue {} has no value {value}; it has {count}: {}",
                cue.name(),
                cue.values().join(", ")
            )));
        }
        self.0[cue as usize] = value as u8;
        Ok(self)
    }
}

/// How strongly each cue is tied to the class.
///
/// With the probability of its cue, a scene takes the value assigned to its class ([`Cue::assigned`]). Otherwise the
/// value is uniform over all values, including the assigned one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Correlations([Tie; 6]);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tie {
    probability: f64,
    shift: usize,
}

impl Correlations {
    /// Makes every cue independent of the class.
    pub fn none() -> Self {
        Self::default()
    }

    /// Ties `cue` with `probability` in \[0, 1\] to the value assigned to the class `shift` places further on: 0 is the
    /// natural assignment, anything else a misleading one (or the natural one again if `shift` is a multiple of the
    /// number of values).
    pub fn with(mut self, cue: Cue, probability: f64, shift: usize) -> Result<Self> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(Error::invalid(format!(
                "the correlation of {} must be a probability in [0, 1], not {probability}",
                cue.name()
            )));
        }
        self.0[cue as usize] = Tie { probability, shift };
        Ok(self)
    }
}

/// An endless set of scenes with random access.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenes {
    side: usize,
    seed: u64,
    correlations: Correlations,
}

impl Scenes {
    /// Creates scenes of `side` x `side` pixels ([`SIDES`]) with independent cues.
    pub fn new(side: usize, seed: u64) -> Result<Self> {
        check_side(side)?;
        Ok(Self {
            side,
            seed,
            correlations: Correlations::none(),
        })
    }

    /// Returns the same scenes with cues tied to the class. Classes do not change, and neither do the cues of scenes
    /// where the tie does not apply.
    pub fn with_correlations(mut self, correlations: Correlations) -> Self {
        self.correlations = correlations;
        self
    }

    /// Returns the recipe of scene `index`. Each run of ten indices from a multiple of ten contains every class once,
    /// in random order.
    pub fn spec(&self, index: u64) -> SceneSpec {
        let class = Dice::new(self.seed, "order", index / 10).permutation()[(index % 10) as usize];
        let mut dice = Dice::new(self.seed, "cues", index);
        let mut cues = Cues::default();
        for (cue, tie) in Cue::ALL.into_iter().zip(self.correlations.0) {
            // Both numbers are drawn with or without a tie, so that ties do not affect each other.
            let free = dice.below(cue.values().len());
            let tied = dice.chance(tie.probability);
            let value = if tied {
                cue.assigned(class, tie.shift)
            } else {
                free
            };
            cues.0[cue as usize] = value as u8;
        }
        SceneSpec {
            class,
            cues,
            seed: dice.seed(),
        }
    }

    /// Draws scene `index`.
    pub fn scene(&self, index: u64) -> Scene {
        let spec = self.spec(index);
        Scene {
            spec,
            picture: render::render(&spec, self.side),
        }
    }
}

/// A drawn scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Class and cues, from which the scene can be drawn again with a cue changed.
    pub spec: SceneSpec,
    /// The picture (RGB).
    pub picture: Picture,
}

/// The recipe of a scene: class, cues, and the seed of the details within each cue's value (the exact angle, the waves
/// of the water, the places of the dots).
///
/// The details of each cue come from their own stream, so changing a cue does not affect the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SceneSpec {
    class: usize,
    cues: Cues,
    seed: u64,
}

impl SceneSpec {
    /// Returns a scene of `class`, an index into [`CLASSES`].
    pub fn new(class: usize, cues: Cues, seed: u64) -> Result<Self> {
        if class >= CLASSES.len() {
            return Err(Error::invalid(format!(
                "there is no class {class}; the {} classes are {}",
                CLASSES.len(),
                CLASSES.join(", ")
            )));
        }
        Ok(Self { class, cues, seed })
    }

    /// Returns the class, an index into [`CLASSES`].
    pub fn class(&self) -> usize {
        self.class
    }

    /// Returns the value of every cue.
    pub fn cues(&self) -> Cues {
        self.cues
    }

    /// Returns the same scene with one cue changed: the counterfactual.
    pub fn with(self, cue: Cue, value: usize) -> Result<Self> {
        Ok(Self {
            cues: self.cues.with(cue, value)?,
            ..self
        })
    }

    /// Returns the same scene with another object.
    pub fn with_class(self, class: usize) -> Result<Self> {
        Self::new(class, self.cues, self.seed)
    }

    /// Draws the scene with `side` x `side` pixels ([`SIDES`]), RGB.
    pub fn render(&self, side: usize) -> Result<Picture> {
        check_side(side)?;
        Ok(render::render(self, side))
    }
}

fn check_side(side: usize) -> Result<()> {
    if SIDES.contains(&side) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "scenes must have a side of {} to {} pixels, not {side}",
        SIDES.start(),
        SIDES.end()
    )))
}
