//! A picture before and after an attack, in the terminal.

use std::io::Write as _;

use anyhow::Result;
use hoodwink::{
    data::short_name,
    image::Picture,
    legible,
    results::{Row, RunFolder, Seen},
};

use crate::terminal::{self, Colour};

/// The maximum side of a picture in columns; a line of the terminal shows two rows of pixels.
const SIDE: usize = 32;

/// Shows the first picture that fooled the model, if stdout is a colour terminal.
pub(crate) fn show(folder: &RunFolder, rows: &[Row]) -> Result<()> {
    if !terminal::shows_colours() {
        return Ok(());
    }
    let fooled = rows.iter().find_map(|row| {
        let saved = row.saved.filter(|saved| saved.success)?;
        Some((row, saved.seen, row.picture.as_deref()?))
    });
    let Some((row, seen, picture)) = fooled else {
        return Ok(());
    };
    let before = folder.read_picture(&RunFolder::original(row.index));
    let after = folder.read_picture(picture);
    let names = &folder.run().data.class_names;
    let says = |seen: Seen| {
        let name = legible::name(&short_name(names, seen.label as usize));
        format!("{name} {:.1}%", 100.0 * seen.confidence)
    };
    let (before, after) = (small(before?)?, small(after?)?);
    let mut out = terminal::out();
    let lines = before.iter().zip(&after).map(|(left, right)| {
        let gap = [(None, None); 2];
        [&left[..], &gap, &right[..]].concat()
    });
    for line in lines {
        out.paint(&line)?;
    }
    let width = before.first().map_or(0, Vec::len) + 2;
    let left = format!("before: {}", says(row.clean));
    let right = format!("after: {}", says(seen));
    writeln!(out, "{left:width$}{right}\n")?;
    Ok(())
}

/// The colours of the upper and lower half of a character.
type Halves = (Option<Colour>, Option<Colour>);

/// Converts a picture to lines of characters.
fn small(picture: Picture) -> Result<Vec<Vec<Halves>>> {
    let (height, width) = (picture.height(), picture.width());
    let longest = height.max(width).max(1);
    let shrink = |side: usize| (side * SIDE / longest).max(1);
    let picture = match longest > SIDE {
        true => picture.resize(shrink(height), shrink(width))?,
        false => picture,
    };
    let (channels, height, width) = (picture.channels(), picture.height(), picture.width());
    let at = |row: usize, column: usize| -> Option<Colour> {
        let pixel = picture.bytes().get((row * width + column) * channels..)?;
        match (channels, pixel) {
            (3, &[red, green, blue, ..]) => Some([red, green, blue]),
            (1, &[grey, ..]) => Some([grey; 3]),
            _ => None,
        }
    };
    let line = |line: usize| {
        let place = |column| {
            let lower = (2 * line + 1 < height).then(|| at(2 * line + 1, column));
            (at(2 * line, column), lower.flatten())
        };
        (0..width).map(place).collect()
    };
    Ok((0..height.div_ceil(2)).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_of_pixels_are_one_of_the_terminal() {
        let grey = Picture::new(1, 3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let pixel = |value: u8| Some([value; 3]);
        assert_eq!(
            small(grey).unwrap(),
            [
                vec![(pixel(1), pixel(3)), (pixel(2), pixel(4))],
                vec![(pixel(5), None), (pixel(6), None)]
            ]
        );
        let large = Picture::new(3, 300, 600, vec![7; 3 * 300 * 600]).unwrap();
        let lines = small(large).unwrap();
        assert_eq!((lines.len(), lines[0].len()), (SIDE / 4, SIDE));
        assert_eq!(lines[0][0], (pixel(7), pixel(7)));
    }
}
