//! A complete run of two pictures in which one file is the fuzzer's, read as `hoodwink report` and `merge` do.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use hoodwink::image::Picture;
use hoodwink::results::{
    AttackRecord, DataRecord, ModelRecord, Outcome, Row, Run, RunFolder, Seen, Settings, Summary,
    ThreatRecord, Timing, Verdict, merge, table,
};
use hoodwink::{data::Partition, report, threat::Distances};

use crate::data::empty_folder;

const PART: &str = "samples/part-00000.parquet";

/// Writes the run with one file replaced by these bytes, and reads everything. An error is fine, but it must return.
#[allow(dead_code, reason = "the journal belongs to an unfinished run")]
pub(crate) fn explore(name: &str, bytes: &[u8]) {
    explore_without("", name, bytes);
}

/// Reads a run without complete parts, with these bytes as its journal.
#[allow(dead_code, reason = "most targets read a finished run")]
pub(crate) fn explore_unfinished(journal: &[u8]) {
    explore_without(PART, "unfinished.journal", journal);
}

/// As [`explore`], after leaving out one of the sound files.
fn explore_without(left_out: &str, name: &str, bytes: &[u8]) {
    let parent = empty_folder();
    let path = parent.join("run");
    for (file, sound) in sound().iter().filter(|(file, _)| *file != left_out) {
        let path = path.join(file);
        fs::create_dir_all(path.parent().expect("every file has a folder"))
            .expect("a folder of its own can be made");
        fs::write(&path, sound).expect("a folder of its own can be filled");
    }
    fs::write(path.join(name), bytes).expect("a folder of its own can be filled");
    let Ok(folder) = RunFolder::open(&path) else {
        return;
    };
    let _ = report::write(&folder);
    let _ = (folder.kept(), folder.missing_samples());
    if let (Ok(rows), Ok(timing)) = (folder.rows(), folder.timing()) {
        let _ = Summary::of(folder.run(), &rows, timing.as_ref());
    }
    let _ = merge(&[folder], &parent.join("merged"), |_, _| {});
}

/// Returns the rows of a valid record of the journal.
#[allow(dead_code, reason = "most targets read a finished run")]
pub(crate) fn sound_rows() -> &'static [u8] {
    static ROWS: OnceLock<Vec<u8>> = OnceLock::new();
    ROWS.get_or_init(|| postcard::to_allocvec(&row(0)).expect("a row can be written"))
}

/// Returns one of the run's valid files.
#[allow(dead_code, reason = "text is met with whole")]
pub(crate) fn sound_file(name: &str) -> &'static [u8] {
    let file = sound().iter().find(|(file, _)| *file == name);
    &file.expect("it is a file of the run").1
}

/// Returns the files of a valid run.
fn sound() -> &'static [(&'static str, Vec<u8>)] {
    static SOUND: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    SOUND.get_or_init(make_sound)
}

fn make_sound() -> Vec<(&'static str, Vec<u8>)> {
    let run = run();
    let rows: Vec<Row> = (0..2).map(row).collect();
    let picture = |level| {
        let picture = Picture::new(3, 4, 4, vec![level; 48]);
        picture.expect("it has 48 values").encode_png()
    };
    let timing = Timing {
        seconds: 1.5,
        by_attack: [("pgd()".to_owned(), 1.0)].into(),
        ..Timing::default()
    };
    vec![
        (
            "run.toml",
            toml::to_string(&run).expect("a run is TOML").into(),
        ),
        (
            "timing.json",
            serde_json::to_vec(&timing).expect("a timing is JSON"),
        ),
        (
            "command.txt",
            b"hoodwink attack model.onnx pictures".to_vec(),
        ),
        (PART, table::encode(&rows).expect("rows are a table")),
        ("pictures/0.png", picture(100)),
        ("pictures/1.png", picture(100)),
        ("adversarial/pgd-8-255/000000.png", picture(108)),
        ("adversarial/pgd-8-255/000001.png", picture(108)),
    ]
}

/// A run of a single partition, so that it can be merged too.
fn run() -> Run {
    Run {
        schema: table::SCHEMA,
        hoodwink: "0.1.0".into(),
        engine: "rten 0.27.0".into(),
        partition: "1/1".parse::<Partition>().ok(),
        model: ModelRecord {
            path: "model.onnx".into(),
            sha256: "ab".repeat(32),
            input: [3, 4, 4],
            classes: 2,
            preprocessing: String::new(),
        },
        data: DataRecord {
            path: "pictures".into(),
            digest: "cd".repeat(32),
            samples: 2,
            class_names: vec!["cat".into(), "dog".into()],
        },
        threat: ThreatRecord {
            norm: "linf".into(),
            eps: vec!["8/255".into()],
            goal: "untargeted".into(),
            access: "gradients".into(),
            budget: BTreeMap::new(),
        },
        attacks: vec![AttackRecord {
            name: "pgd".into(),
            recipe: "pgd()".into(),
        }],
        settings: Settings { seed: 0 },
        options: toml::Table::new(),
    }
}

/// A cat that was turned into a dog.
fn row(index: u64) -> Row {
    let eps = 8.0 / 255.0;
    let verdict = Verdict {
        seen: Seen {
            label: 1,
            confidence: 0.75,
        },
        success: true,
        norms: Distances {
            l0: 48.0,
            l1: 48.0 * eps,
            l2: 48f64.sqrt() * eps,
            linf: eps,
        },
    };
    Row {
        index,
        sample: format!("{index:016x}"),
        file: format!("{index}.png"),
        label: 0,
        attack: "pgd".into(),
        recipe: "pgd()".into(),
        eps: "8/255".parse().ok(),
        target: None,
        clean: Seen {
            label: 0,
            confidence: 0.875,
        },
        outcome: Outcome::Fooled,
        float: Some(verdict),
        saved: Some(verdict),
        noise: None,
        queries: 2,
        gradients: 10,
        loss: vec![0.5, 2.0],
        picture: Some(RunFolder::adversarial("pgd", Some("8/255"), index)),
    }
}
