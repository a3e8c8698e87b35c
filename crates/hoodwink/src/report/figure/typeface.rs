//! The font of drawn figures: a subset of DejaVu Sans with Latin, Greek, Cyrillic and some symbols.

use std::sync::OnceLock;

use ttf_parser::{Face, OutlineBuilder};

/// See `assets/DejaVuSans-LICENSE.txt`.
const FILE: &[u8] = include_bytes!("../../../assets/DejaVuSans-subset.ttf");

/// Replaces characters that the font lacks.
const MISSING: char = '\u{25a1}';

/// Returns the font; `None` if its file is damaged, which tests rule out.
fn face() -> Option<&'static Face<'static>> {
    static FACE: OnceLock<Option<Face<'static>>> = OnceLock::new();
    FACE.get_or_init(|| Face::parse(FILE, 0).ok()).as_ref()
}

/// Returns the width of a text at a size, in pixels.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let Some(face) = face() else { return 0.0 };
    let units: f64 = text.chars().map(|c| advance(face, c)).sum();
    units * size / f64::from(face.units_per_em())
}

/// Returns the text, truncated with an ellipsis if it is wider than `room`.
pub(super) fn fit(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut cut: Vec<char> = text.chars().collect();
    loop {
        let shown: String = cut.iter().chain(&['…']).collect();
        if cut.pop().is_none() || width(&shown, size) <= room {
            return shown;
        }
    }
}

/// Draws a text that begins at `(x, y)` on its baseline.
pub(super) fn outline(text: &str, size: f64, (x, y): (f64, f64), pen: &mut dyn OutlineBuilder) {
    let Some(face) = face() else { return };
    let scale = size / f64::from(face.units_per_em());
    let mut placed = Placed { x, y, scale, pen };
    for c in text.chars() {
        if let Some(glyph) = face.glyph_index(c).or_else(|| face.glyph_index(MISSING)) {
            face.outline_glyph(glyph, &mut placed);
        }
        placed.x += scale * advance(face, c);
    }
}

fn advance(face: &Face<'_>, c: char) -> f64 {
    let glyph = face.glyph_index(c).or_else(|| face.glyph_index(MISSING));
    glyph
        .and_then(|glyph| face.glyph_hor_advance(glyph))
        .map_or(0.0, f64::from)
}

/// Positions glyphs: the font's vertical axis points up, a figure's points down.
struct Placed<'a> {
    x: f64,
    y: f64,
    scale: f64,
    pen: &'a mut dyn OutlineBuilder,
}

impl Placed<'_> {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let place = |from: f64, by: f64| (from + by) as f32;
        (
            place(self.x, self.scale * f64::from(x)),
            place(self.y, -self.scale * f64::from(y)),
        )
    }
}

impl OutlineBuilder for Placed<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.pen.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.pen.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.pen.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.pen.curve_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.pen.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_what_reports_write() {
        let face = face().unwrap();
        for c in "ABCxyz019 ∞×≤–→…%()/=+äéøŁΩЖ".chars() {
            assert!(face.glyph_index(c).is_some(), "{c}");
        }
        assert!(face.glyph_index(MISSING).is_some());
        assert!(width("mm", 10.0) > 1.9 * width("m", 10.0));
        assert!(width("猫", 10.0) > 0.0);
    }
}
