use sha2::{Digest, Sha256};

use super::noise::{floor, wave};
use super::*;

/// The first value of every cue.
fn plain_spec(class: usize) -> SceneSpec {
    SceneSpec::new(class, Cues::default(), 11).unwrap()
}

/// Which pixels differ.
fn changed(a: &Picture, b: &Picture) -> Vec<bool> {
    let pixels = a.bytes().chunks_exact(3).zip(b.bytes().chunks_exact(3));
    pixels.map(|(a, b)| a != b).collect()
}

fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|&&set| set).count()
}

/// Pearson's statistic of a contingency table, in standard deviations from its mean under
/// independence.
fn excess(table: &[Vec<f64>]) -> f64 {
    let total: f64 = table.iter().flatten().sum();
    let columns = table[0].len();
    let column = |j: usize| table.iter().map(|row| row[j]).sum::<f64>();
    let mut statistic = 0.0;
    for row in table {
        let sum: f64 = row.iter().sum();
        for (j, seen) in row.iter().enumerate() {
            let expected = sum * column(j) / total;
            statistic += (seen - expected).powi(2) / expected;
        }
    }
    let freedom = ((table.len() - 1) * (columns - 1)) as f64;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

#[test]
fn pictures_are_the_same_on_every_platform() {
    let mut hash = Sha256::new();
    for (side, scenes) in [(16, 10), (32, 30), (64, 10), (101, 2)] {
        let set = Scenes::new(side, 2024).unwrap();
        for index in 0..scenes {
            hash.update(set.scene(index).picture.bytes());
        }
    }
    let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        digest,
        "1548c9ec9738acbe994e315aae48486e8dda0a4507bcabab8d9529c383751371"
    );
}

#[test]
fn a_scene_depends_on_seed_and_index_alone() {
    let scenes = Scenes::new(32, 3).unwrap();
    let late = scenes.scene(1_000_003);
    let early = scenes.scene(5);
    assert_eq!(scenes.scene(1_000_003), late);
    assert_eq!(scenes.clone().scene(5), early);
    assert_eq!(late.spec.render(32).unwrap(), late.picture);
    assert_ne!(scenes.spec(6), early.spec);
    assert_ne!(Scenes::new(32, 4).unwrap().spec(5), early.spec);
    assert_eq!(Scenes::new(64, 3).unwrap().spec(5), early.spec);
    scenes.scene(u64::MAX);
}

#[test]
fn every_ten_scenes_hold_every_class_once_in_random_order() {
    let scenes = Scenes::new(16, 0).unwrap();
    let mut first = [0; CLASSES.len()];
    for block in 0..200 {
        let order: Vec<_> = (0..10)
            .map(|i| scenes.spec(10 * block + i).class())
            .collect();
        first[order[0]] += 1;
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    // 20 expected, with a standard deviation of 4.2.
    assert!(first.iter().all(|n| (3..=40).contains(n)), "{first:?}");
}

#[test]
fn free_cues_depend_neither_on_the_class_nor_on_each_other() {
    let scenes = Scenes::new(16, 1).unwrap();
    let specs: Vec<_> = (0..8000).map(|index| scenes.spec(index)).collect();
    let mut variables: Vec<(usize, Vec<usize>)> =
        vec![(10, specs.iter().map(|s| s.class()).collect())];
    for cue in Cue::ALL {
        let values = specs.iter().map(|s| s.cues().get(cue)).collect();
        variables.push((cue.values().len(), values));
    }
    for (i, (rows, a)) in variables.iter().enumerate() {
        for (columns, b) in &variables[..i] {
            let mut table = vec![vec![0.0; *columns]; *rows];
            for (&row, &column) in a.iter().zip(b) {
                table[row][column] += 1.0;
            }
            assert!(excess(&table).abs() < 4.5, "variable {i}");
        }
    }
}

#[test]
fn tied_cues_take_the_assigned_value_as_often_as_asked() {
    let n = 6000;
    for (probability, shift) in [(0.0, 0), (0.3, 0), (0.9, 3), (1.0, 14)] {
        for cue in Cue::ALL {
            let ties = Correlations::none().with(cue, probability, shift).unwrap();
            let scenes = Scenes::new(16, 5).unwrap().with_correlations(ties);
            let hits = (0..n)
                .map(|index| scenes.spec(index))
                .filter(|s| s.cues().get(cue) == cue.assigned(s.class(), shift))
                .count() as f64;
            let rate = probability + (1.0 - probability) / cue.values().len() as f64;
            let deviation = (n as f64 * rate * (1.0 - rate)).sqrt();
            let off = (hits - n as f64 * rate).abs();
            assert!(off <= 4.5 * deviation, "{cue:?} {probability}: {hits}");
        }
    }
}

#[test]
fn a_tie_changes_nothing_but_its_cue() {
    let free = Scenes::new(16, 9).unwrap();
    let ties = Correlations::none().with(Cue::Colour, 1.0, 2).unwrap();
    let tied = free.clone().with_correlations(ties);
    for index in 0..100 {
        let (a, b) = (free.spec(index), tied.spec(index));
        let value = Cue::Colour.assigned(a.class(), 2);
        assert_eq!(a.with(Cue::Colour, value).unwrap(), b);
    }
}

#[test]
fn a_changed_cue_leaves_the_others() {
    for cue in Cue::ALL {
        let spec = Scenes::new(16, 2).unwrap().spec(17);
        let value = (spec.cues().get(cue) + 1) % cue.values().len();
        let other = spec.with(cue, value).unwrap();
        assert_eq!(other.cues().get(cue), value);
        assert_eq!(other.class(), spec.class());
        for kept in Cue::ALL.into_iter().filter(|&kept| kept != cue) {
            assert_eq!(other.cues().get(kept), spec.cues().get(kept));
        }
        let back = other.with(cue, spec.cues().get(cue)).unwrap();
        assert_eq!(back.render(48).unwrap(), spec.render(48).unwrap());
    }
}

#[test]
fn object_and_background_share_no_pixel() {
    for (class, name) in CLASSES.into_iter().enumerate() {
        let spec = plain_spec(class).with(Cue::Size, 2).unwrap();
        let original = spec.render(64).unwrap();
        let repainted = spec.with(Cue::Colour, 5).unwrap().render(64).unwrap();
        let moved = spec.with(Cue::Background, 8).unwrap().render(64).unwrap();
        let object = changed(&original, &repainted);
        let scenery = changed(&original, &moved);
        assert!(count(&object) > 500, "{name}");
        assert!(count(&scenery) > 500, "{name}");
        let shared = object.iter().zip(&scenery).filter(|(a, b)| **a && **b);
        assert_eq!(shared.count(), 0, "{name}");
    }
}

#[test]
fn larger_sizes_show_more_of_the_object() {
    for class in 0..CLASSES.len() {
        let areas: Vec<_> = (0..3)
            .map(|size| {
                let spec = plain_spec(class).with(Cue::Size, size).unwrap();
                let repainted = spec.with(Cue::Colour, 5).unwrap();
                count(&changed(
                    &spec.render(64).unwrap(),
                    &repainted.render(64).unwrap(),
                ))
            })
            .collect();
        assert!(areas.is_sorted_by(|a, b| a < b), "{areas:?}");
    }
}

#[test]
fn every_value_and_every_class_looks_different() {
    let draw = |spec: SceneSpec| spec.render(32).unwrap();
    let mut pictures: Vec<_> = (0..CLASSES.len()).map(|k| draw(plain_spec(k))).collect();
    for cue in Cue::ALL {
        for value in 1..cue.values().len() {
            pictures.push(draw(plain_spec(0).with(cue, value).unwrap()));
        }
    }
    for (i, a) in pictures.iter().enumerate() {
        assert!(pictures[..i].iter().all(|b| b != a), "picture {i}");
    }
}

#[test]
fn every_name_is_given_once() {
    let tables = Cue::ALL.map(Cue::values).into_iter();
    for table in tables.chain([CLASSES.as_slice()]) {
        let mut names = table.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table.len(), "{table:?}");
    }
    let spec = plain_spec(0).with(Cue::Lighting, 3).unwrap();
    assert_eq!(spec.cues().name(Cue::Lighting), "moonlight");
}

#[test]
fn assignments_wrap_around_the_values() {
    let cases = [
        (Cue::Background, 2, 0, "water"),
        (Cue::Background, 9, 1, "sky"),
        (Cue::Lighting, 8, 0, "moonlight"),
        (Cue::Lighting, 8, 5, "moonlight"),
        (Cue::Size, 9, usize::MAX, "small"),
    ];
    for (cue, class, shift, name) in cases {
        assert_eq!(cue.values()[cue.assigned(class, shift)], name);
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    for side in [0, 15, 257, usize::MAX] {
        assert!(Scenes::new(side, 0).is_err());
        assert!(plain_spec(0).render(side).is_err());
    }
    for side in [16, 17, 255, 256] {
        let picture = plain_spec(1).render(side).unwrap();
        assert_eq!(
            [picture.height(), picture.width(), picture.channels()],
            [side, side, 3]
        );
    }
    assert!(plain_spec(0).with_class(10).is_err());
    assert!(SceneSpec::new(usize::MAX, Cues::default(), 0).is_err());
    for cue in Cue::ALL {
        let message = Cues::default().with(cue, 300).unwrap_err().to_string();
        assert!(message.contains(cue.values()[0]), "{message}");
        for probability in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Correlations::none().with(cue, probability, 0).is_err());
        }
    }
}

#[test]
fn the_own_functions_are_close_to_those_they_stand_for() {
    for x in [-3.0_f32, -2.5, -1e-6, -0.0, 0.0, 0.7, 1.0, 12345.6] {
        assert_eq!(floor(x), x.floor());
    }
    for step in -20..=20 {
        let x = step as f32 / 10.0;
        assert!((wave(x) - (std::f32::consts::TAU * x).sin()).abs() < 0.06);
    }
}
