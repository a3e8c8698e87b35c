//! Draws a recipe.
//!
//! The parts of the object look like pillows of clay. The distance to the edge gives coverage (anti-aliasing), the
//! surface normal (rounded towards the edge), the dark outline and the cast shadow.

use super::backgrounds::Background;
use super::dice::Dice;
use super::light::Light;
use super::noise::{floor, step};
use super::palette::{CREAM, INK, PALETTES, Palette, Rgb, blend, scale};
use super::shapes::{Paint, Point, SHAPES};
use super::textures::Texture;
use super::{Cue, SceneSpec};
use crate::image::Picture;

/// Names of the sizes, in the order of the table.
pub(super) const SIZE_NAMES: [&str; 3] = ["small", "medium", "large"];

/// Smallest and largest extent of the object as a share of the side.
const SIZES: [(f32, f32); 3] = [(0.55, 0.68), (0.68, 0.82), (0.82, 0.95)];

/// Names of the positions, in the order of the table.
pub(super) const POSITION_NAMES: [&str; 5] = ["centre", "left", "right", "top", "bottom"];

/// The position of the object's centre within the free room, right and down.
const POSITIONS: [(f32, f32); 5] = [(0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)];

/// Width of the dark outline. The side of the frame is 2, as for every length here.
const OUTLINE: f32 = 0.055;
/// Depth over which a part rounds towards its edge, for an object that fills the frame.
const BEVEL: f32 = 0.3;
/// Reach of the shadow that a part casts on the parts below it.
const CONTACT: f32 = 0.07;

/// Draws a scene. `side` is within [`SIDES`](super::SIDES).
pub(super) fn render(spec: &SceneSpec, side: usize) -> Picture {
    let value = |cue| spec.cues.get(cue);
    let dice = |cue: Cue| Dice::new(spec.seed, cue.name(), 0);
    let light = Light::new(value(Cue::Lighting), &mut dice(Cue::Lighting));
    let background = Background::new(value(Cue::Background), &mut dice(Cue::Background));

    let mut canvas = Canvas::new(spec, side, &light);
    SHAPES[spec.class](&mut canvas);
    canvas.finish(&background)
}

/// The position and rotation of the object.
struct Pose {
    centre: (f32, f32),
    extent: f32,
    cos: f32,
    sin: f32,
    mirror: f32,
}

impl Pose {
    fn new(spec: &SceneSpec) -> Self {
        let (low, high) = SIZES[spec.cues.get(Cue::Size)];
        let extent = Dice::new(spec.seed, "size", 0).range(low, high);

        let mut dice = Dice::new(spec.seed, "position", 0);
        let anchor = POSITIONS[spec.cues.get(Cue::Position)];
        let room = 1.03 - extent;
        let mut place = |anchor: f32| room * (0.7 * anchor + dice.range(-0.25, 0.25));
        let centre = (place(anchor.0), place(anchor.1));

        let mut dice = Dice::new(spec.seed, "pose", 0);
        // The tangent of half the angle, within 20 degrees, gives sine and cosine as fractions.
        let t = dice.range(-0.176, 0.176);
        Self {
            centre,
            extent,
            cos: (1.0 - t * t) / (1.0 + t * t),
            sin: 2.0 * t / (1.0 + t * t),
            mirror: if dice.chance(0.5) { -1.0 } else { 1.0 },
        }
    }

    /// Maps a point of the frame (right and down) to the object's plane (right and up).
    fn inverse(&self, x: f32, y: f32) -> Point {
        let (dx, dy) = (
            (x - self.centre.0) / self.extent,
            (self.centre.1 - y) / self.extent,
        );
        Point {
            x: self.mirror * (dx * self.cos + dy * self.sin),
            y: dy * self.cos - dx * self.sin,
        }
    }
}

/// The part of the object drawn so far.
pub(super) struct Canvas<'a> {
    side: usize,
    pose: Pose,
    light: &'a Light,
    palette: &'static Palette,
    texture: Texture,
    /// Distance of each pixel to the part being drawn.
    part: Vec<f32>,
    /// Distance of each pixel to the object.
    object: Vec<f32>,
    /// Colour of the object and how much of the pixel it covers.
    layer: Vec<(Rgb, f32)>,
}

impl<'a> Canvas<'a> {
    fn new(spec: &SceneSpec, side: usize, light: &'a Light) -> Self {
        let kind = spec.cues.get(Cue::Texture);
        Self {
            side,
            pose: Pose::new(spec),
            light,
            palette: &PALETTES[spec.cues.get(Cue::Colour)],
            texture: Texture::new(kind, &mut Dice::new(spec.seed, "texture", 0)),
            part: vec![0.0; side * side],
            object: vec![f32::MAX; side * side],
            layer: vec![([0.0; 3], 0.0); side * side],
        }
    }

    /// Width of a pixel.
    fn pixel(&self) -> f32 {
        2.0 / self.side as f32
    }

    /// Adds a part on top; `distance` is signed and in the object's plane.
    pub(super) fn part(&mut self, paint: Paint, distance: impl Fn(Point) -> f32) {
        let (side, pose) = (self.side, &self.pose);
        let rows = self.part.chunks_exact_mut(side);
        for (row, part) in rows.enumerate() {
            let y = coordinate(row, side);
            for (column, d) in part.iter_mut().enumerate() {
                *d = pose.extent * distance(pose.inverse(coordinate(column, side), y));
            }
        }
        for (nearest, &d) in self.object.iter_mut().zip(&self.part) {
            *nearest = nearest.min(d);
        }
        for at in 0..self.part.len() {
            if self.part[at] < CONTACT {
                self.paint(paint, at);
            }
        }
    }

    /// Paints one pixel of the part, or shades it if the part is only near.
    fn paint(&mut self, paint: Paint, at: usize) {
        let d = self.part[at];
        let coverage = (0.5 - d / self.pixel()).clamp(0.0, 1.0);
        let (below, covered) = self.layer[at];
        let below = scale(below, 1.0 - 0.5 * (1.0 - d.max(0.0) / CONTACT));
        if coverage == 0.0 {
            self.layer[at] = (below, covered);
            return;
        }
        let (normal, albedo) = (self.normal(at), self.albedo(paint, at));
        let lit = self.light.on(normal);
        let gloss = 0.35 * self.light.gloss(normal);
        let above = std::array::from_fn(|i| albedo[i] * lit[i] + gloss * self.light.direct[i]);
        // If nothing is below, use the part's own colour, because the layer is not premultiplied.
        let mixed = if covered == 0.0 {
            above
        } else {
            blend(below, above, coverage)
        };
        self.layer[at] = (mixed, covered + (1.0 - covered) * coverage);
    }

    fn albedo(&self, paint: Paint, at: usize) -> Rgb {
        match paint {
            Paint::Accent => self.palette.accent,
            Paint::Ink => INK,
            Paint::Cream => CREAM,
            Paint::Body => {
                let x = coordinate(at % self.side, self.side);
                let y = coordinate(at / self.side, self.side);
                let p = self.pose.inverse(x, y);
                let blur = self.pixel() / self.pose.extent;
                blend(
                    self.palette.body,
                    self.palette.tone,
                    self.texture.at(p.x, p.y, blur),
                )
            }
        }
    }

    /// Returns the unit normal of the part being drawn: flat inside, leaning outwards near the edge.
    fn normal(&self, at: usize) -> [f32; 3] {
        let (x, y) = (at % self.side, at / self.side);
        let last = self.side - 1;
        let row = y * self.side;
        let (left, right) = (x.saturating_sub(1), (x + 1).min(last));
        let (top, bottom) = (y.saturating_sub(1), (y + 1).min(last));
        let dx = self.part[row + right] - self.part[row + left];
        let dy = self.part[bottom * self.side + x] - self.part[top * self.side + x];
        let length = (dx * dx + dy * dy).sqrt().max(1e-6);

        let depth = -self.part[at] / (BEVEL * self.pose.extent);
        let lean = 0.85 * (1.0 - depth.clamp(0.0, 1.0));
        // Soften ridges, where the slope of the distance changes sign.
        let lean = lean * (length / (2.0 * self.pixel())).min(1.0);
        [
            lean * dx / length,
            lean * dy / length,
            (1.0 - lean * lean).sqrt(),
        ]
    }

    /// Composes the object with its outline and shadow over the background.
    fn finish(self, background: &Background) -> Picture {
        let [lx, ly, lz] = self.light.towards;
        let flat = self.light.on([0.0, 0.0, 1.0]);
        // The shadow is opposite to the light, farther away for a lower light, in whole pixels.
        let throw = 0.28 * self.pose.extent / (lz + 0.4) / self.pixel();
        let shift = |towards: f32| floor(towards * throw + 0.5) as isize;
        let (sx, sy) = (shift(lx), shift(ly));
        let last = self.side as isize - 1;

        let mut bytes = Vec::with_capacity(3 * self.side * self.side);
        for row in 0..self.side {
            let y = coordinate(row, self.side);
            for column in 0..self.side {
                let x = coordinate(column, self.side);
                let at = row * self.side + column;
                let (colour, coverage) = self.layer[at];
                let line = (0.5 - (self.object[at] - OUTLINE) / self.pixel()).clamp(0.0, 1.0);
                let mut seen = [0.0; 3];
                if line < 1.0 {
                    let caster = (row as isize + sy).clamp(0, last) as usize * self.side
                        + (column as isize + sx).clamp(0, last) as usize;
                    let shade = 1.0 - step(-0.06, 0.16, self.object[caster]);
                    let slope = 1.0 + self.light.falloff * (lx * x + ly * y);
                    let strength = slope * (1.0 - self.light.shadow * shade);
                    let ground = background.at(x, y);
                    seen = std::array::from_fn(|i| ground[i] * flat[i] * strength);
                }
                let outlined = blend(seen, scale(INK, 0.6), line);
                let colour = blend(outlined, colour, coverage);
                bytes.extend(colour.map(|c| (c.clamp(0.0, 1.0).sqrt() * 255.0 + 0.5) as u8));
            }
        }
        Picture::new(3, self.side, self.side, bytes).expect("three bytes for every pixel")
    }
}

/// Returns the coordinate of the centre of a row or column.
fn coordinate(at: usize, side: usize) -> f32 {
    (at as f32 + 0.5) * (2.0 / side as f32) - 1.0
}
