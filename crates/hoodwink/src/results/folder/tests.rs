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
    drop(folder);

    let again = RunFolder::create(&path, &run(100)).unwrap();
    assert_eq!(again.missing_parts(), [0]);
    again.write_part(0, &rows_of(0..64)).unwrap();
    assert!(again.missing_parts().is_empty());
    let opened = RunFolder::open(&path).unwrap();
    assert_eq!(opened.run(), &run(100));
    assert_eq!(opened.rows().unwrap(), rows_of(0..100));
}

#[test]
fn samples_are_kept_until_their_part_is_complete() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let folder = RunFolder::create(&path, &run(100)).unwrap();
    for sample in [3, 64, 99] {
        folder.keep(&rows_of(sample..sample + 1)).unwrap();
    }
    assert_eq!(folder.missing_samples(), 97);
    assert_eq!(folder.rows().unwrap().len(), 3 * 4);
    assert_eq!(
        Vec::from_iter(folder.kept().unwrap().into_keys()),
        [3, 64, 99]
    );

    folder.write_part(1, &rows_of(64..100)).unwrap();
    assert_eq!(Vec::from_iter(folder.kept().unwrap().into_keys()), [3]);
    assert_eq!(folder.missing_samples(), 63);
    folder.write_part(0, &rows_of(0..64)).unwrap();
    assert_eq!(folder.rows().unwrap(), rows_of(0..100));
    folder.clear_kept().unwrap();
    assert!(!path.join(KEPT).exists());
    folder.clear_kept().unwrap();
}

#[test]
fn a_partition_has_its_own_samples_and_parts() {
    for (partition, samples, parts) in [
        ("1/3", 0..66, vec![0..64, 64..66]),
        ("2/3", 66..133, vec![66..128, 128..133]),
        ("3/3", 133..200, vec![133..192, 192..200]),
        ("1/300", 0..0, vec![]),
        ("2/2", 100..200, vec![100..128, 128..192, 192..200]),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let mut run = run(200);
        run.partition = Some(partition.parse().unwrap());
        let folder = RunFolder::create(parent.path(), &run).unwrap();
        assert_eq!(folder.samples(), samples);
        let found = folder.parts().map(|part| folder.samples_of_part(part));
        assert_eq!(found.collect::<Vec<_>>(), parts, "{partition}");
        assert_eq!(RunFolder::open(parent.path()).unwrap().run(), &run);
    }
}

#[test]
fn one_process_writes_at_a_time() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(1)).unwrap();
    let refusal = RunFolder::create(parent.path(), &run(1)).unwrap_err();
    assert!(refusal.to_string().contains("another process"), "{refusal}");
    RunFolder::open(parent.path()).unwrap();
    let copy = folder.clone();
    drop(folder);
    RunFolder::create(parent.path(), &run(1)).unwrap_err();
    drop(copy);
    RunFolder::create(parent.path(), &run(1)).unwrap();
}

#[test]
fn other_settings_are_refused_with_their_differences() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(100)).unwrap();
    folder.write_part(0, &rows_of(0..64)).unwrap();
    drop(folder);
    let mut other = run(100);
    other.options.insert("steps".into(), 40.into());
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
        library: Some("/usr/lib/libonnxruntime.so".to_owned()),
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
