//! A chart as a separate figure.

use super::super::figure::{Anchor, Figure, INK, LINE, SERIES, SOFT};
use super::{BOTTOM, Chart, HEIGHT, LEFT, Line, RIGHT, TOP, WIDTH};

/// Height of one line of the legend.
const ROW: f64 = 18.0;

impl Chart {
    /// The name of its file.
    pub(in crate::report) fn name(&self) -> &str {
        &self.id
    }

    /// The same chart as in the page, in print colours, with a legend of names and styles below it.
    pub(in crate::report) fn figure_with(&self, legend: &[(String, usize)]) -> Figure {
        let mut figure = Figure::new(WIDTH, HEIGHT + ROW * legend.len() as f64 + 8.0);
        let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in &self.y_ticks {
            figure.line(vec![(LEFT, tick.at), (right, tick.at)], LINE, 1.0);
            let at = (LEFT - 6.0, tick.at + 4.0);
            figure.text(at, Anchor::End, 11.0, SOFT, &*tick.text);
        }
        for tick in &self.x_ticks {
            figure.line(vec![(tick.at, base), (tick.at, base + 5.0)], SOFT, 1.0);
            let at = (tick.at, base + 19.0);
            figure.text(at, Anchor::Middle, 11.0, SOFT, &*tick.text);
        }
        figure.line(vec![(LEFT, base), (right, base)], SOFT, 1.0);
        let centre = f64::midpoint(LEFT, right);
        figure.text(
            (centre, HEIGHT - 6.0),
            Anchor::Middle,
            11.0,
            SOFT,
            &*self.x_label,
        );
        figure.text((8.0, TOP - 15.0), Anchor::Start, 11.0, SOFT, &*self.y_label);
        for line in &self.lines {
            line.draw(&mut figure);
        }
        for (at, (name, style)) in legend.iter().enumerate() {
            let y = HEIGHT + ROW * (at as f64 + 0.5);
            let colour = SERIES[style % SERIES.len()];
            if self.lines.get(at).is_some_and(|line| !line.path.is_empty()) {
                figure.line(vec![(LEFT, y), (LEFT + 28.0, y)], colour, 2.2);
            }
            if self
                .lines
                .get(at)
                .is_some_and(|line| !line.marks.is_empty())
            {
                figure.disc((LEFT + 14.0, y), 3.5, colour);
            }
            let room = right - LEFT - 36.0;
            figure.fitted(
                (LEFT + 36.0, y + 4.0),
                Anchor::Start,
                11.0,
                INK,
                (name, room),
            );
        }
        figure
    }
}

impl Line {
    fn draw(&self, figure: &mut Figure) {
        let colour = SERIES[self.style % SERIES.len()];
        for mark in &self.marks {
            figure.line(vec![(mark.x, mark.low), (mark.x, mark.high)], colour, 1.2);
        }
        figure.line(points(&self.path), colour, 2.2);
        for mark in &self.marks {
            figure.disc((mark.x, mark.y), 3.5, colour);
        }
    }
}

/// Returns the points of a path that this module wrote: `M`, `L`, `H` and `V` with absolute numbers.
fn points(path: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut rest = path;
    while let Some(kind) = rest.chars().next() {
        let after = &rest[kind.len_utf8()..];
        let end = after
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let numbers: Vec<f64> = after[..end]
            .split(' ')
            .filter_map(|n| n.parse().ok())
            .collect();
        let (x, y) = points.last().copied().unwrap_or((0.0, 0.0));
        match (kind, &numbers[..]) {
            ('M' | 'L', &[x, y]) => points.push((x, y)),
            ('H', &[x]) => points.push((x, y)),
            ('V', &[y]) => points.push((x, y)),
            _ => return points,
        }
        rest = &after[end..];
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        assert_eq!(points("M4 36L156 4.5"), [(4.0, 36.0), (156.0, 4.5)]);
        let steps = [(46.0, 28.0), (50.5, 28.0), (50.5, 90.0), (416.0, 90.0)];
        assert_eq!(points("M46 28H50.5V90H416"), steps);
        assert_eq!(points(""), []);
    }
}
