//! Draws shapes as pixels.

use tiny_skia::{
    Color, FillRule, FilterQuality, Paint, Path, PathBuilder, Pattern, Pixmap,
    PremultipliedColorU8, Rect, SpreadMode, Stroke, Transform,
};
use ttf_parser::OutlineBuilder;

use super::{Anchor, Colour, Figure, PAPER, Shape, typeface};
use crate::error::{Error, Result};
use crate::image::Picture;

/// Maximum side of a drawn figure, in pixels.
const MOST_PIXELS: f32 = 8192.0;

/// Returns the image of a figure, scaled by `scale`.
pub(super) fn draw(figure: &Figure, scale: f32) -> Result<Picture> {
    let side = |length: f64| (length as f32 * scale).round().clamp(1.0, MOST_PIXELS) as u32;
    let (width, height) = (side(figure.width), side(figure.height));
    let too_large = || Error::unsupported(format!("a figure of {width} × {height} pixels"));
    let mut paper = Pixmap::new(width, height).ok_or_else(too_large)?;
    paper.fill(colour(PAPER));
    let scaled = Transform::from_scale(scale, scale);
    for shape in &figure.shapes {
        shape.draw(&mut paper, scaled);
    }
    // The paper is opaque, so dividing by alpha is unnecessary.
    let bytes = paper.pixels().iter();
    let bytes = bytes.flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]);
    Picture::new(3, height as usize, width as usize, bytes.collect())
}

impl Shape {
    fn draw(&self, paper: &mut Pixmap, scaled: Transform) {
        match self {
            Self::Path {
                points,
                colour,
                width,
            } => {
                let mut path = PathBuilder::new();
                for (at, &(x, y)) in points.iter().enumerate() {
                    match at {
                        0 => path.move_to(x as f32, y as f32),
                        _ => path.line_to(x as f32, y as f32),
                    }
                }
                let stroke = Stroke {
                    width: *width as f32,
                    line_join: tiny_skia::LineJoin::Round,
                    ..Stroke::default()
                };
                if let Some(path) = path.finish() {
                    paper.stroke_path(&path, &ink(*colour), &stroke, scaled, None);
                }
            }
            Self::Disc {
                at: (x, y),
                radius,
                colour,
            } => fill(
                paper,
                PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32),
                *colour,
                scaled,
            ),
            Self::Text {
                at: (x, y),
                anchor,
                size,
                colour,
                text,
            } => {
                let width = typeface::width(text, *size);
                let begins = match anchor {
                    Anchor::Start => *x,
                    Anchor::Middle => x - width / 2.0,
                    Anchor::End => x - width,
                };
                let mut pen = Pen(PathBuilder::new());
                typeface::outline(text, *size, (begins, *y), &mut pen);
                fill(paper, pen.0.finish(), *colour, scaled);
            }
            Self::Picture { at, size, picture } => place(paper, picture, *at, *size, scaled),
        }
    }
}

fn fill(paper: &mut Pixmap, path: Option<Path>, colour: Colour, scaled: Transform) {
    if let Some(path) = path {
        paper.fill_path(&path, &ink(colour), FillRule::Winding, scaled, None);
    }
}

/// Draws a picture into a rectangle; when enlarged, its pixels stay square.
fn place(
    paper: &mut Pixmap,
    picture: &Picture,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    scaled: Transform,
) {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let Some(mut pixels) = Pixmap::new(side(picture.width()), side(picture.height())) else {
        return;
    };
    let channels = picture.channels();
    for (to, from) in pixels
        .pixels_mut()
        .iter_mut()
        .zip(picture.bytes().chunks(channels))
    {
        let (red, green, blue) = match from {
            &[red, green, blue] => (red, green, blue),
            grey => (grey[0], grey[0], grey[0]),
        };
        if let Some(pixel) = PremultipliedColorU8::from_rgba(red, green, blue, 255) {
            *to = pixel;
        }
    }
    let (across, down) = (
        width as f32 / picture.width() as f32,
        height as f32 / picture.height() as f32,
    );
    let quality = match across * scaled.sx >= 1.0 {
        true => FilterQuality::Nearest,
        false => FilterQuality::Bilinear,
    };
    let placed = Transform::from_row(across, 0.0, 0.0, down, x as f32, y as f32);
    let paint = Paint {
        shader: Pattern::new(pixels.as_ref(), SpreadMode::Pad, quality, 1.0, placed),
        anti_alias: false,
        ..Paint::default()
    };
    if let Some(rect) = Rect::from_xywh(x as f32, y as f32, width as f32, height as f32) {
        paper.fill_rect(rect, &paint, scaled, None);
    }
}

fn colour(colour: Colour) -> Color {
    let [_, red, green, blue] = colour.to_be_bytes();
    Color::from_rgba8(red, green, blue, 255)
}

fn ink<'a>(of: Colour) -> Paint<'a> {
    let mut paint = Paint::default();
    paint.set_color(colour(of));
    paint
}

/// Converts glyphs to a path.
struct Pen(PathBuilder);

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.0.close();
    }
}
