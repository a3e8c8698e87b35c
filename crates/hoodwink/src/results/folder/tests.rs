use super::*;
use crate::results::example::{fooled, run};

/// Rows of the samples of part `k` in a run of 100 samples, in the order of a run folder.
fn rows_of(indices: std::ops::Range<u64>) -> Vec<Row> {
    let mut rows = Vec::new();
    for attack in ["pgd", "fgsm"] {
        for eps in ["4/255", "8/255"] {
            rows.extend(indices.clone().map(|index| fooled(index, attack, eps)));
        }
    }
    rows
}

#[test]
fn a_killed_run_goes_on_with_the_missing_parts() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let folder = RunFolder::create(&path, &run(100)).unwrap();
    assert_eq!(folder.missing_parts(), [0, 1]);
    folder.write_part(1, &rows_of(64..100)).unwrap();

    let again = RunFolder::create(&path, &run(100)).unwrap();
    assert_eq!(again.missing_parts(), [0]);
    again.write_part(0, &rows_of(0..64)).unwrap();
    assert!(again.missing_parts().is_empty());
    let opened = RunFolder::open(&path).unwrap();
    assert_eq!(opened.run(), &run(100));
    assert_eq!(opened.rows().unwrap(), rows_of(0..100));
}

#[test]
fn shards_merge_by_copying_their_parts_together() {
    let parent = tempfile::tempdir().unwrap();
    let shard = |name| RunFolder::create(parent.path().join(name), &run(100)).unwrap();
    let (whole, first, second) = (shard("whole"), shard("first"), shard("second"));
    for folder in [&whole, &first] {
        folder.write_part(0, &rows_of(0..64)).unwrap();
    }
    for folder in [&whole, &second] {
        folder.write_part(1, &rows_of(64..100)).unwrap();
    }
    let part = part_name(1);
    fs::copy(second.path().join(&part), first.path().join(&part)).unwrap();
    for file in [RUN, &part_name(0), &part] {
        let bytes = |folder: &RunFolder| fs::read(folder.path().join(file)).unwrap();
        assert_eq!(bytes(&first), bytes(&whole), "{file}");
    }
    assert_eq!(first.rows().unwrap(), whole.rows().unwrap());
}

#[test]
fn other_settings_are_refused_with_their_differences() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(100)).unwrap();
    folder.write_part(0, &rows_of(0..64)).unwrap();
    let mut other = run(100);
    other.settings.seed = 7;
    other.attacks[1].recipe = "fgsm()".into();
    other.threat.budget.insert("queries".into(), 50);
    let message = RunFolder::create(parent.path(), &other)
        .unwrap_err()
        .to_string();
    for line in [
        "settings.seed: 0 there, 7 now",
        "attacks[1].recipe: \"fgsm(loss = cross-entropy)\" there, \"fgsm()\" now",
        "threat.budget.queries: absent there, 50 now",
    ] {
        assert!(message.contains(line), "{message}");
    }
    assert_eq!(message.lines().count(), 4, "{message}");
}

#[test]
fn a_run_that_measured_nothing_gives_way_to_other_settings() {
    let parent = tempfile::tempdir().unwrap();
    RunFolder::create(parent.path(), &run(100)).unwrap();
    let mut other = run(100);
    other.settings.seed = 7;
    RunFolder::create(parent.path(), &other).unwrap();
    assert_eq!(RunFolder::open(parent.path()).unwrap().run(), &other);
}

#[test]
fn only_an_empty_folder_becomes_a_run() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("thesis.tex"), "").unwrap();
    let refusal = RunFolder::create(parent.path(), &run(1)).unwrap_err();
    assert!(refusal.to_string().contains("not empty"));

    let killed = tempfile::tempdir().unwrap();
    fs::write(killed.path().join("run.toml.unfinished"), "half").unwrap();
    RunFolder::create(killed.path(), &run(1)).unwrap();
    let file = parent.path().join("thesis.tex");
    assert!(RunFolder::create(&file, &run(1)).is_err());
}

#[test]
fn rows_that_contradict_the_run_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(100)).unwrap();
    let elsewhere = folder.write_part(0, &[fooled(64, "pgd", "8/255")]);
    assert!(elsewhere.unwrap_err().to_string().contains("part 0"));

    let twice = [fooled(3, "pgd", "8/255"), fooled(3, "pgd", "8/255")];
    folder.write_part(0, &twice).unwrap();
    let message = folder.rows().unwrap_err().to_string();
    assert!(message.contains("sample 3 has two rows"), "{message}");

    folder
        .write_part(0, &[fooled(3, "square", "8/255")])
        .unwrap();
    let message = folder.rows().unwrap_err().to_string();
    assert!(message.contains("'square'"), "{message}");
}

#[test]
fn pictures_and_timing_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(1)).unwrap();
    let picture = Picture::new(3, 2, 1, vec![0, 1, 2, 253, 254, 255]).unwrap();
    folder.write_picture("pictures/a/0.png", &picture).unwrap();
    assert_eq!(folder.read_picture("pictures/a/0.png").unwrap(), picture);

    assert_eq!(folder.timing().unwrap(), None);
    let timing = Timing {
        seconds: 1.5,
        threads: 2,
        batch: 8,
        by_attack: [("pgd".to_owned(), 2.5)].into(),
    };
    folder.write_timing(&timing).unwrap();
    assert_eq!(folder.timing().unwrap(), Some(timing));
}

#[test]
fn no_path_leaves_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(1)).unwrap();
    for path in ["", ".", "..", "../a.png", "a/../../b.png", "/etc/passwd"] {
        let refusal = folder.read_picture(path).unwrap_err().to_string();
        assert!(refusal.contains("not a path inside"), "{path}: {refusal}");
        assert!(folder.write(path, b"").is_err(), "{path}");
    }
}
