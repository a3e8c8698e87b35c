//! An exact search for the copies of a picture that does not compare it with every other.
//!
//! The distance of two thumbnails is at least that of their coarse patterns, which are coefficients of an orthonormal
//! cosine transform. A few of them hold most of the differences between pictures. A tree over these excludes what is
//! too far away, and the rest is compared as without a tree.

use std::{array, f64::consts::PI};

use super::likeness::{HEIGHT, LARGEST_DIFFERENCE, Likeness, WIDTH};

/// The number of waves from top to bottom and from side to side of each coarse pattern.
const PATTERNS: [[usize; 2]; 8] = [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
    [0, 2],
    [2, 0],
    [1, 2],
    [2, 1],
];

/// The coefficients of the coarse patterns in a thumbnail, in levels times the square root of its number of pixels.
type Coarse = [f32; PATTERNS.len()];

/// An upper bound on the error of a coefficient in single precision.
const SLACK: f32 = 0.05;

/// Maximum number of likenesses in a leaf of the tree, which is searched one by one.
const LEAF: usize = 16;

/// A searchable set of likenesses with their indices.
#[derive(Debug)]
pub(super) struct Neighbours<'a> {
    /// In tree order: the middle node of each range splits the others along its axis.
    nodes: Vec<Node<'a>>,
    patterns: Vec<[f64; HEIGHT * WIDTH]>,
}

#[derive(Debug)]
struct Node<'a> {
    coarse: Coarse,
    axis: usize,
    index: usize,
    likeness: &'a Likeness,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(likenesses: impl Iterator<Item = (usize, &'a Likeness)>) -> Self {
        let patterns: Vec<_> = PATTERNS.iter().map(|waves| pattern(*waves)).collect();
        let node = |(index, likeness): (usize, &'a Likeness)| Node {
            coarse: coarse(&patterns, likeness),
            axis: 0,
            index,
            likeness,
        };
        let mut nodes: Vec<Node<'_>> = likenesses.map(node).collect();
        arrange(&mut nodes);
        Self { nodes, patterns }
    }

    /// Calls `found` with the distance and index of each copy, in no particular order.
    pub(super) fn near(&self, likeness: &Likeness, found: &mut impl FnMut(f64, usize)) {
        let pixels = (HEIGHT * WIDTH) as f64;
        // The smaller contrast of the two counts, and this one is at least that.
        let radius = LARGEST_DIFFERENCE * likeness.contrast() * pixels.sqrt();
        let query = Query {
            coarse: coarse(&self.patterns, likeness),
            radius: radius as f32 + SLACK,
            likeness,
        };
        query.search(&self.nodes, found);
    }
}

/// The picture to search for.
struct Query<'a> {
    coarse: Coarse,
    radius: f32,
    likeness: &'a Likeness,
}

impl Query<'_> {
    fn search(&self, nodes: &[Node<'_>], found: &mut impl FnMut(f64, usize)) {
        if nodes.len() <= LEAF {
            for node in nodes {
                self.compare(node, found);
            }
            return;
        }
        let (below, rest) = nodes.split_at(nodes.len() / 2);
        let Some((node, above)) = rest.split_first() else {
            return;
        };
        self.compare(node, found);
        let beyond = self.coarse[node.axis] - node.coarse[node.axis];
        if beyond <= self.radius {
            self.search(below, found);
        }
        if beyond >= -self.radius {
            self.search(above, found);
        }
    }

    fn compare(&self, node: &Node<'_>, found: &mut impl FnMut(f64, usize)) {
        let pairs = self.coarse.iter().zip(&node.coarse);
        let squares: f32 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
        if squares <= self.radius.powi(2)
            && let Some(distance) = self.likeness.distance(node.likeness)
        {
            found(distance, node.index);
        }
    }
}

/// Arranges nodes in tree order.
fn arrange(nodes: &mut [Node<'_>]) {
    if nodes.len() <= LEAF {
        return;
    }
    let spread = |axis: usize| {
        let ends = (f32::INFINITY, f32::NEG_INFINITY);
        let (low, high) = nodes.iter().fold(ends, |(low, high), node| {
            (low.min(node.coarse[axis]), high.max(node.coarse[axis]))
        });
        high - low
    };
    let widest = (0..PATTERNS.len()).max_by(|&a, &b| spread(a).total_cmp(&spread(b)));
    let axis = widest.unwrap_or(0);
    let middle = nodes.len() / 2;
    nodes.select_nth_unstable_by(middle, |a, b| a.coarse[axis].total_cmp(&b.coarse[axis]));
    nodes[middle].axis = axis;
    let (below, rest) = nodes.split_at_mut(middle);
    arrange(below);
    arrange(&mut rest[1..]);
}

fn coarse(patterns: &[[f64; HEIGHT * WIDTH]], likeness: &Likeness) -> Coarse {
    array::from_fn(|at| {
        let pairs = patterns[at].iter().zip(likeness.thumbnail());
        pairs
            .map(|(share, &level)| share * f64::from(level))
            .sum::<f64>() as f32
    })
}

/// Returns a wave of the cosine transform over a thumbnail, of unit length.
fn pattern([down, across]: [usize; 2]) -> [f64; HEIGHT * WIDTH] {
    let wave = |waves: usize, at: usize, side: usize| {
        let scale = if waves == 0 { 1.0 } else { 2.0 } / side as f64;
        scale.sqrt() * (PI * waves as f64 * (at as f64 + 0.5) / side as f64).cos()
    };
    array::from_fn(|at| wave(down, at / WIDTH, HEIGHT) * wave(across, at % WIDTH, WIDTH))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::super::{DataOptions, Dataset};
    use super::*;
    use crate::{image::Picture, testing::assets};

    #[test]
    fn coarse_patterns_are_orthonormal() {
        let patterns = PATTERNS.map(pattern);
        for (n, a) in patterns.iter().enumerate() {
            for (m, b) in patterns.iter().enumerate() {
                let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                let expected = f64::from(u8::from(n == m));
                assert!((product - expected).abs() < 1e-12, "{n}, {m}: {product}");
            }
        }
    }

    /// The pairs of copies in two sets with their distances, looking at every pair and by the tree.
    fn both_ways(ours: &[Likeness], theirs: &[Likeness]) -> usize {
        let tree = Neighbours::new(theirs.iter().enumerate());
        let mut pairs = 0;
        for (n, one) in ours.iter().enumerate() {
            let others = theirs.iter().enumerate();
            let each = others.filter_map(|(m, other)| Some((one.distance(other)?, m)));
            let mut expected: Vec<(f64, usize)> = each.collect();
            let mut found = Vec::new();
            tree.near(one, &mut |distance, m| found.push((distance, m)));
            for list in [&mut expected, &mut found] {
                list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            }
            assert_eq!(found, expected, "likeness {n}");
            pairs += found.len();
        }
        pairs
    }

    /// Blotches of random size, some of them with a little noise many times over, so that there are copies of all
    /// degrees.
    fn drawn(count: usize, seed: u64) -> Vec<Likeness> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut likenesses = Vec::new();
        while likenesses.len() < count {
            let blotches: Vec<[f64; 4]> = (0..4)
                .map(|_| [32.0, 32.0, 16.0, 255.0].map(|most| rng.random_range(0.0..most)))
                .collect();
            for _ in 0..rng.random_range(1..6) {
                let noise = rng.random_range(0.5..60.0);
                let levels = (0..32 * 32).map(|at| {
                    let (x, y) = (f64::from(at % 32), f64::from(at / 32));
                    let level: f64 = (blotches.iter())
                        .map(|[left, top, size, level]| {
                            let square = (x - left).powi(2) + (y - top).powi(2);
                            level * (-square / (1.0 + size * size)).exp()
                        })
                        .sum();
                    (level + rng.random_range(-noise..noise)).clamp(0.0, 255.0) as u8
                });
                let picture = Picture::new(1, 32, 32, levels.collect()).unwrap();
                likenesses.extend(Likeness::of(picture).unwrap());
            }
        }
        likenesses
    }

    #[test]
    fn the_tree_finds_what_looking_at_every_pair_finds() {
        for seed in 0..4 {
            let (ours, theirs) = (drawn(150, seed), drawn(220, seed + 100));
            let within = both_ways(&ours, &ours);
            assert!(within > ours.len(), "seed {seed}: {within} pairs");
            both_ways(&ours, &theirs);
        }
        assert_eq!(both_ways(&drawn(3, 7), &[]), 0);
    }

    #[test]
    fn so_it_does_among_real_pictures() {
        let likenesses = |path: &str, limit| {
            let options = DataOptions {
                limit,
                ..DataOptions::default()
            };
            let data = Dataset::open(&assets().join(path), &options).unwrap();
            let pictures = (0..data.len()).map(|index| data.get(index).unwrap().picture);
            let likenesses = pictures.filter_map(|picture| Likeness::of(picture).unwrap());
            likenesses.collect::<Vec<_>>()
        };
        let photographs = likenesses("imagenet/images", Some(40));
        assert_eq!(both_ways(&photographs, &photographs), photographs.len());
        let cifar = likenesses("cifar10/train_0-1999_x_u8_NHWC.npy", Some(600));
        assert_eq!(both_ways(&cifar, &cifar), cifar.len());
        both_ways(&photographs, &cifar);
    }
}
