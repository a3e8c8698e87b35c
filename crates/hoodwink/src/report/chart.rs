//! Line charts as SVG.

mod distance;
mod drawn;

use askama::Template;

pub(super) use distance::{Curves, DistanceLine};

use crate::stats::Interval;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// Number of line styles in the style sheet.
const STYLES: usize = 8;

/// A line chart. `Display` writes the SVG; all text is escaped.
#[derive(Template)]
#[template(path = "chart.svg")]
pub(super) struct Chart {
    id: String,
    pub(super) title: String,
    x_label: String,
    y_label: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: Vec<Line>,
}

struct Tick {
    at: f64,
    text: String,
}

struct Line {
    style: usize,
    path: String,
    marks: Vec<Mark>,
}

/// A measured point with its interval.
struct Mark {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
    text: String,
}

/// A line without axes, as wide as a few words.
#[derive(Template)]
#[template(path = "spark.svg")]
pub(super) struct Spark {
    alt: String,
    path: String,
    end: (f64, f64),
}

/// One attack's accuracy at each eps, clean accuracy at eps 0 included.
pub(super) struct AccuracyLine {
    pub(super) name: String,
    /// eps as typed, and accuracy, in ascending order of eps.
    pub(super) points: Vec<(f64, String, Interval)>,
    /// Whether the radii were searched finely enough to join the points by a line.
    pub(super) swept: bool,
    /// The exact curve, if the smallest distance of each picture is known.
    pub(super) steps: Option<DistanceLine>,
}

/// Returns the style of the `n`-th line of a chart.
pub(super) fn style(n: usize) -> usize {
    n % STYLES
}

/// Accuracy against eps, with intervals.
pub(super) fn accuracy(lines: &[AccuracyLine], norm: &str) -> Chart {
    let all = || lines.iter().flat_map(|line| &line.points);
    let largest = all().map(|point| point.0).fold(0.0, f64::max);
    let x = |eps: f64| across(eps, (0.0, largest));
    let y = |accuracy: f64| down(accuracy, (0.0, 1.0));
    let mut x_ticks: Vec<Tick> = Vec::new();
    let mut radii: Vec<&(f64, String, Interval)> = all().collect();
    radii.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (eps, text, _) in radii {
        // Labels closer than this would overlap.
        let room = |last: &Tick| 4.0 + 3.4 * (last.text.len() + text.len()) as f64;
        if x_ticks
            .last()
            .is_none_or(|last| x(*eps) - last.at > room(last))
        {
            x_ticks.push(Tick {
                at: x(*eps),
                text: text.clone(),
            });
        }
    }
    let line = |(n, line): (usize, &AccuracyLine)| {
        // Intervals of adjacent lines would hide one another.
        let aside = match line.swept {
            // A curve must not be shifted.
            true => 0.0,
            false => 3.0 * (n as f64 - (lines.len() as f64 - 1.0) / 2.0),
        };
        let marks: Vec<Mark> = line
            .points
            .iter()
            .map(|(eps, text, accuracy)| Mark {
                x: px(x(*eps) + if *eps > 0.0 { aside } else { 0.0 }),
                y: y(accuracy.value),
                low: y(accuracy.low),
                high: y(accuracy.high),
                text: format!(
                    "{} at eps {text}: {} ({})",
                    line.name,
                    accuracy.percent(),
                    accuracy.ends()
                ),
            })
            .collect();
        let places: Vec<(f64, f64)> = marks.iter().map(|mark| (mark.x, mark.y)).collect();
        Line {
            style: style(n),
            path: match &line.steps {
                Some(exact) => distance::steps(exact, (0.0, largest)),
                None if line.swept => path(&places),
                None => String::new(),
            },
            marks,
        }
    };
    Chart {
        id: "accuracy".into(),
        title: "Accuracy against eps".into(),
        x_label: format!("eps ({norm}, pixel values from 0 to 1)"),
        y_label: "accuracy".into(),
        x_ticks,
        y_ticks: percentages(),
        lines: lines.iter().enumerate().map(line).collect(),
    }
}

/// Ticks from 0% to 100%.
fn percentages() -> Vec<Tick> {
    let tick = |share: f64| Tick {
        at: down(share, (0.0, 1.0)),
        text: format!("{:.0}%", 100.0 * share),
    };
    [0.0, 0.25, 0.5, 0.75, 1.0].map(tick).into()
}

/// Charts a loss at every step, in the style of the `n`-th attack; `None` if there are not two finite values.
pub(super) fn loss(n: usize, name: &str, values: &[f64]) -> Option<Chart> {
    let finite = finite(values);
    if finite.len() < 2 {
        return None;
    }
    let steps = ticks(0.0, (values.len() - 1) as f64, true);
    let levels = ticks(least(&finite), largest(&finite), false);
    let x_range = (0.0, (values.len() - 1) as f64);
    let y_range = (
        least(&finite).min(levels[0]),
        largest(&finite).max(levels[levels.len() - 1]),
    );
    let places: Vec<(f64, f64)> = finite
        .iter()
        .map(|(step, loss)| (across(*step, x_range), down(*loss, y_range)))
        .collect();
    Some(Chart {
        id: format!("loss-{n}"),
        title: format!("Mean loss of {name} at each point that it evaluated"),
        x_label: "point".into(),
        y_label: "loss (higher: closer to the attacker's goal)".into(),
        x_ticks: steps
            .iter()
            .map(|&step| Tick {
                at: across(step, x_range),
                text: step.to_string(),
            })
            .collect(),
        y_ticks: levels
            .iter()
            .map(|&level| Tick {
                at: down(level, y_range),
                text: tidy(level),
            })
            .collect(),
        lines: vec![Line {
            style: style(n),
            path: path(&places),
            marks: Vec::new(),
        }],
    })
}

/// A quantity that is measured after every epoch.
pub(super) enum Measured {
    /// From 0 upwards.
    Loss,
    /// From 0 to 1.
    Accuracy,
}

/// Charts values after epochs 1, 2, and so on, with a line for each name; `None` for fewer than two epochs.
pub(super) fn epochs(measured: Measured, lines: &[(&str, Vec<f64>)]) -> Option<Chart> {
    let count = lines.iter().map(|(_, values)| values.len()).max()?;
    if count < 2 {
        return None;
    }
    let all = lines.iter().flat_map(|(_, values)| values).copied();
    let (name, levels) = match measured {
        Measured::Loss => ("loss", ticks(0.0, all.fold(0.0, f64::max), false)),
        Measured::Accuracy => ("accuracy", vec![0.0, 0.25, 0.5, 0.75, 1.0]),
    };
    let text = |level: f64| match measured {
        Measured::Loss => tidy(level),
        Measured::Accuracy => format!("{:.0}%", 100.0 * level),
    };
    let x = |epoch: f64| across(epoch, (1.0, count as f64));
    let y = |value: f64| down(value, (0.0, levels[levels.len() - 1]));
    let line = |(n, (name, values)): (usize, &(&str, Vec<f64>))| {
        let marks: Vec<Mark> = (1..)
            .zip(values)
            .map(|(epoch, &value)| Mark {
                x: x(f64::from(epoch)),
                y: y(value),
                low: y(value),
                high: y(value),
                text: format!(
                    "{name} after epoch {epoch}: {}",
                    match measured {
                        Measured::Loss => tidy(value),
                        Measured::Accuracy => format!("{:.1}%", 100.0 * value),
                    }
                ),
            })
            .collect();
        let places: Vec<(f64, f64)> = marks.iter().map(|mark| (mark.x, mark.y)).collect();
        Line {
            style: style(n),
            path: path(&places),
            // Many points would hide their line.
            marks: if count > 40 { Vec::new() } else { marks },
        }
    };
    Some(Chart {
        id: name.into(),
        title: format!(
            "{}{} after every epoch",
            name[..1].to_uppercase(),
            &name[1..]
        ),
        x_label: "epoch".into(),
        y_label: name.into(),
        x_ticks: ticks(1.0, count as f64, true)
            .into_iter()
            .map(|epoch| Tick {
                at: x(epoch),
                text: epoch.to_string(),
            })
            .collect(),
        y_ticks: levels
            .iter()
            .map(|&level| Tick {
                at: y(level),
                text: text(level),
            })
            .collect(),
        lines: lines.iter().enumerate().map(line).collect(),
    })
}

/// Charts the loss of one picture; `None` if there are not two finite values.
pub(super) fn spark(values: &[f32]) -> Option<Spark> {
    let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    let finite = finite(&values);
    let (low, high) = (least(&finite), largest(&finite));
    let last = (values.len() as f64 - 1.0).max(1.0);
    let places: Vec<(f64, f64)> = finite
        .iter()
        .map(|(step, loss)| {
            let rise = if high > low {
                (loss - low) / (high - low)
            } else {
                0.5
            };
            (px(4.0 + 152.0 * step / last), px(36.0 - 32.0 * rise))
        })
        .collect();
    let (first, end) = (finite.first()?, *places.last()?);
    (places.len() > 1).then(|| Spark {
        alt: format!(
            "Loss at {} points, from {} to {}; higher is closer to the attacker's goal",
            values.len(),
            tidy(first.1),
            tidy(finite[finite.len() - 1].1)
        ),
        path: path(&places),
        end,
    })
}

/// Formats a number with three significant digits.
pub(super) fn tidy(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        // Avoids "-0".
        return (value + 0.0).to_string();
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    if digits > 5 {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.*}", digits.clamp(0, 5) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn finite(values: &[f64]) -> Vec<(f64, f64)> {
    let numbered = values.iter().enumerate();
    numbered
        .filter(|(_, value)| value.is_finite())
        .map(|(step, &value)| (step as f64, value))
        .collect()
}

fn least(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min)
}

fn largest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max)
}

/// Returns three to six round numbers that cover the range.
fn ticks(low: f64, high: f64, inside: bool) -> Vec<f64> {
    let span = if high > low { high - low } else { 1.0 };
    let magnitude = 10f64.powf((span / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let mut step = steps.into_iter().find(|s| span / s <= 5.0).unwrap_or(span);
    if inside {
        step = step.max(1.0);
    }
    let (first, last) = match inside {
        true => ((low / step).ceil(), (high / step).floor()),
        false => ((low / step).floor(), (high / step).ceil()),
    };
    let count = (last - first).clamp(0.0, 10.0) as usize;
    (0..=count).map(|n| (first + n as f64) * step).collect()
}

fn across(value: f64, (low, high): (f64, f64)) -> f64 {
    let share = if high > low {
        (value - low) / (high - low)
    } else {
        0.0
    };
    px(LEFT + share * (WIDTH - LEFT - RIGHT))
}

fn down(value: f64, (low, high): (f64, f64)) -> f64 {
    let share = if high > low {
        (value - low) / (high - low)
    } else {
        0.5
    };
    px(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))
}

fn px(value: f64) -> f64 {
    (10.0 * value).round() / 10.0
}

fn path(places: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in places.iter().enumerate() {
        path.push_str(&format!("{}{x} {y}", if at == 0 { "M" } else { "L" }));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        assert_eq!(ticks(0.0, 9.3, false), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-1.2, 0.7, false), [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(ticks(0.0, 19.0, true), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(ticks(0.0, 1.0, true), [0.0, 1.0]);
        assert_eq!(ticks(3.0, 3.0, false).first(), Some(&3.0));
    }

    #[test]
    fn numbers_are_tidy() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (0.028_41, "0.0284"),
            (33.64, "33.6"),
            (2.0, "2"),
            (1234.0, "1234"),
            (0.000_045_8, "4.6e-5"),
            (-0.5, "-0.5"),
        ];
        for (value, text) in cases {
            assert_eq!(tidy(value), text);
        }
    }

    #[test]
    fn lines_need_two_finite_values() {
        assert!(spark(&[1.0]).is_none());
        assert!(spark(&[1.0, f32::NAN]).is_none());
        assert!(loss(0, "pgd", &[]).is_none());
        let svg = spark(&[0.0, f32::INFINITY, 1.0]).unwrap().to_string();
        assert!(svg.contains("d=\"M4 36L156 4\""), "{svg}");
    }

    #[test]
    fn epochs_run_from_one_to_the_last() {
        assert!(epochs(Measured::Loss, &[("training", vec![1.0])]).is_none());
        let lines = [
            ("training", vec![1.0, 0.5, 0.0]),
            ("held out", vec![0.0; 3]),
        ];
        let svg = epochs(Measured::Accuracy, &lines).unwrap().to_string();
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let (middle, right) = ((LEFT + WIDTH - RIGHT) / 2.0, WIDTH - RIGHT);
        let path = format!(
            "M{LEFT} {top}L{middle} {}L{right} {bottom}",
            (top + bottom) / 2.0
        );
        assert!(svg.contains(&path), "{path} in {svg}");
        assert!(svg.contains("held out after epoch 3: 0.0%"), "{svg}");
    }

    #[test]
    fn accuracy_stands_at_its_height_with_its_interval() {
        let interval = |value, low, high| Interval {
            value,
            low,
            high,
            n: 10,
        };
        let line = |swept| AccuracyLine {
            name: "<pgd>".into(),
            points: vec![
                (0.0, "0".into(), interval(1.0, 0.75, 1.0)),
                (0.5, "0.5".into(), interval(0.0, 0.0, 0.25)),
            ],
            swept,
            steps: None,
        };
        let svg = accuracy(&[line(true)], "L2").to_string();
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let path = format!("M{LEFT} {top}L{} {bottom}", WIDTH - RIGHT);
        assert!(svg.contains(&path), "{path} in {svg}");
        // Radii that were typed are points: nothing was measured between them.
        let points = accuracy(&[line(false)], "L2").to_string();
        assert!(!points.contains("class=\"line\"") && points.contains("<circle"));
        assert!(!svg.contains("<pgd>"));
    }
}
