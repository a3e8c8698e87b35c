//! `hoodwink attack` and `hoodwink report`.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use hoodwink::results::RunFolder;
use serde_json::Value;

use crate::setup::{
    NORMALISED, assert_same_files, asset, attack_mnist, borrowed, failure, hoodwink, labels, model,
    pictures, succeed,
};

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn attack(limit: usize, out: &Path, rest: &[&str]) -> String {
    succeed(&borrowed(&attack_mnist(limit, out, rest)))
}

fn json(limit: usize, rest: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let rest = [rest, &["--format", "json"]].concat();
    serde_json::from_str(&attack(limit, folder.path(), &rest)).unwrap()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_table_has_a_line_for_each_attack_at_each_eps() {
    let folder = tempfile::tempdir().unwrap();
    // FGSM takes no steps; that PGD does is enough.
    let options = ["--attack", "fgsm,pgd", "--steps", "3", "--eps", "0,0.3"];
    let table = attack(12, folder.path(), &options);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..3], ["attack", "eps", "clean"]);
    let beginnings: Vec<(&str, &str)> = lines[1..5].iter().map(|line| (line[0], line[1])).collect();
    assert_eq!(
        beginnings,
        [("fgsm", "0"), ("fgsm", "0.3"), ("pgd", "0"), ("pgd", "0.3")]
    );
    assert_eq!(
        lines[1][2], lines[1][3],
        "nothing changes at a radius of 0: {table}"
    );
    assert_eq!(lines[5][..4], ["worst", "of", "all", "0"]);
    assert!(folder.path().join("report.html").is_file());
    assert!(lines[7][1].ends_with("report.html"), "{table}");
}

#[test]
fn the_json_has_the_promised_keys() {
    let answer = json(
        12,
        &["--attack", "fgsm,pgd", "--steps", "3", "--eps", "0.1,0.3"],
    );
    assert_eq!(
        keys(&answer),
        BTreeSet::from([
            "model",
            "data",
            "measured",
            "findings",
            "seconds",
            "threat",
            "attacks",
            "worst_case"
        ])
    );
    assert_eq!(
        keys(&answer["measured"]),
        BTreeSet::from(["pictures", "left_out", "of", "partition"])
    );
    let attacks = answer["attacks"].as_array().unwrap();
    let of: Vec<(&str, &str)> = attacks
        .iter()
        .map(|attack| {
            (
                attack["name"].as_str().unwrap(),
                attack["eps"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        of,
        [
            ("fgsm", "0.1"),
            ("fgsm", "0.3"),
            ("pgd", "0.1"),
            ("pgd", "0.3")
        ]
    );
    for attack in attacks {
        assert_eq!(
            keys(attack),
            BTreeSet::from([
                "name",
                "attacked",
                "called_target",
                "clean_accuracy",
                "counted",
                "distance",
                "doubts",
                "no_longer_right",
                "robust_accuracy",
                "robust_accuracy_saved",
                "success_rate",
                "norms",
                "gradients",
                "queries",
                "seconds",
                "eps",
                "recipe",
                "outcomes"
            ])
        );
        for accuracy in [
            "clean_accuracy",
            "robust_accuracy",
            "robust_accuracy_saved",
            "success_rate",
        ] {
            let accuracy = &attack[accuracy];
            assert_eq!(
                keys(accuracy),
                BTreeSet::from(["value", "low", "high", "n"])
            );
            let number = |key: &str| accuracy[key].as_f64().unwrap();
            assert!(number("low") <= number("value") && number("value") <= number("high"));
        }
        assert_eq!(attack["clean_accuracy"]["n"], 12);
    }
    // An undefended network: PGD at 0.3 leaves next to nothing, and fools more than at 0.1.
    let robust = |at: usize| attacks[at]["robust_accuracy"]["value"].as_f64().unwrap();
    assert!(robust(3) < 0.2 && robust(3) < robust(2), "{answer}");
}

#[test]
fn a_model_toml_says_what_the_flags_say() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("net.onnx");
    fs::copy(model(), &copy).unwrap();
    let beside = "mean = [0.1307]\nstd = [0.3081]\nclass-names = \"digits.txt\"\n";
    fs::write(folder.path().join("net.toml"), beside).unwrap();
    fs::write(
        folder.path().join("digits.txt"),
        "o\ni\n2\n3\n4\n5\n6\n7\n8\n9\n",
    )
    .unwrap();
    let with = |model: &str, name: &str, flags: &[&str]| {
        let (pictures, labels) = (pictures(), labels());
        let out = folder.path().join(name).display().to_string();
        let args = [
            "attack", model, &pictures, "--labels", &labels, "--limit", "8", "--eps", "0.1",
        ];
        let rest = ["--attack", "fgsm", "--format", "json", "--out", &out];
        serde_json::from_str::<Value>(&succeed(&[&args[..], &rest, flags].concat())).unwrap()
    };
    let by_file = with(copy.to_str().unwrap(), "by-file", &[]);
    let by_flags = with(&model(), "by-flags", &NORMALISED);
    let by_both = with(copy.to_str().unwrap(), "by-both", &["--std", "0.5"]);
    let preprocessing = |answer: &Value| answer["model"]["preprocessing"].clone();
    assert_eq!(preprocessing(&by_file), preprocessing(&by_flags));
    assert_eq!(
        by_file["attacks"][0]["robust_accuracy"],
        by_flags["attacks"][0]["robust_accuracy"]
    );
    assert!(
        preprocessing(&by_both)
            .as_str()
            .unwrap()
            .contains("std=0.5")
    );
    let read = |name: &str| fs::read_to_string(folder.path().join(name).join("run.toml")).unwrap();
    assert!(read("by-file").contains("class_names = [\"o\", \"i\", \"2\""));
    assert!(read("by-flags").contains("class_names = [\"zero\", \"one\", \"two\""));
}

#[test]
fn threads_and_batch_change_no_byte_and_the_report_is_rebuilt_as_it_was() {
    let parent = tempfile::tempdir().unwrap();
    let (one, three) = (parent.path().join("one"), parent.path().join("three"));
    let options = [
        "--attack",
        "pgd,uniform-noise",
        "--eps",
        "0.2",
        "--steps",
        "4",
        "--threads",
    ];
    attack(70, &one, &[&options[..], &["1", "--batch", "1"]].concat());
    attack(
        70,
        &three,
        &[&options[..], &["3", "--batch", "5", "--quiet"]].concat(),
    );
    assert_same_files(&one, &three);

    let report = one.join("report.html");
    let before = fs::read(&report).unwrap();
    fs::remove_file(&report).unwrap();
    let answer = succeed(&["report", one.to_str().unwrap()]);
    let says = format!("report: {} (to open it:", report.display());
    assert!(answer.contains(&says), "{answer}");
    assert!(fs::read(&report).unwrap() == before, "the report differs");
}

#[test]
#[cfg(unix)]
fn the_command_in_the_report_repeats_the_run() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path();
    fs::copy(model(), path.join("it's a $model.onnx")).unwrap();
    let digits: String = (0..10)
        .map(|digit| format!("the digit {digit}\n"))
        .collect();
    fs::write(path.join("digits.txt"), digits).unwrap();
    let (pictures, labels) = (pictures(), labels());
    let run = Command::new(env!("CARGO_BIN_EXE_hoodwink"))
        .current_dir(path)
        .args([
            "attack",
            "it's a $model.onnx",
            &pictures,
            "--labels",
            &labels,
        ])
        .args([
            "--class-names",
            "digits.txt",
            "--limit",
            "6",
            "--engine=rten",
        ])
        .args([
            "--attack=fgsm,pgd",
            "--steps=3",
            "--eps",
            "0.1,0.3",
            "--target",
            "least-likely",
        ])
        .args(["--out", "first", "--quiet"])
        .args(NORMALISED)
        .output()
        .unwrap();
    assert_eq!(
        run.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let line = fs::read_to_string(path.join("first/command.txt")).unwrap();
    let report = fs::read_to_string(path.join("first/report.html")).unwrap();
    assert!(report.contains("Reproduce this run") && report.contains("--target least-likely"));
    assert!(report.contains("the digit "));

    let bin = Path::new(env!("CARGO_BIN_EXE_hoodwink")).parent().unwrap();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = [bin.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&others));
    let again = Command::new("sh")
        .current_dir(path)
        .env("PATH", std::env::join_paths(folders).unwrap())
        .args(["-c", &line])
        .output()
        .unwrap();
    assert_eq!(
        again.status.code(),
        Some(0),
        "{line}: {}",
        String::from_utf8_lossy(&again.stderr)
    );
    assert_same_files(&path.join("first"), &path.join("again"));
}

#[test]
fn an_attack_with_wrong_preprocessing_warns_before_it_starts_or_finds_the_right_one() {
    let files = [
        asset("cifar10/models/resnet20_akamaster.onnx"),
        asset("cifar10/test_0-499_x_u8_NHWC.npy"),
        asset("cifar10/test_0-499_y.npy"),
    ];
    let [model, pictures, labels] = files.each_ref().map(String::as_str);
    let parent = tempfile::tempdir().unwrap();
    let right = ["--mean=0.485,0.456,0.406", "--std=0.229,0.224,0.225"];
    let (warning, note) = (
        "warning: with other preprocessing (a mean subtracted)",
        "note: no preprocessing was given, so it was inferred from the labels; with other preprocessing (a mean subtracted)",
    );
    for (name, flags, says) in [
        ("forgotten", &[][..], Some(note)),
        ("left-out", &["--no-lint"], None),
        ("wrong", &["--preprocessing=0..1"], Some(warning)),
        ("right", &right, None),
    ] {
        let out = parent.path().join(name).display().to_string();
        let args = ["attack", model, pictures, "--labels", labels, "--limit=64"];
        let attack = ["--attack=fgsm", "--eps=1/255", "--quiet", "--out", &out];
        let ended = hoodwink(&[&args[..], &attack, flags].concat());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{said}");
        for one in [warning, note] {
            assert_eq!(said.contains(one), says == Some(one), "{name}: {said}");
        }
        let settings = fs::read_to_string(parent.path().join(name).join("run.toml")).unwrap();
        let is_normalised = settings.contains("std = [0.2");
        assert_eq!(
            is_normalised,
            ["forgotten", "right"].contains(&name),
            "{settings}"
        );
        let warned = says == Some(warning);
        // What was found stands wherever the figures stand.
        let table = String::from_utf8(ended.stdout).unwrap();
        let report = fs::read_to_string(parent.path().join(name).join("report.html")).unwrap();
        let verdict = "No result: the preprocessing looks wrong";
        for (place, text) in [("table", &table), ("report", &report)] {
            assert_eq!(text.contains(verdict), warned, "{name}, {place}");
        }
        let found = settings.contains("[[findings]]\nmistake = \"preprocessing\"");
        assert_eq!(found, warned, "{settings}");
        assert_eq!(
            settings.contains("findings"),
            name != "left-out",
            "{settings}"
        );
        let json = succeed(&["report", &out, "--format=json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["findings"].is_null(), name == "left-out");
        assert_eq!(json["attacks"][0]["doubts"][0].is_string(), warned);
    }
}

#[test]
fn a_range_of_radii_is_a_curve_and_the_same_every_time() {
    let parent = tempfile::tempdir().unwrap();
    let (one, two) = (parent.path().join("one"), parent.path().join("two"));
    let options = ["--attack=fgsm", "--eps=0..0.4"];
    succeed(&borrowed(&attack_mnist(30, &one, &options)));
    succeed(&borrowed(&attack_mnist(
        30,
        &two,
        &[&options[..], &["--threads=1"]].concat(),
    )));
    let run = RunFolder::open(&one).unwrap().run().clone();
    assert_eq!(run.threat.sweep.as_deref(), Some("0..0.4"));
    let radii = &run.threat.eps;
    assert!(
        radii.len() > 3 && radii.contains(&"0.1".to_owned()),
        "{radii:?}"
    );
    assert_eq!(radii.last().unwrap(), "0.4");
    assert_eq!(RunFolder::open(&two).unwrap().run().threat, run.threat);
    let report = fs::read_to_string(one.join("report.html")).unwrap();
    assert!(report.contains("<path class=\"line\" d=\"M"));

    let figures = parent.path().join("figures");
    succeed(&["report", &text(&one), "--export", &text(&figures)]);
    for file in ["accuracy.svg", "accuracy.png", "loss-1.svg"] {
        assert!(figures.join(file).is_file(), "{file}");
    }
    let page = text(&parent.path().join("both.html"));
    succeed(&[
        "report",
        &text(&one),
        &text(&two),
        "--names=first,second one",
        "--output",
        &page,
    ]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<title>first, second one: a comparison</title>"));

    let mixed = ["--attack=fgsm", "--eps=0..0.4,0.5"];
    let refusal = failure(&borrowed(&attack_mnist(30, &one, &mixed)), 2);
    assert!(
        refusal.contains("is a range and cannot be combined"),
        "{refusal}"
    );
}
