//! Accuracy against the distance that the attacker may move pictures by: an exact step curve.

use std::collections::BTreeMap;

use super::{
    AccuracyLine, Chart, LEFT, Line, RIGHT, Tick, WIDTH, accuracy, across, down, px, style, ticks,
    tidy,
};
use crate::results::{Row, clean, summary::distances};

/// One curve.
pub(in crate::report) struct DistanceLine {
    name: String,
    /// The share of all pictures that the model gets right before any attack.
    right: f64,
    /// The share that one picture represents.
    each: f64,
    /// The distance within which each broken picture was fooled, in ascending order.
    distances: Vec<f64>,
}

impl DistanceLine {
    /// Returns the curve of one attack, or of the smallest distance of several on each picture; `None` without rows.
    pub(in crate::report) fn of(name: String, norm: &str, rows: &[&Row]) -> Option<Self> {
        let mut nearest: BTreeMap<u64, (&Row, f64)> = BTreeMap::new();
        for row in rows {
            // A picture that was not attacked has no distance.
            let distance = distances(norm, std::iter::once(*row)).pop();
            let distance = distance.unwrap_or(f64::INFINITY);
            let (_, least) = nearest.entry(row.index).or_insert((row, distance));
            *least = least.min(distance);
        }
        let all = nearest.len() as f64;
        let right = nearest.values().filter(|(row, _)| clean(row)).count() as f64;
        let mut distances: Vec<f64> = nearest
            .into_values()
            .map(|(_, distance)| distance)
            .collect();
        distances.retain(|distance| distance.is_finite());
        distances.sort_by(f64::total_cmp);
        (all > 0.0).then(|| Self {
            name,
            right: right / all,
            each: 1.0 / all,
            distances,
        })
    }
}

/// A chart of all attacks, or of all runs, with its legend.
pub(in crate::report) struct Curves {
    pub(in crate::report) chart: Chart,
    /// Name and style of every line.
    pub(in crate::report) legend: Vec<(String, usize)>,
    /// Whether any points are joined by a line.
    pub(in crate::report) has_lines: bool,
}

impl Curves {
    /// Charts accuracy against eps: points, and lines where the radii between them were searched.
    pub(in crate::report) fn of_accuracy(
        lines: impl Iterator<Item = AccuracyLine>,
        norm: &str,
    ) -> Self {
        let lines: Vec<AccuracyLine> = lines.collect();
        let chart = accuracy(&lines, norm);
        Self::of(chart, lines.into_iter().map(|line| line.name))
    }

    /// Charts accuracy against distance.
    pub(in crate::report) fn of_distance(
        lines: impl Iterator<Item = DistanceLine>,
        norm: &str,
    ) -> Self {
        let lines: Vec<DistanceLine> = lines.collect();
        let chart = distance(&lines, norm);
        Self::of(chart, lines.into_iter().map(|line| line.name))
    }

    fn of(chart: Chart, names: impl Iterator<Item = String>) -> Self {
        let legend = names.enumerate().map(|(n, name)| (name, style(n)));
        Self {
            has_lines: chart.lines.iter().any(|line| !line.path.is_empty()),
            chart,
            legend: legend.collect(),
        }
    }
}

/// Charts accuracy against distance in `norm`, given as people write it.
fn distance(lines: &[DistanceLine], norm: &str) -> Chart {
    let farthest = lines.iter().filter_map(|line| line.distances.last());
    let farthest = farthest.copied().fold(0.0, f64::max);
    let levels = ticks(0.0, farthest, false);
    let range = (0.0, levels[levels.len() - 1].max(farthest));
    let line = |(n, line): (usize, &DistanceLine)| Line {
        style: style(n),
        path: steps(line, range),
        marks: Vec::new(),
    };
    Chart {
        id: "distance".into(),
        title: "Accuracy against distance".into(),
        x_label: format!("distance ({norm}, pixel values from 0 to 1)"),
        y_label: "accuracy".into(),
        x_ticks: levels
            .iter()
            .map(|&level| Tick {
                at: across(level, range),
                text: tidy(level),
            })
            .collect(),
        y_ticks: super::percentages(),
        lines: lines.iter().enumerate().map(line).collect(),
    }
}

/// A step down at every distance; steps too close to distinguish are merged.
pub(super) fn steps(line: &DistanceLine, range: (f64, f64)) -> String {
    let mut path = format!("M{LEFT} {}", down(line.right, (0.0, 1.0)));
    let mut broken = line.distances.iter().enumerate().peekable();
    while let Some((before, &distance)) = broken.next() {
        let x = across(distance, range);
        let is_last_there = broken
            .peek()
            .is_none_or(|(_, next)| across(**next, range) != x);
        if is_last_there {
            let left = line.right - line.each * (before + 1) as f64;
            path.push_str(&format!("H{x}V{}", down(left.max(0.0), (0.0, 1.0))));
        }
    }
    path.push_str(&format!("H{}", px(WIDTH - RIGHT)));
    path
}

#[cfg(test)]
mod tests {
    use super::super::{BOTTOM, HEIGHT};
    use super::*;
    use crate::results::example::{already_wrong, fooled_at, unbroken};

    #[test]
    fn a_curve_falls_at_every_distance_by_one_picture() {
        let wrong = Row {
            eps: None,
            ..already_wrong(0, "ddn", "4/255")
        };
        let rows = [wrong, unbroken(1), fooled_at(2, 0.5), fooled_at(3, 1.0)];
        let rows: Vec<&Row> = rows.iter().collect();
        assert!(DistanceLine::of("ddn".into(), "l2", &[]).is_none());
        let line = DistanceLine::of("ddn".into(), "l2", &rows).unwrap();
        let at = |share: f64| down(share, (0.0, 1.0));
        let (middle, right) = ((LEFT + WIDTH - RIGHT) / 2.0, WIDTH - RIGHT);
        let path = format!(
            "M{LEFT} {}H{middle}V{}H{right}V{}H{right}",
            at(0.75),
            at(0.5),
            at(0.25)
        );
        let svg = distance(&[line], "L2").to_string();
        assert!(svg.contains(&path), "{path} in {svg}");

        // Of two attacks, the smaller distance counts.
        let nearer = fooled_at(1, 0.5);
        let both: Vec<&Row> = rows.into_iter().chain([&nearer]).collect();
        let line = DistanceLine::of("all".into(), "l2", &both).unwrap();
        assert_eq!(line.distances, [0.5, 0.5, 1.0]);
        assert_eq!((line.right, line.each), (0.75, 0.25));
        let path = format!("M{LEFT} {}H{middle}V{}H{right}", at(0.75), at(0.25));
        assert!(steps(&line, (0.0, 1.0)).starts_with(&path));
    }

    #[test]
    fn nothing_broken_is_a_flat_line() {
        let row = unbroken(1);
        let line = DistanceLine::of("ddn".into(), "l2", &[&row]).unwrap();
        let svg = distance(&[line], "L2").to_string();
        let top = down(1.0, (0.0, 1.0));
        assert!(svg.contains(&format!("M{LEFT} {top}H{}", WIDTH - RIGHT)));
        assert!(HEIGHT - BOTTOM > top && !svg.contains("NaN"));
    }
}
