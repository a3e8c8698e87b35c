//! Models as points.

use askama::Template;

use super::tables::ModelTable;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// The most points that are drawn.
const MOST: usize = 2_000;

/// A scatter plot of accuracy on hard pictures. Displaying it gives the SVG; all text is escaped.
#[derive(Template)]
#[template(path = "natural/scatter.svg")]
pub(super) struct Scatter {
    id: String,
    pub(super) title: String,
    x_label: &'static str,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    points: Vec<Point>,
    /// Through the models that no smaller one beats.
    front: Option<String>,
}

struct Tick {
    at: f64,
    text: String,
}

struct Point {
    x: f64,
    y: f64,
    on_front: bool,
    text: String,
}

impl Scatter {
    /// Hard against clean accuracy, or against parameters where `by_size`; `None` without two models to draw. `id` is its own on
    /// the page.
    pub(super) fn of(table: &ModelTable, by_size: bool, id: String) -> Option<Self> {
        let rows = table.rows.iter().filter_map(|row| {
            let x = match by_size {
                true => row.parameters.filter(|&count| count > 0.0)?.log10(),
                false => row.clean,
            };
            Some((x, row))
        });
        let rows: Vec<_> = rows.take(MOST).collect();
        if rows.len() < 2 {
            return None;
        }
        let (low, high) = match by_size {
            false => (0.0, 1.0),
            true => {
                let xs = || rows.iter().map(|(x, _)| *x);
                let low = xs().fold(f64::INFINITY, f64::min).floor();
                let high = xs().fold(f64::NEG_INFINITY, f64::max).ceil();
                (low, high.max(low + 1.0))
            }
        };
        let x = |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT);
        let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
        let tick = |at, text| Tick { at, text };
        let x_ticks = match by_size {
            false => (0..=5)
                .map(|fifth| tick(x(f64::from(fifth) / 5.0), format!("{}%", 20 * fifth)))
                .collect(),
            true => (low as i32..=high as i32)
                .map(|power| tick(x(f64::from(power)), millions(10f64.powi(power))))
                .collect(),
        };
        let points: Vec<Point> = rows
            .iter()
            .map(|&(at, row)| Point {
                x: x(at),
                y: y(row.hard),
                on_front: by_size && row.on_front,
                text: format!(
                    "{}{}: {:.1}% of hard, {:.1}% of clean pictures",
                    row.model,
                    row.size.map_or(String::new(), |size| format!(" at {size}")),
                    100.0 * row.hard,
                    100.0 * row.clean
                ),
            })
            .collect();
        let mut front: Vec<&Point> = points.iter().filter(|point| point.on_front).collect();
        front.sort_by(|a, b| a.x.total_cmp(&b.x));
        let steps = front.iter().enumerate().map(|(at, point)| match at {
            0 => format!("M{:.1} {:.1}", point.x, point.y),
            _ => format!("L{:.1} {:.1}", point.x, point.y),
        });
        Some(Self {
            title: match by_size {
                true => format!("{}: accuracy on hard pictures by size", table.name),
                false => format!("{}: hard against clean accuracy", table.name),
            },
            x_label: match by_size {
                true => "parameters (log scale)",
                false => "accuracy on ordinary pictures of the same classes",
            },
            front: (front.len() > 1).then(|| steps.collect()),
            y_ticks: (0..=5)
                .map(|fifth| tick(y(f64::from(fifth) / 5.0), format!("{}%", 20 * fifth)))
                .collect(),
            x_ticks,
            points,
            id,
        })
    }
}

fn millions(count: f64) -> String {
    match count {
        1000.0.. => format!("{}B", count / 1000.0),
        1.0.. => format!("{count}M"),
        _ => format!("{}k", (count * 1000.0).round()),
    }
}
