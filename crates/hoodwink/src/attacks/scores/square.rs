//! Square Attack: random search with square patches that shrink over time.
//!
//! # Formula
//!
//! A point is kept if its loss is larger than that of the best point so far. The loss is the margin `max_{j != y} z_j -
//! z_y` or, with a target, `ln p_t`. The share `p` of the picture that a patch covers starts at `p_init` and is halved
//! after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 queries.
//!
//! In L-inf the search starts with vertical stripes of `±eps`. A patch of side `sqrt(p h w)` moves each channel by `±2
//! eps`, and the result is projected. In L2 it starts with a grid of small hills, five per side, scaled to eps. A patch
//! takes over the norm of another window, plus the norm still missing to eps. Its shape is a hill with one half turned
//! upside down, added to what was there. The whole is scaled to eps and clipped. The attack ends at the first point
//! that fools the model both as it is and as the 8-bit picture that is saved for it.
//!
//! # Defaults
//!
//! 5,000 queries, `p_init` 0.8, 1 restart: the values of AutoAttack. Three things differ from its code: every picture
//! draws its own windows, where the code draws one for the whole batch; a window may lie at the last row and column;
//! and pictures need not be square.
//!
//! # Source
//!
//! Andriushchenko, Croce, Flammarion and Hein, *Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random
//! Search*, arXiv 1912.00049, algorithms 1 to 3.

use std::ops::Range;

use rand::{Rng, RngExt as _};

use crate::{
    Result,
    attacks::{
        Best, Case, LossName, Values,
        parameters::{Kind, Parameter},
        random::fork,
        registry::{Aim, Entry, Family, Search, any_values},
    },
    image::Image,
    oracle::{Objective, Scores},
    threat::{Norm, Region},
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "square",
    summary: "random search with square patches (Andriushchenko et al. 2020)",
    family: Family::Scores,
    aim: Aim::Radius,
    norms: &[Norm::Linf, Norm::L2],
    targeted: true,
    begins_elsewhere: false,
    parameters: &[
        Parameter {
            name: "queries",
            kind: Kind::POSITIVE,
            default: "5000",
            meaning: "maximum number of queries of a restart",
            origin: "AutoAttack's",
        },
        Parameter {
            name: "p_init",
            kind: Kind::Number {
                least: 1e-6,
                most: 1.0,
            },
            default: "0.8",
            meaning: "share of the picture that the first patches cover",
            origin: "AutoAttack's",
        },
        Parameter {
            name: "restarts",
            kind: Kind::POSITIVE,
            default: "1",
            meaning: "number of restarts, including the first start",
            origin: "AutoAttack's",
        },
    ],
    cost: "queries forward passes per restart, plus 1 for each point that reaches the goal; fewer if such a point ends it",
    source: include_str!("square.rs"),
    check: any_values,
    search: Search::Scores(|model, case, p, best| Box::pin(square(model, case, p, best))),
};

async fn square(model: Scores<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    let loss = match case.goal.target() {
        None => LossName::Margin,
        Some(_) => LossName::Ce,
    };
    let objective = case.objective(loss, model.classes())?;
    for restart in 0..p.count("restarts")? {
        let mut rng = fork(&case.rng, restart);
        search(model, case, p, &objective, &mut rng, best).await?;
        best.end_restart();
        if best.is_reached() {
            break;
        }
    }
    Ok(())
}

/// Runs one restart.
async fn search(
    model: Scores<'_>,
    case: &Case,
    p: &Values,
    objective: &Objective,
    rng: &mut impl Rng,
    best: &mut Best,
) -> Result<()> {
    let p_init = p.number("p_init")?;
    let region = &case.region;
    let (mut x, mut largest) = (stripes_or_hills(region, rng), f32::NEG_INFINITY);
    for query in 0..p.count("queries")? {
        let proposal = match query {
            0 => x.clone(),
            _ => propose(region, &x, share(p_init, query - 1), rng),
        };
        let logits = model.logits(&proposal).await?;
        let loss = objective.value(&logits)?;
        let reached = case.goal.reached(&logits);
        if query == 0 || loss > largest || reached {
            largest = largest.max(loss);
            x = proposal;
            if best.offer(model.as_labels(), &x, loss, &logits).await? {
                break;
            }
        }
    }
    Ok(())
}

/// Returns the share of the picture that a patch covers.
fn share(p_init: f64, questions: u64) -> f64 {
    let halvings = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
    let passed = halvings.iter().filter(|&&at| questions > at).count();
    p_init / f64::from(1 << passed)
}

fn sign(rng: &mut impl Rng) -> f64 {
    if rng.random() { 1.0 } else { -1.0 }
}

fn stripes_or_hills(region: &Region, rng: &mut impl Rng) -> Image {
    let mut x = region.center.clone();
    let [channels, height, width] = x.shape();
    let eps = region.radius.unwrap_or(0.0);
    if region.norm == Norm::Linf {
        for channel in 0..channels {
            let stripes: Vec<f64> = (0..width).map(|_| eps * sign(rng)).collect();
            let plane = &mut x.pixels_mut()[channel * height * width..][..height * width];
            for row in plane.chunks_exact_mut(width) {
                for (x, stripe) in row.iter_mut().zip(&stripes) {
                    *x = (f64::from(*x) + stripe) as f32;
                }
            }
        }
        region.project(&mut x);
        return x;
    }
    let mut delta = vec![0.0; x.pixels().len()];
    let side = (height.min(width) / 5).max(1);
    for top in grid(height, side) {
        for left in grid(width, side) {
            let hill = two_hills(side, rng);
            for channel in 0..channels {
                let sign = sign(rng);
                let window = Window {
                    channel,
                    rows: top..top + side,
                    columns: left..left + side,
                };
                for (at, value) in window.places([height, width]).zip(&hill) {
                    delta[at] += sign * value;
                }
            }
        }
    }
    scaled(region, &delta)
}

/// Returns the starts of the windows of a given side that fill a length. The remainder is split between both ends.
fn grid(length: usize, side: usize) -> impl Iterator<Item = usize> {
    let begin = length % side / 2;
    (0..length / side).map(move |at| begin + at * side)
}

/// A window in one channel.
struct Window {
    channel: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Window {
    /// Returns the positions of its values in an image of these sides, row by row.
    fn places(&self, [height, width]: [usize; 2]) -> impl Iterator<Item = usize> {
        let (rows, columns) = (self.rows.clone(), self.columns.clone());
        let plane = self.channel * height * width;
        rows.flat_map(move |row| {
            columns
                .clone()
                .map(move |column| plane + row * width + column)
        })
    }
}

/// Returns the original plus a perturbation scaled to length eps, clipped to the box.
fn scaled(region: &Region, delta: &[f64]) -> Image {
    let length = delta.iter().map(|d| d * d).sum::<f64>().sqrt();
    let scale = region.radius.unwrap_or(0.0) / length.max(f64::MIN_POSITIVE);
    let mut x = region.center.clone();
    for (x, d) in x.pixels_mut().iter_mut().zip(delta) {
        *x = (f64::from(*x) + d * scale) as f32;
    }
    region.bounds.clamp(x.pixels_mut());
    // Float rounding may leave the result slightly beyond the radius.
    region.project(&mut x);
    x
}

/// A hill over a rectangle, of unit length: nested rectangles around its middle, where larger ones weigh less.
fn hill(height: usize, width: usize) -> Vec<f64> {
    let mut values = vec![0.0; height * width];
    let (middle_row, middle_column) = ((height / 2) as i64, (width / 2) as i64);
    let rings = (height / 2 + 1).max(width / 2 + 1) as i64;
    for ring in 0..rings {
        let weight = 1.0 / ((ring + 1) * (ring + 1)) as f64;
        let within = |middle: i64, length: usize| {
            let low = (middle - ring).max(0);
            let high = (middle + ring + 1).min(length as i64);
            low as usize..high.max(low) as usize
        };
        for row in within(middle_row, height) {
            for column in within(middle_column, width) {
                values[row * width + column] += weight;
            }
        }
    }
    normalised(values)
}

fn normalised(mut values: Vec<f64>) -> Vec<f64> {
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    for value in &mut values {
        *value /= length.max(f64::MIN_POSITIVE);
    }
    values
}

/// Two hills, one turned upside down, side by side or one above the other, in a square; of unit length.
fn two_hills(side: usize, rng: &mut impl Rng) -> Vec<f64> {
    let upper = side / 2;
    let mut values = hill(upper, side);
    values.extend(hill(side - upper, side).into_iter().map(|value| -value));
    let mut values = normalised(values);
    if rng.random() {
        values = (0..side * side)
            .map(|at| values[at % side * side + at / side])
            .collect();
    }
    values
}

/// Adds one patch to the best point.
fn propose(region: &Region, x: &Image, share: f64, rng: &mut impl Rng) -> Image {
    let [channels, height, width] = x.shape();
    let side = (share * (height * width) as f64).sqrt().round() as usize;
    let eps = region.radius.unwrap_or(0.0);
    if region.norm == Norm::Linf {
        let side = side.clamp(1, height.min(width));
        let mut window = place(height, width, side, rng);
        let mut x = x.clone();
        for channel in 0..channels {
            window.channel = channel;
            let step = 2.0 * eps * sign(rng);
            let pixels = x.pixels_mut();
            for at in window.places([height, width]) {
                pixels[at] = (f64::from(pixels[at]) + step) as f32;
            }
        }
        region.project(&mut x);
        return x;
    }
    let side = (side.max(3) | 1).min(height.min(width));
    let (mut window, mut source) = (
        place(height, width, side, rng),
        place(height, width, side, rng),
    );
    let mut delta: Vec<f64> = x
        .pixels()
        .iter()
        .zip(region.center.pixels())
        .map(|(x, center)| f64::from(*x) - f64::from(*center))
        .collect();
    let square_sum: f64 = delta.iter().map(|d| d * d).sum();
    let missing = (eps * eps - square_sum).max(0.0) / channels as f64;
    let shape = two_hills(side, rng);
    for channel in 0..channels {
        (window.channel, source.channel) = (channel, channel);
        let places: Vec<usize> = window.places([height, width]).collect();
        let length = places
            .iter()
            .map(|&at| delta[at] * delta[at])
            .sum::<f64>()
            .sqrt();
        let sign = sign(rng);
        let patch: Vec<f64> = places
            .iter()
            .zip(&shape)
            .map(|(&at, value)| sign * value + delta[at] / (1e-12 + length))
            .collect();
        // The norm that the patch may use: both windows, counting each value once, and the norm missing to eps.
        let of_patch: f64 = places.iter().map(|&at| delta[at] * delta[at]).sum();
        let mut of_both = of_patch;
        for at in source.places([height, width]) {
            let (row, column) = (at / width % height, at % width);
            if !(window.rows.contains(&row) && window.columns.contains(&column)) {
                of_both += delta[at] * delta[at];
            }
            delta[at] = 0.0;
        }
        let weight = (missing + of_both).sqrt();
        for (&at, value) in places.iter().zip(normalised(patch)) {
            delta[at] = value * weight;
        }
    }
    scaled(region, &delta)
}

/// Returns a window of this side at a random place.
fn place(height: usize, width: usize, side: usize, rng: &mut impl Rng) -> Window {
    let (top, left) = (
        rng.random_range(0..=height - side),
        rng.random_range(0..=width - side),
    );
    Window {
        channel: 0,
        rows: top..top + side,
        columns: left..left + side,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::attacks::{
        Attack,
        toys::{Setup, Toy, jobs, run},
    };

    #[test]
    fn patches_shrink_on_schedule() {
        for (questions, halvings) in [(0, 0), (10, 0), (11, 1), (50, 1), (51, 2), (8001, 9)] {
            assert_eq!(share(0.8, questions), 0.8 / f64::from(1 << halvings));
        }
    }

    /// The hill of a 2 by 5 rectangle, computed by hand: rings of 1, 1/4 and 1/9 around its middle.
    #[test]
    fn a_hill_is_highest_in_its_middle() {
        let hill = hill(2, 5);
        let ratio = |at: usize| hill[at] / hill[7];
        let top = 1.0 + 0.25 + 1.0 / 9.0;
        assert!((ratio(8) - (0.25 + 1.0 / 9.0) / top).abs() < 1e-12);
        assert!((ratio(5) - 1.0 / 9.0 / top).abs() < 1e-12);
        let length: f64 = hill.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-12);
    }

    /// Every proposal uses the full radius, in pictures of any shape.
    #[test]
    fn proposals_lie_on_the_surface_of_the_ball() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for shape in [[3, 8, 8], [1, 5, 9], [1, 2, 3]] {
            let mut center = Image::zeros(shape);
            center.pixels_mut().fill(0.5);
            for (norm, eps) in [(Norm::Linf, 0.1), (Norm::L2, 0.4)] {
                let region = Region::new(center.clone(), norm, Some(eps));
                let mut x = stripes_or_hills(&region, &mut rng);
                for query in 0..30 {
                    assert!(region.contains(&x), "{norm} {shape:?}");
                    let ratio = region.distance(&x) / eps;
                    assert!((ratio - 1.0).abs() < 1e-5, "{norm} {shape:?}: {ratio}");
                    x = propose(&region, &x, share(0.8, query * 10), &mut rng);
                }
            }
        }
    }

    #[test]
    fn it_asks_as_often_as_it_may_and_no_more() {
        let toy = Toy::tanh();
        let attack = Attack::parse("square(queries=60, restarts=2)").unwrap();
        for (candidate, spent) in run(
            toy,
            &attack,
            &jobs(toy, false, 8),
            &Setup::within(Norm::L2, 0.01),
        ) {
            assert!(!candidate.reached);
            assert_eq!((spent.queries, spent.gradients), (120, 0));
            assert!(candidate.loss.windows(2).all(|pair| pair[1] > pair[0]));
        }
    }
}
