use super::*;
use crate::lint::Mistake;
use crate::results::FindingRecord;
use crate::results::example::{all_fooled, fooled, picture, recipe, run};

#[test]
fn a_killed_run_goes_on_with_the_missing_parts() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let folder = RunFolder::create(&path, &run(100)).unwrap();
    assert_eq!(folder.missing_parts().unwrap(), [0, 1]);
    folder.write_part(1, &all_fooled(64..100)).unwrap();
    drop(folder);

    let again = RunFolder::create(&path, &run(100)).unwrap();
    assert_eq!(again.missing_parts().unwrap(), [0]);
    again.write_part(0, &all_fooled(0..64)).unwrap();
    assert!(again.missing_parts().unwrap().is_empty());
    let opened = RunFolder::open(&path).unwrap();
    assert_eq!(opened.run(), &run(100));
    assert_eq!(opened.rows().unwrap(), all_fooled(0..100));
}

#[test]
fn samples_are_kept_until_their_part_is_complete() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let folder = RunFolder::create(&path, &run(100)).unwrap();
    for sample in [3, 64, 99] {
        folder.keep(&all_fooled(sample..sample + 1)).unwrap();
    }
    assert_eq!(folder.missing_samples().unwrap(), 97);
    assert_eq!(folder.rows().unwrap().len(), 3 * 4);
    assert_eq!(
        Vec::from_iter(folder.kept().unwrap().into_keys()),
        [3, 64, 99]
    );

    let all = fs::metadata(path.join(JOURNAL)).unwrap().len();
    folder.write_part(1, &all_fooled(64..100)).unwrap();
    assert_eq!(Vec::from_iter(folder.kept().unwrap().into_keys()), [3]);
    let left = fs::metadata(path.join(JOURNAL)).unwrap().len();
    assert!(left < all / 2, "{left} of {all}");
    assert_eq!(folder.missing_samples().unwrap(), 63);
    folder.write_part(0, &all_fooled(0..64)).unwrap();
    assert_eq!(folder.rows().unwrap(), all_fooled(0..100));
    folder.clear_kept().unwrap();
    assert!(!path.join(JOURNAL).exists());
    folder.clear_kept().unwrap();
}

/// Killed while a sample's rows were written, after any byte.
#[test]
fn a_record_that_is_cut_off_is_written_anew() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let folder = RunFolder::create(&path, &run(100)).unwrap();
    folder.keep(&all_fooled(3..4)).unwrap();
    let one = folder.read(JOURNAL).unwrap();
    folder.keep(&all_fooled(4..5)).unwrap();
    let both = folder.read(JOURNAL).unwrap();
    drop(folder);
    for end in [one.len() + 1, one.len() + 9, both.len() - 1] {
        fs::write(path.join(JOURNAL), &both[..end]).unwrap();
        let opened = RunFolder::open(&path).unwrap();
        assert_eq!(opened.rows().unwrap(), all_fooled(3..4));
        let again = RunFolder::create(&path, &run(100)).unwrap();
        assert_eq!(again.read(JOURNAL).unwrap(), one);
        again.keep(&all_fooled(4..5)).unwrap();
        assert_eq!(again.read(JOURNAL).unwrap(), both);
        assert_eq!(again.missing_samples().unwrap(), 98);
    }
    // Killed when a part was written and the journal was not yet.
    let again = RunFolder::open(&path).unwrap();
    again.write_part(0, &all_fooled(0..64)).unwrap();
    assert!(!path.join(JOURNAL).exists());
    fs::write(path.join(JOURNAL), &both).unwrap();
    let again = RunFolder::create(&path, &run(100)).unwrap();
    assert!(again.read(JOURNAL).unwrap().is_empty());
    assert_eq!(again.rows().unwrap(), all_fooled(0..64));
    fs::remove_file(path.join(part_name(0))).unwrap();
    drop(again);
    // What a disk has changed in the middle is computed again, and so is what follows.
    let mut changed = both.clone();
    changed[20] ^= 1;
    fs::write(path.join(JOURNAL), changed).unwrap();
    let again = RunFolder::create(&path, &run(100)).unwrap();
    assert_eq!(again.missing_samples().unwrap(), 100);
    assert!(again.read(JOURNAL).unwrap().is_empty());
}

#[test]
fn a_journal_of_rows_that_cannot_be_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(100)).unwrap();
    let mut strange = all_fooled(3..4);
    strange[2].index = 4;
    let mut beyond = all_fooled(3..4);
    beyond[2].label = 3;
    for (index, rows, says) in [
        (3, all_fooled(3..5), "sample 3 has more than 4 rows"),
        (
            3,
            all_fooled(3..4)[..3].to_vec(),
            "rows are missing, first those of sample 3",
        ),
        (3, Vec::new(), "rows are missing, first those of sample 3"),
        (3, strange, "row 2, sample 4: it does not belong there"),
        (3, beyond, "row 2, sample 3: label 3 of 3 classes"),
        (100, all_fooled(100..101), "whose samples are 0..100"),
    ] {
        let record = journal::record(index, &rows).unwrap();
        folder.write(JOURNAL, &record).unwrap();
        let refusals = [
            folder.rows().unwrap_err(),
            folder.missing_samples().unwrap_err(),
        ];
        for refusal in refusals.map(|refusal| refusal.to_string()) {
            assert!(refusal.contains(says), "{refusal}");
            assert!(refusal.contains(JOURNAL), "{refusal}");
        }
    }
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
    folder.write_part(0, &all_fooled(0..64)).unwrap();
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

    let mut twice = all_fooled(0..64);
    twice[1] = twice[0].clone();
    let mut strange = all_fooled(0..64);
    strange[5].index = 64;
    let mut other = all_fooled(0..64);
    let row = &mut other[70];
    (row.label, row.clean.label) = (1, 1);
    for verdict in [&mut row.float, &mut row.saved].into_iter().flatten() {
        verdict.seen.label = 2;
    }
    for (rows, says) in [
        (twice, "sample 0 has two rows of one attack"),
        (
            all_fooled(1..64),
            "rows are missing, first those of sample 0",
        ),
        (Vec::new(), "rows are missing"),
        (all_fooled(0..100), "at most 256 belong there"),
        (strange, "row 5, sample 64: it does not belong there"),
        (other, "sample 6 has rows that disagree on it"),
    ] {
        let bytes = table::encode(&rows).unwrap();
        folder.write(&part_name(0), &bytes).unwrap();
        let message = folder.rows().unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
        assert!(message.contains("part-00000.parquet"), "{message}");
    }
}

#[test]
fn a_run_that_cannot_be_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(12)).unwrap();
    folder.write_part(0, &all_fooled(0..12)).unwrap();
    let text = String::from_utf8(folder.read(RUN).unwrap()).unwrap();
    drop(folder);
    for (old, new, says) in [
        (
            "samples = 12",
            "samples = 4611686018427387904",
            "data.samples is 4611686018427387904",
        ),
        (
            "[model]",
            "partition = \"7/18446744073709551615\"\n[model]",
            "part-00000.parquet does not belong to this run",
        ),
        (
            "samples = 12",
            "samples = 1000000000",
            "data.samples is 1000000000",
        ),
        ("samples = 12", "samples = 0", "data.samples is 0"),
        (
            "\"8/255\"",
            &"\"1\", ".repeat(4096),
            "attacks times radii is",
        ),
        ("samples = 12", "samples = 5", "at most 20 belong there"),
        (
            "samples = 12",
            "samples = 60000000",
            "rows are missing, first those of sample 12",
        ),
        ("classes = 3", "classes = 2", "names for 3 classes"),
        (
            "classes = 3",
            "classes = 4294967296",
            "model.classes is 4294967296",
        ),
        (
            "[3, 8, 8]",
            "[3, 99999, 99999]",
            "model.input is [3, 99999, 99999]",
        ),
        ("[3, 8, 8]", "[4, 8, 8]", "model.input is [4, 8, 8]"),
        ("\"8/255\"", "\"eight\"", "\"eight\" is not a radius"),
        ("\"linf\"", "\"l7\"", "l7"),
        (
            "\"untargeted\"",
            "\"targeted\"",
            "\"targeted\" is not a goal",
        ),
        (
            "name = \"pgd\"",
            "name = \"../pgd\"",
            "\"../pgd\" is not the name of an attack",
        ),
        (
            "recipe = \"pgd(loss",
            "recipe = \"fgsm(loss",
            "the attack fgsm(loss = cross-entropy) is named twice",
        ),
        (
            "schema = 2",
            "schema = 1",
            "schema version 1, but this program reads",
        ),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text, "{old}");
        fs::write(parent.path().join(RUN), changed).unwrap();
        let refusal = RunFolder::open(parent.path()).and_then(|folder| folder.rows());
        let refusal = refusal.unwrap_err().to_string();
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn a_folder_that_is_moved_while_it_is_written_is_not_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let folder = RunFolder::create(&path, &run(100)).unwrap();
    fs::rename(&path, parent.path().join("moved")).unwrap();
    let refusal = folder.write_part(0, &all_fooled(0..64)).unwrap_err();
    let refusal = refusal.to_string();
    assert!(refusal.contains("was moved or deleted"), "{refusal}");
    assert!(!path.exists());
}

/// A folder of a stranger: every file that is read or written may be a link, a pipe or a device.
#[cfg(unix)]
#[test]
fn links_pipes_and_devices_are_refused() {
    use std::os::unix::fs::symlink;

    let parent = tempfile::tempdir().unwrap();
    let (path, secret) = (parent.path().join("run"), parent.path().join("secret"));
    fs::write(&secret, "SECRETKEY").unwrap();
    let folder = RunFolder::create(&path, &run(12)).unwrap();
    folder.write_part(0, &all_fooled(0..12)).unwrap();
    folder.keep(&all_fooled(0..1)).unwrap();
    let adversarial = RunFolder::adversarial("pgd", Some("8/255"), 0);
    for name in [&RunFolder::original(0), &adversarial] {
        folder.write_picture(name, &picture(7)).unwrap();
    }
    folder.write_command("hoodwink attack").unwrap();
    folder.write_timing(&Timing::default()).unwrap();
    folder.write_noise(&[]).unwrap();
    drop(folder);
    let all = || -> Result<()> {
        let folder = RunFolder::open(&path)?;
        folder.rows()?;
        folder.keep(&all_fooled(0..1))?;
        folder.noise()?;
        folder.timing()?;
        folder.command()?;
        folder.read_picture(&RunFolder::original(0))?;
        folder.read_picture(&adversarial)?;
        folder.write("report.html", b"report")
    };
    all().unwrap();
    for name in [
        RUN,
        TIMING,
        COMMAND,
        SAMPLES,
        "samples/part-00000.parquet",
        PICTURES,
        "pictures/0.png",
        ADVERSARIAL,
        "adversarial/pgd-8-255",
        &adversarial,
        "report.html",
        "report.html.unfinished",
        JOURNAL,
        SHOWN,
    ] {
        let (at, aside) = (path.join(name), parent.path().join("aside"));
        let was_there = fs::rename(&at, &aside).is_ok();
        for aim in [&secret, Path::new("/dev/zero"), &aside] {
            symlink(aim, &at).unwrap();
            let refusal = all().unwrap_err().to_string();
            let says = ["is a link", "is in the way"];
            assert!(
                says.iter().any(|says| refusal.contains(says)),
                "{name}: {refusal}"
            );
            fs::remove_file(&at).unwrap();
        }
        let made = std::process::Command::new("mkfifo").arg(&at).status();
        assert!(made.unwrap().success());
        all().unwrap_err();
        fs::remove_file(&at).unwrap();
        if was_there {
            fs::rename(&aside, &at).unwrap();
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "SECRETKEY");
    }
    all().unwrap();
}

#[test]
fn pictures_and_timing_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &run(1)).unwrap();
    folder
        .write_picture("pictures/a/0.png", &picture(7))
        .unwrap();
    assert_eq!(folder.read_picture("pictures/a/0.png").unwrap(), picture(7));

    assert_eq!(folder.timing().unwrap(), None);
    let timing = Timing {
        seconds: 1.5,
        threads: 2,
        batch: 8,
        library: Some("/usr/lib/libonnxruntime.so".to_owned()),
        by_attack: [(recipe("pgd"), 2.5)].into(),
    };
    folder.write_timing(&timing).unwrap();
    assert_eq!(folder.timing().unwrap(), Some(timing.clone()));
    for (attack, seconds, says) in [
        ("square", 1.0, "names \"square(loss = cross-entropy)\""),
        ("pgd", -1.0, "pgd(loss = cross-entropy) took -1 seconds"),
        ("pgd", 1e300, "took"),
    ] {
        let timing = Timing {
            by_attack: [(recipe(attack), seconds)].into(),
            ..timing.clone()
        };
        folder.write_timing(&timing).unwrap();
        let refusal = folder.timing().unwrap_err().to_string();
        assert!(refusal.contains(says), "{refusal}");
    }
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

#[test]
fn findings_decide_nothing_and_stay() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run");
    let found = |findings: Option<Vec<FindingRecord>>| Run { findings, ..run(3) };
    let finding = FindingRecord {
        mistake: Mistake::Labels,
        saw: "they are \"shifted\"\nby one".into(),
        matters: "it matters".into(),
        remedy: "shift them back".into(),
    };
    // A folder of an earlier version says nothing, and opens.
    drop(RunFolder::create(&path, &found(None)).unwrap());
    let text = fs::read_to_string(path.join(RUN)).unwrap();
    assert!(!text.contains("findings"));
    assert_eq!(RunFolder::open(&path).unwrap().run().findings, None);

    // Who looks again writes down what was found; who does not, keeps it.
    for (given, expected) in [
        (Some(vec![]), Some(vec![])),
        (Some(vec![finding.clone()]), Some(vec![finding.clone()])),
        (None, Some(vec![finding])),
    ] {
        let folder = RunFolder::create(&path, &found(given)).unwrap();
        assert_eq!(folder.run().findings, expected);
        assert!(
            RunFolder::create(&path, &found(None)).is_err(),
            "it is held"
        );
        assert_eq!(RunFolder::open(&path).unwrap().run().findings, expected);
    }
}
