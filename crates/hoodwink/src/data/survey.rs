//! A survey of a data set: sizes, labels, duplicates, and pictures that are in another set too.

use std::collections::{BTreeMap, HashMap};

use super::likeness::Likeness;
use super::neighbours::Neighbours;
use super::{Dataset, Sample};
use crate::{error::Result, parallel::in_order};

/// The record of one picture, under half a kilobyte whatever its size.
#[derive(Clone, Debug)]
pub struct Entry {
    /// See [`Sample::file`].
    pub file: String,
    /// See [`Sample::label`].
    pub label: Option<usize>,
    /// See [`Sample::id`]. Equal if and only if the pictures are equal.
    pub id: String,
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// Features to find copies by; `None` if not requested, or if the picture is too small or too plain.
    pub likeness: Option<Likeness>,
}

/// The records of every picture of a data set, in order. They do not depend on the number of threads.
#[derive(Clone, Debug)]
pub struct Survey {
    /// By sample index.
    pub entries: Vec<Entry>,
}

/// Pictures that are equal, pixel by pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// The indices of at least two samples, ascending.
    pub indices: Vec<usize>,
    /// Whether they have different labels, so that at least one label is wrong.
    pub contradictory: bool,
}

/// A picture that is also in another data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leak {
    /// The index of the sample.
    pub index: usize,
    /// The index of a sample of the other data set: the first equal one, else the most similar.
    pub other: usize,
    /// Whether they are equal, pixel by pixel. Otherwise one seems to be a copy, resized or saved with loss.
    pub exact: bool,
}

impl Survey {
    /// Reads every picture. `likenesses` says whether to prepare the search for copies. `done` is called with the
    /// number of pictures done.
    pub fn new(
        data: &Dataset,
        likenesses: bool,
        threads: usize,
        done: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let look = |index| {
            let Sample {
                id,
                file,
                label,
                picture,
                ..
            } = data.get(index)?;
            Ok(Entry {
                file,
                label,
                id,
                shape: [picture.channels(), picture.height(), picture.width()],
                likeness: match likenesses {
                    true => Likeness::of(picture)?,
                    false => None,
                },
            })
        };
        let entries = in_order(data.len(), threads, look, done)?;
        Ok(Self { entries })
    }

    /// Returns the number of pictures of each shape `[channels, height, width]`, the most frequent first.
    pub fn shapes(&self) -> Vec<([usize; 3], usize)> {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.shape).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        counts
    }

    /// Returns the number of pictures of each label; empty without labels.
    pub fn labels(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for label in self.entries.iter().filter_map(|entry| entry.label) {
            *counts.entry(label).or_insert(0) += 1;
        }
        counts
    }

    /// Returns groups of equal pictures, ordered by their first picture.
    pub fn duplicates(&self) -> Vec<Duplicates> {
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            groups.entry(&entry.id).or_default().push(index);
        }
        let mut found: Vec<Duplicates> = groups
            .into_values()
            .filter(|indices| indices.len() > 1)
            .map(|indices| {
                let label = |&index: &usize| self.entries[index].label;
                let labels: Vec<usize> = indices.iter().filter_map(label).collect();
                Duplicates {
                    contradictory: labels.windows(2).any(|pair| pair[0] != pair[1]),
                    indices,
                }
            })
            .collect();
        found.sort_unstable_by_key(|group| group.indices[0]);
        found
    }

    /// Returns the pictures that are also in the other data set, in order. Inexact copies are found among pictures with
    /// an [`Entry::likeness`], all that an exhaustive comparison would find. `done` is called with the number of
    /// pictures searched for.
    pub fn leaks(
        &self,
        other: &Self,
        threads: usize,
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Leak>> {
        let mut ids = HashMap::new();
        for (index, entry) in other.entries.iter().enumerate() {
            ids.entry(&*entry.id).or_insert(index);
        }
        let known = (other.entries.iter().enumerate())
            .filter_map(|(index, entry)| Some((index, entry.likeness.as_ref()?)));
        let known = Neighbours::new(known);
        let find = |index: usize| {
            let entry = &self.entries[index];
            if let Some(&other) = ids.get(&*entry.id) {
                let exact = true;
                return Ok(Some(Leak {
                    index,
                    other,
                    exact,
                }));
            }
            let Some(likeness) = &entry.likeness else {
                return Ok(None);
            };
            // Of several equally near ones, keep the first.
            let mut nearest: Option<(f64, usize)> = None;
            known.near(likeness, &mut |distance, other| {
                if nearest.is_none_or(|nearest| (distance, other) < nearest) {
                    nearest = Some((distance, other));
                }
            });
            Ok(nearest.map(|(_, other)| Leak {
                index,
                other,
                exact: false,
            }))
        };
        let found = in_order(self.entries.len(), threads, find, done)?;
        Ok(found.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Picture;

    /// A disc of this radius on a ground of this level, 40 pixels wide.
    fn disc(radius: usize, ground: u8) -> Picture {
        let levels = (0..1600_usize).map(|at| {
            let inside =
                (at % 40).abs_diff(12).pow(2) + (at / 40).abs_diff(25).pow(2) < radius.pow(2);
            if inside { 250 } else { ground }
        });
        Picture::new(1, 40, 40, levels.collect()).unwrap()
    }

    fn survey(pictures: Vec<(Picture, usize)>, threads: usize) -> Survey {
        let data = Dataset::from_pictures("drawn", pictures, None).unwrap();
        Survey::new(&data, true, threads, &mut |_| {}).unwrap()
    }

    #[test]
    fn equal_pictures_are_grouped_and_contradictions_marked() {
        let line = Picture::new(1, 1, 2, vec![7, 7]).unwrap();
        let column = Picture::new(1, 2, 1, vec![7, 7]).unwrap();
        let pictures = vec![
            (disc(5, 0), 1),
            (line.clone(), 0),
            (disc(9, 0), 2),
            (column, 0),
            (disc(9, 0), 3),
            (line.clone(), 0),
            (line, 0),
        ];
        for threads in [1, 3] {
            let survey = survey(pictures.clone(), threads);
            let group = |indices: &[usize], contradictory| Duplicates {
                indices: indices.to_vec(),
                contradictory,
            };
            assert_eq!(
                survey.duplicates(),
                [group(&[1, 5, 6], false), group(&[2, 4], true)]
            );
            assert_eq!(
                survey.shapes(),
                [([1, 1, 2], 3), ([1, 40, 40], 3), ([1, 2, 1], 1)]
            );
            assert_eq!(
                Vec::from_iter(survey.labels()),
                [(0, 4), (1, 1), (2, 1), (3, 1)]
            );
        }
    }

    #[test]
    fn what_is_in_both_sets_is_found_once() {
        let of_test = survey(vec![(disc(14, 10), 0), (disc(5, 0), 0), (disc(9, 0), 0)], 2);
        let of_training = survey(
            vec![
                (disc(9, 2), 0),
                (disc(9, 1), 0),
                (disc(5, 0), 0),
                (disc(5, 1), 0),
                (disc(5, 0), 0),
            ],
            2,
        );
        let leak = |index, other, exact| Leak {
            index,
            other,
            exact,
        };
        let mut last = 0;
        let found = of_test
            .leaks(&of_training, 2, &mut |done| last = done)
            .unwrap();
        assert_eq!(found, [leak(1, 2, true), leak(2, 1, false)]);
        assert_eq!(last, 3);
    }

    #[test]
    fn a_broken_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a.png", disc(5, 0).encode_png()), ("b.png", vec![0; 9])] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let data = Dataset::open(folder.path(), &Default::default()).unwrap();
        let error = Survey::new(&data, false, 2, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("b.png"), "{error}");
    }
}
