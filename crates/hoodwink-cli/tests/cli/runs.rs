//! Runs in parts, runs again, and runs with limits.

use std::{fs, path::Path, process::Command};

use hoodwink::results::RunFolder;

use crate::setup::{
    assert_same_files, attack_mnist, borrowed, command, failure, hoodwink, labels, model, pictures,
    succeed,
};

const OPTIONS: [&str; 6] = [
    "--attack",
    "pgd,gaussian-noise",
    "--steps",
    "10",
    "--eps",
    "0.1",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn partitions_merge_to_the_bytes_of_one_run() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    succeed(&borrowed(&attack_mnist(150, &at("whole"), &OPTIONS)));
    let mut merge = vec![
        "merge".to_owned(),
        format!("--out={}", at("merged").display()),
    ];
    for number in [3, 1, 2] {
        let partition = format!("--partition={number}/3");
        let options = [
            &OPTIONS[..],
            &[&*partition, "--batch=3", "--threads=1", "--format=json"],
        ]
        .concat();
        let shard = at(&number.to_string());
        let out = succeed(&borrowed(&attack_mnist(150, &shard, &options)));
        assert!(out.contains("\"n\":50"), "{out}");
        let report = fs::read_to_string(shard.join("report.html")).unwrap();
        assert!(report.contains(&format!(
            "The figures cover only partition {number}/3: 50 of 150"
        )));
        merge.push(shard.display().to_string());
    }
    let refusal = failure(&borrowed(&merge[..4]), 2);
    assert!(refusal.contains("partitions are missing: 2/3"), "{refusal}");
    succeed(&borrowed(&merge));
    // There is no model to ask about the noise that the report of the whole shows.
    for folder in [at("whole"), at("merged")] {
        let noise = RunFolder::open(&folder).unwrap().noise().unwrap();
        assert!(!noise.unwrap().is_empty());
        for file in ["shown.json", "report.html"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
        // What was recorded for the report of a part alone, or of the whole alone.
        if folder.join("gradients").exists() {
            fs::remove_dir_all(folder.join("gradients")).unwrap();
        }
    }
    assert_same_files(&at("whole"), &at("merged"));
}

#[test]
fn a_run_is_repeated_from_its_toml_alone() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let (first, moved, other) = (at("first"), at("moved.onnx"), at("other.onnx"));
    // Preprocessing from a file beside the model, which is gone afterwards.
    fs::copy(model(), &moved).unwrap();
    fs::write(at("moved.toml"), "mean = [0.1307]\nstd = [0.3081]\n").unwrap();
    let (labels, pictures) = (labels(), pictures());
    let attack = [
        "attack",
        text(&moved),
        &pictures,
        "--labels",
        &labels,
        "--limit",
        "70",
        "--out",
        text(&first),
    ];
    let mut args = [&attack[..], &OPTIONS].concat();
    args.push("--partition=2/2");
    succeed(&args);
    fs::rename(&moved, &other).unwrap();
    fs::remove_file(at("moved.toml")).unwrap();

    let again = at("again");
    let rerun = ["rerun", text(&first), "--out", text(&again)];
    assert!(failure(&rerun, 2).contains("moved.onnx"));
    let rerun = [&rerun[..], &["--model", text(&other)]].concat();
    let said = succeed(&rerun);
    assert!(
        said.contains("all 70 rows and their pictures are the same"),
        "{said}"
    );
    let rows = |run: &Path| RunFolder::open(run).unwrap().rows().unwrap();
    assert_eq!(rows(&first).len(), 70);
    assert_eq!(format!("{:?}", rows(&first)), format!("{:?}", rows(&again)));

    // A picture that is not what it was, and settings that are not what they were.
    let toml = first.join("run.toml");
    let picture = fs::read_dir(first.join("pictures"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::copy(first.join("pictures/36.png"), first.join("pictures/35.png")).unwrap();
    fs::remove_dir_all(&again).unwrap();
    let output = hoodwink(&rerun);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("sample 35, pgd at 0.1: pictures/35.png is a different picture"),
        "{said}"
    );
    assert!(picture.exists());
    let changed = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, changed.replace("rten 0", "rten 9")).unwrap();
    fs::remove_dir_all(&again).unwrap();
    let refusal = failure(&rerun, 2);
    assert!(refusal.contains("engine: \"rten 9"), "{refusal}");
    assert!(!again.exists());
    let output = hoodwink(&[&rerun[..], &["--anyway"]].concat());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn options_from_a_file_are_those_of_the_line() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let (line, file) = (at("line"), at("file"));
    succeed(&borrowed(&attack_mnist(5, &line, &OPTIONS)));
    let config = at("experiment.toml");
    let options = format!(
        "model = '{}'\ndata = '{}'\nlabels = '{}'\nmean = 0.1307\nstd = [0.3081]\nlimit = 9\n\
         attack = ['pgd', 'gaussian-noise']\neps = '0.1'\nsteps = 10\n",
        model(),
        pictures(),
        labels()
    );
    fs::write(&config, &options).unwrap();
    let args = [
        "attack",
        "--config",
        text(&config),
        "--limit=5",
        "--out",
        text(&file),
    ];
    succeed(&args);
    assert_same_files(&line, &file);

    // What would be written, without writing it.
    let none = at("none");
    let args = [
        "attack",
        "--config",
        text(&config),
        "--limit=5",
        "--show-settings",
        "--out",
        text(&none),
    ];
    let shown = succeed(&args);
    assert_eq!(shown, fs::read_to_string(line.join("run.toml")).unwrap());
    assert!(!none.exists());

    fs::write(&config, options + "stpes = 7\n").unwrap();
    let refusal = failure(&args, 2);
    assert!(
        refusal.contains("experiment.toml: there is no option \"stpes\""),
        "{refusal}"
    );
}

#[test]
fn a_run_ends_in_time_and_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let (limited, free) = (parent.path().join("limited"), parent.path().join("free"));
    let options = [
        "--eps",
        "0.1",
        "--steps",
        "60",
        "--restarts",
        "4",
        "--no-lint",
    ];
    let args = attack_mnist(60, &limited, &options);
    let short = [
        &borrowed(&args)[..],
        &["--max-seconds", "0.4", "--threads=1"],
    ]
    .concat();
    let said = failure(&short, 2);
    assert!(said.contains("time limit reached after"), "{said}");
    assert!(
        said.contains("of 60 pictures; repeat the command to resume"),
        "{said}"
    );
    let report = fs::read_to_string(limited.join("report.html")).unwrap();
    assert!(report.contains("This run is unfinished"));
    succeed(&borrowed(&args));
    succeed(&borrowed(&attack_mnist(60, &free, &options)));
    assert_same_files(&limited, &free);
}

#[test]
fn memory_that_is_not_enough_is_said_before_the_run() {
    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    let args = attack_mnist(60, &run, &["--eps", "0.1", "--max-memory", "1MiB"]);
    let refusal = failure(&borrowed(&args), 2);
    assert!(
        refusal.contains("1 MiB of memory are not enough: this model needs about"),
        "{refusal}"
    );
    assert!(!run.exists());
    let args = attack_mnist(
        6,
        &run,
        &["--eps", "0.1", "--max-memory", "4GiB", "--steps=2"],
    );
    succeed(&borrowed(&args));
}

/// A limit on the size of files stands in for a disk that is full.
#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (full, free) = (parent.path().join("full"), parent.path().join("free"));
    let args = attack_mnist(70, &full, &OPTIONS);
    let hoodwink = command(&borrowed(&args));
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 24; exec \"$0\" \"$@\""]);
    let output = limited
        .arg(hoodwink.get_program())
        .args(hoodwink.get_args())
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    // Rows of some samples fit, those of all do not.
    assert!(
        errors.contains("unfinished.journal: File too large"),
        "{errors}"
    );
    let run = RunFolder::open(&full).unwrap();
    assert!((1..67).contains(&run.missing_samples().unwrap()));

    succeed(&borrowed(&args));
    succeed(&borrowed(&attack_mnist(70, &free, &OPTIONS)));
    assert_same_files(&full, &free);
}

#[test]
fn a_crew_beyond_reason_is_as_large_as_its_work() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    const HUGE: [&str; 2] = ["--threads=1000000000", "--batch=1000000000"];
    let few = ["--eps", "0.1", "--steps", "2"];
    succeed(&borrowed(&attack_mnist(9, &at("usual"), &few)));
    let huge = [&few[..], &HUGE, &["--max-memory=8GiB"]].concat();
    succeed(&borrowed(&attack_mnist(9, &at("huge"), &huge)));
    assert_same_files(&at("usual"), &at("huge"));
    let timing = RunFolder::open(at("huge"))
        .unwrap()
        .timing()
        .unwrap()
        .unwrap();
    assert!(timing.threads <= 9 && timing.batch <= 9, "{timing:?}");

    // Options of a run folder, which a stranger may have written.
    let toml = at("usual/run.toml");
    let settings = fs::read_to_string(&toml).unwrap();
    let changed = settings.replace(
        "[options]\n",
        "[options]\nthreads = 1000000000\nbatch = 1000000000\n",
    );
    assert_ne!(settings, changed);
    fs::write(&toml, changed).unwrap();
    let (usual, again, net) = (at("usual"), at("again"), at("net.onnx"));
    let output = hoodwink(&["rerun", text(&usual), "--out", text(&again)]);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");

    let (model, pictures, labels) = (model(), pictures(), labels());
    succeed(&[&["predict", &*model, &pictures, "--limit=9"], &HUGE[..]].concat());
    succeed(&["data", &pictures, "--labels", &labels, "--limit=9", HUGE[0]]);
    let train = ["train", "scenes:count=20,side=16", "--preset", "tutorial"];
    let rest = ["--epochs=1", "--engine", "rten", "-o", text(&net)];
    succeed(&[&train[..], &rest, &HUGE].concat());
}

#[test]
fn a_broken_picture_is_named_before_the_run() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, run) = (parent.path().join("pictures"), parent.path().join("run"));
    for sample in crate::setup::samples(20) {
        let class = folder.join(sample.label.unwrap().to_string());
        fs::create_dir_all(&class).unwrap();
        let png = sample.picture.encode_png();
        let whole = png.len();
        let end = if [7, 9].contains(&sample.index) {
            whole / 2
        } else {
            whole
        };
        fs::write(class.join(format!("{}.png", sample.index)), &png[..end]).unwrap();
    }
    let model = model();
    let args = [
        "attack",
        &model,
        text(&folder),
        "--eps",
        "0.1",
        "--steps",
        "2",
        "--out",
        text(&run),
        "--mean",
        "0.1307",
        "--std",
        "0.3081",
    ];
    let refusal = failure(&args, 2);
    assert!(
        refusal.contains("2 of 20 pictures cannot be used"),
        "{refusal}"
    );
    for file in ["7.png", "9.png"] {
        assert!(refusal.contains(file), "{refusal}");
    }
    assert!(!run.exists());
    // Unread, they end the run when their turn comes.
    let refusal = failure(&[&args[..], &["--no-lint"]].concat(), 2);
    assert!(refusal.contains(".png"), "{refusal}");
    let run = RunFolder::open(&run).unwrap();
    assert!(!run.rows().unwrap().is_empty(), "what was computed is kept");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("run");
    for out in [&file, &inside] {
        let args = attack_mnist(4, out, &["--eps", "0.1"]);
        let refusal = failure(&borrowed(&args), 2);
        assert!(refusal.contains(text(&file)), "{refusal}");
    }
}
