//! The ten silhouettes, as signed distances: negative inside, positive outside.
//!
//! An object fills the square from -1 to 1, right and *up*. It is a stack of parts, drawn in order.

use super::noise::{floor, mix};
use super::render::Canvas;

/// The paint of a part.
#[derive(Clone, Copy)]
pub(super) enum Paint {
    /// The palette's body colour with the texture.
    Body,
    /// The palette's accent.
    Accent,
    /// Dark in every palette.
    Ink,
    /// Bright in every palette.
    Cream,
}

/// The functions that draw the classes, in class order.
pub(super) const SHAPES: [fn(&mut Canvas); 10] = [
    butterfly, cup, fish, house, key, leaf, mushroom, snail, star, umbrella,
];

/// A point of the object's plane.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

impl Point {
    fn minus(self, x: f32, y: f32) -> Self {
        Self {
            x: self.x - x,
            y: self.y - y,
        }
    }

    /// Returns coordinates along and across an axis with the direction (`cos`, `sin`).
    fn along(self, cos: f32, sin: f32) -> Self {
        Self {
            x: self.x * cos + self.y * sin,
            y: self.y * cos - self.x * sin,
        }
    }

    /// Folds the left half onto the right half.
    fn folded(self) -> Self {
        Self {
            x: self.x.abs(),
            y: self.y,
        }
    }

    fn length(self) -> f32 {
        (self.x * self.x + self.y * self.y).sqrt()
    }

    fn circle(self, x: f32, y: f32, radius: f32) -> f32 {
        self.minus(x, y).length() - radius
    }

    /// Returns the distance to an ellipse, exact on the edge and approximate elsewhere.
    fn ellipse(self, x: f32, y: f32, rx: f32, ry: f32) -> f32 {
        let p = self.minus(x, y);
        let (u, v) = (p.x / rx, p.y / ry);
        let inner = (u * u + v * v).sqrt();
        let slope = (u * u / (rx * rx) + v * v / (ry * ry)).sqrt();
        inner * (inner - 1.0) / (slope + 1e-6)
    }

    /// Returns the distance to a box with half sides (`hx`, `hy`) and corners of this radius.
    fn boxed(self, x: f32, y: f32, hx: f32, hy: f32, radius: f32) -> f32 {
        let p = self.minus(x, y);
        let (dx, dy) = (p.x.abs() - hx + radius, p.y.abs() - hy + radius);
        let outside = Self {
            x: dx.max(0.0),
            y: dy.max(0.0),
        };
        outside.length() + dx.max(dy).min(0.0) - radius
    }

    /// Returns the distance to a line from `a` to `b` with round ends, whose radius goes from `ra` to `rb`.
    fn line(self, a: (f32, f32), b: (f32, f32), ra: f32, rb: f32) -> f32 {
        let p = self.minus(a.0, a.1);
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let t = ((p.x * dx + p.y * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        p.minus(t * dx, t * dy).length() - mix(ra, rb, t)
    }

    /// Returns the distance to two arcs that meet at (-`half_length`, 0) and (`half_length`, 0): an almond.
    fn almond(self, half_length: f32, half_width: f32) -> f32 {
        let radius = (half_length * half_length + half_width * half_width) / (2.0 * half_width);
        let centre = half_width - radius;
        Self {
            x: self.x,
            y: self.y.abs() - centre,
        }
        .length()
            - radius
    }

    /// Returns the distance to a polygon with straight edges, its corners in order.
    fn polygon<const N: usize>(self, corners: [(f32, f32); N]) -> f32 {
        let mut squared = f32::MAX;
        let mut sign = 1.0;
        let mut b = corners[N - 1];
        for a in corners {
            let p = self.minus(a.0, a.1);
            let (dx, dy) = (b.0 - a.0, b.1 - a.1);
            let t = ((p.x * dx + p.y * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            let (ex, ey) = (p.x - t * dx, p.y - t * dy);
            squared = squared.min(ex * ex + ey * ey);
            // An edge that passes to the right of the point swaps inside and outside.
            let spans = (a.1 > self.y) != (b.1 > self.y);
            let right = (p.x * dy < p.y * dx) == (dy > 0.0);
            if spans & right {
                sign = -sign;
            }
            b = a;
        }
        sign * squared.sqrt()
    }
}

/// Joins two shapes with a fillet of this size.
fn join(a: f32, b: f32, fillet: f32) -> f32 {
    let near = (fillet - (a - b).abs()).max(0.0) / fillet;
    a.min(b) - 0.25 * fillet * near * near
}

/// Intersects two shapes and rounds the edge between them.
fn common(a: f32, b: f32, rounding: f32) -> f32 {
    -join(-a, -b, rounding)
}

fn butterfly(canvas: &mut Canvas) {
    for side in [-1.0, 1.0] {
        canvas.part(Paint::Ink, |p| {
            let feeler = p.line((0.04 * side, 0.4), (0.3 * side, 0.84), 0.04, 0.04);
            feeler.min(p.circle(0.31 * side, 0.86, 0.075))
        });
    }
    canvas.part(Paint::Body, |p| {
        let p = p.folded().minus(0.4, -0.42).along(0.8, -0.6);
        p.ellipse(0.0, 0.0, 0.45, 0.34)
    });
    canvas.part(Paint::Body, |p| {
        let p = p.folded().minus(0.5, 0.28).along(0.8, 0.6);
        p.ellipse(0.0, 0.0, 0.56, 0.4)
    });
    canvas.part(Paint::Accent, |p| {
        let p = p.folded();
        p.circle(0.64, 0.4, 0.16).min(p.circle(0.52, -0.54, 0.11))
    });
    canvas.part(Paint::Ink, |p| {
        let trunk = p.line((0.0, 0.3), (0.0, -0.55), 0.11, 0.07);
        trunk.min(p.circle(0.0, 0.4, 0.14))
    });
}

fn cup(canvas: &mut Canvas) {
    canvas.part(Paint::Body, |p| {
        p.ellipse(0.46, 0.0, 0.34, 0.38).abs() - 0.1
    });
    canvas.part(Paint::Body, |p| {
        let side = ((p.x + 0.2).abs() - 0.6) * 0.985 - 0.17 * (p.y - 0.6);
        let floor = p.ellipse(-0.2, -0.35, 0.72, 0.48).min(-0.45 - p.y);
        common(common(side, p.y - 0.62, 0.05), floor, 0.1)
    });
    canvas.part(Paint::Accent, |p| p.ellipse(-0.2, 0.6, 0.64, 0.22));
    canvas.part(Paint::Ink, |p| p.ellipse(-0.2, 0.58, 0.5, 0.13));
}

fn fish(canvas: &mut Canvas) {
    canvas.part(Paint::Accent, |p| {
        let tail = p.polygon([(-0.35, 0.0), (-0.92, 0.5), (-0.76, 0.0), (-0.92, -0.5)]);
        let fins = p.line((0.2, 0.3), (-0.12, 0.58), 0.2, 0.08);
        let belly = p.line((0.15, -0.3), (-0.1, -0.56), 0.14, 0.07);
        (tail - 0.06).min(fins).min(belly)
    });
    canvas.part(Paint::Body, |p| p.minus(0.2, 0.0).almond(0.8, 0.48) - 0.03);
    canvas.part(Paint::Accent, |p| {
        p.line((0.12, -0.08), (-0.14, -0.2), 0.1, 0.05)
    });
    canvas.part(Paint::Cream, |p| p.circle(0.58, 0.1, 0.15));
    canvas.part(Paint::Ink, |p| p.circle(0.61, 0.1, 0.085));
}

fn house(canvas: &mut Canvas) {
    canvas.part(Paint::Accent, |p| p.boxed(0.45, 0.58, 0.14, 0.34, 0.03));
    canvas.part(Paint::Body, |p| p.boxed(0.0, -0.38, 0.7, 0.55, 0.04));
    canvas.part(Paint::Accent, |p| {
        p.polygon([(-0.88, 0.06), (0.0, 0.86), (0.88, 0.06)]) - 0.07
    });
    canvas.part(Paint::Ink, |p| p.boxed(-0.25, -0.6, 0.19, 0.34, 0.08));
    canvas.part(Paint::Cream, |p| p.boxed(0.34, -0.36, 0.19, 0.19, 0.03));
    canvas.part(Paint::Ink, |p| {
        let bars = (p.x - 0.34).abs().min((p.y + 0.36).abs()) - 0.025;
        bars.max(p.boxed(0.34, -0.36, 0.18, 0.18, 0.0))
    });
}

fn key(canvas: &mut Canvas) {
    canvas.part(Paint::Body, |p| {
        let p = p.along(0.64, -0.768);
        let bow = p.circle(-0.57, 0.0, 0.32).abs() - 0.145;
        let shaft = p.boxed(0.36, 0.0, 0.64, 0.125, 0.05);
        let teeth = p
            .boxed(0.5, -0.23, 0.1, 0.23, 0.04)
            .min(p.boxed(0.86, -0.27, 0.12, 0.27, 0.04));
        join(bow, shaft.min(teeth), 0.1)
    });
}

fn leaf(canvas: &mut Canvas) {
    canvas.part(Paint::Accent, |p| {
        p.line((-0.4, -0.5), (-0.82, -0.86), 0.07, 0.1)
    });
    canvas.part(Paint::Body, |p| {
        p.along(0.7, 0.714).minus(0.14, 0.0).almond(0.98, 0.56) - 0.02
    });
    canvas.part(Paint::Accent, |p| {
        let p = p.along(0.7, 0.714);
        let mid = p.line((-0.84, 0.0), (0.9, 0.0), 0.06, 0.02);
        let p = Point {
            x: p.x,
            y: p.y.abs(),
        };
        [(-0.5, 0.27), (-0.1, 0.33), (0.3, 0.24)]
            .into_iter()
            .fold(mid, |all, (from, reach)| {
                all.min(p.line((from, 0.0), (from + reach, reach), 0.04, 0.02))
            })
    });
}

fn mushroom(canvas: &mut Canvas) {
    canvas.part(Paint::Accent, |p| {
        let stem = p.line((0.0, 0.1), (0.0, -0.6), 0.24, 0.33);
        common(stem, -0.86 - p.y, 0.1)
    });
    canvas.part(Paint::Body, |p| {
        let dome = p.ellipse(0.0, 0.0, 0.94, 0.86);
        common(dome, -0.04 - p.y - 0.12 * p.x * p.x, 0.18)
    });
}

fn snail(canvas: &mut Canvas) {
    canvas.part(Paint::Accent, |p| {
        let left = p.line((0.62, 0.0), (0.5, 0.46), 0.055, 0.045);
        let right = p.line((0.72, 0.0), (0.86, 0.46), 0.055, 0.045);
        let feelers = left.min(right);
        let foot = common(
            p.line((-0.8, -0.72), (0.5, -0.68), 0.1, 0.2),
            -0.8 - p.y,
            0.05,
        );
        let neck = p.line((0.56, -0.64), (0.68, 0.0), 0.2, 0.19);
        join(foot, neck, 0.25).min(feelers)
    });
    canvas.part(Paint::Ink, |p| {
        p.circle(0.49, 0.5, 0.09).min(p.circle(0.87, 0.5, 0.09))
    });
    canvas.part(Paint::Body, |p| p.circle(-0.2, -0.06, 0.62));
    canvas.part(Paint::Ink, |p| {
        // Half circles above and below whose centres are half a turn's width apart make a spiral.
        let turn = 0.3;
        let offset = if p.y < -0.06 { 0.5 * turn } else { 0.0 };
        let radius = p.minus(offset - 0.2, -0.06).length();
        let lap = floor((radius - offset) / turn + 0.5) * turn + offset;
        let line = (radius - lap).abs() - 0.035;
        line.max(p.circle(-0.2, -0.06, 0.6))
    });
}

fn star(canvas: &mut Canvas) {
    canvas.part(Paint::Body, |p| {
        p.polygon([
            (0.0, 0.9),
            (0.247, 0.31),
            (0.856, 0.278),
            (0.399, -0.13),
            (0.529, -0.728),
            (0.0, -0.42),
            (-0.529, -0.728),
            (-0.399, -0.13),
            (-0.856, 0.278),
            (-0.247, 0.31),
        ]) - 0.08
    });
}

fn umbrella(canvas: &mut Canvas) {
    canvas.part(Paint::Accent, |p| {
        let stick = p.line((0.0, 0.9), (0.0, -0.66), 0.07, 0.07);
        let ring = p.circle(0.2, -0.66, 0.2).abs() - 0.075;
        let hook = ring.max(p.y + 0.66);
        stick.min(hook).min(p.circle(0.4, -0.64, 0.075))
    });
    let canopy = |p: Point| {
        let dome = p.ellipse(0.0, -0.02, 0.97, 0.84);
        let scallops = [-0.645, 0.0, 0.645]
            .into_iter()
            .map(|x| p.ellipse(x, -0.02, 0.33, 0.17))
            .fold(f32::MAX, f32::min);
        common(dome, (-0.02 - p.y).max(-scallops), 0.04)
    };
    canvas.part(Paint::Body, canopy);
    canvas.part(Paint::Body, move |p| {
        canopy(p).max(p.ellipse(0.0, -0.02, 0.325, 0.9))
    });
}
