//! Figures as separate files: one list of shapes, written as SVG or drawn as PNG.
//!
//! Both have the same content. Letters are text in the SVG, and outlines of a font embedded in this crate in the PNG,
//! so that figures do not depend on installed fonts.

mod raster;
mod typeface;

use std::fmt::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::error::Result;
use crate::image::Picture;

/// A colour as `0xRRGGBB`.
pub(super) type Colour = u32;

pub(super) const PAPER: Colour = 0xff_ffff;
pub(super) const INK: Colour = 0x1f_1d1a;
pub(super) const SOFT: Colour = 0x62_5d54;
pub(super) const LINE: Colour = 0xe3_ded4;
pub(super) const RIGHT: Colour = 0x14_678a;
pub(super) const WRONG: Colour = 0xb3_361a;

/// The colours of lines, the same as in the light style sheet.
pub(super) const SERIES: [Colour; 8] = [
    0xb3_361a, 0x14_678a, 0x4a_7a12, 0x7b_3fb5, 0x9a_6700, 0xb0_286f, 0x0d_756b, 0x55_606e,
];

/// The alignment of a text at its `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One shape, in pixels from the top left.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Straight lines between points.
    Path {
        points: Vec<(f64, f64)>,
        colour: Colour,
        width: f64,
    },
    /// A disc.
    Disc {
        at: (f64, f64),
        radius: f64,
        colour: Colour,
    },
    /// One line of text on its baseline.
    Text {
        at: (f64, f64),
        anchor: Anchor,
        size: f64,
        colour: Colour,
        text: String,
    },
    /// A picture in a rectangle of this width and height.
    Picture {
        at: (f64, f64),
        size: (f64, f64),
        picture: Picture,
    },
}

/// Shapes on white paper, drawn in order.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}

impl Figure {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, points: Vec<(f64, f64)>, colour: Colour, width: f64) {
        if points.len() > 1 {
            self.shapes.push(Shape::Path {
                points,
                colour,
                width,
            });
        }
    }

    pub(super) fn disc(&mut self, at: (f64, f64), radius: f64, colour: Colour) {
        self.shapes.push(Shape::Disc { at, radius, colour });
    }

    pub(super) fn text(
        &mut self,
        at: (f64, f64),
        anchor: Anchor,
        size: f64,
        colour: Colour,
        text: impl Into<String>,
    ) {
        self.shapes.push(Shape::Text {
            at,
            anchor,
            size,
            colour,
            text: text.into(),
        });
    }

    /// Adds a text, truncated with an ellipsis if it is wider than `room`.
    pub(super) fn fitted(
        &mut self,
        at: (f64, f64),
        anchor: Anchor,
        size: f64,
        colour: Colour,
        (text, room): (&str, f64),
    ) {
        self.text(at, anchor, size, colour, typeface::fit(text, size, room));
    }

    pub(super) fn picture(&mut self, at: (f64, f64), size: (f64, f64), picture: &Picture) {
        self.shapes.push(Shape::Picture {
            at,
            size,
            picture: picture.clone(),
        });
    }

    /// Returns the figure as a self-contained SVG file.
    pub(super) fn svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n<rect width=\"{width}\" height=\"{height}\" \
             fill=\"#{PAPER:06x}\"/>\n"
        );
        for shape in &self.shapes {
            svg.push_str(&shape.svg());
            svg.push('\n');
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Returns the figure as a PNG, scaled by `scale`.
    pub(super) fn png(&self, scale: f32) -> Result<Vec<u8>> {
        Ok(raster::draw(self, scale)?.encode_png())
    }
}

impl Shape {
    fn svg(&self) -> String {
        match self {
            Self::Path {
                points,
                colour,
                width,
            } => {
                let mut list = String::new();
                for (x, y) in points {
                    // Writing to a string cannot fail.
                    let _ = write!(list, "{x},{y} ");
                }
                format!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"#{colour:06x}\" stroke-width=\"{width}\" \
                     stroke-linejoin=\"round\"/>",
                    list.trim_end()
                )
            }
            Self::Disc {
                at: (x, y),
                radius,
                colour,
            } => format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"#{colour:06x}\"/>"),
            Self::Text {
                at: (x, y),
                anchor,
                size,
                colour,
                text,
            } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                format!(
                    "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"#{colour:06x}\">{}</text>",
                    escaped(text)
                )
            }
            Self::Picture {
                at: (x, y),
                size: (width, height),
                picture,
            } => format!(
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
                 style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
                BASE64_STANDARD.encode(picture.encode_png())
            ),
        }
    }
}

/// Escapes XML markup, and drops characters that XML does not allow.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let mut figure = Figure::new(40.0, 30.0);
        figure.line(vec![(0.0, 15.0), (40.0, 15.0)], SERIES[1], 2.0);
        figure.disc((20.0, 15.0), 4.0, WRONG);
        let red = Picture::new(3, 1, 2, vec![255, 0, 0, 0, 0, 255]).unwrap();
        figure.picture((0.0, 0.0), (8.0, 4.0), &red);
        figure.text((40.0, 28.0), Anchor::End, 10.0, INK, "a<b&∞\u{7}");
        figure
    }

    #[test]
    fn what_is_written_is_what_is_drawn() {
        let svg = figure().svg();
        for part in [
            "<polyline points=\"0,15 40,15\" fill=\"none\" stroke=\"#14678a\" stroke-width=\"2\"",
            "<circle cx=\"20\" cy=\"15\" r=\"4\" fill=\"#b3361a\"/>",
            "a&lt;b&amp;∞\u{fffd}</text>",
            "href=\"data:image/png;base64,",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        let png = figure().png(2.0).unwrap();
        let drawn = Picture::decode(&png, "figure.png").unwrap();
        assert_eq!((drawn.width(), drawn.height()), (80, 60));
        let at = |x: usize, y: usize| {
            let first = 3 * (y * 80 + x);
            [0, 1, 2].map(|channel| drawn.bytes()[first + channel])
        };
        assert_eq!(at(70, 5), [255, 255, 255]);
        assert_eq!(at(4, 30), [0x14, 0x67, 0x8a]);
        assert_eq!(at(40, 30), [0xb3, 0x36, 0x1a]);
        // Two pixels, enlarged without blur.
        assert_eq!((at(7, 2), at(8, 2)), ([255, 0, 0], [0, 0, 255]));
        // Letters leave ink where they are, and nowhere else.
        let has_ink = |rows: std::ops::Range<usize>| {
            rows.flat_map(|y| (20..80).map(move |x| (x, y)))
                .any(|(x, y)| at(x, y).iter().all(|&level| level < 120))
        };
        assert!(has_ink(42..60) && !has_ink(0..20));
        assert_eq!(png, figure().png(2.0).unwrap());
    }

    #[test]
    fn long_texts_are_cut() {
        let mut figure = Figure::new(100.0, 20.0);
        let long = "a class with a very long name";
        figure.fitted((0.0, 15.0), Anchor::Start, 10.0, INK, (long, 60.0));
        figure.fitted((0.0, 15.0), Anchor::Start, 10.0, INK, ("cat", 60.0));
        let svg = figure.svg();
        assert!(
            svg.contains("…</text>") && !svg.contains("long name"),
            "{svg}"
        );
        assert!(svg.contains(">cat</text>"));
    }
}
