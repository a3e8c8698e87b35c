//! What all sub-commands have in common.

use std::{collections::BTreeSet, fs, path::Path};

use crate::setup::{hoodwink, labels, model, pictures, succeed};

/// What a sub-command has.
struct Expected {
    name: &'static str,
    /// Words that are enough to show its settings.
    enough: &'static [&'static str],
    /// Of `--config` and `--show-settings`, `--quiet`, `--format`.
    settings: bool,
    quiet: bool,
    format: bool,
}

const fn of(
    name: &'static str,
    enough: &'static [&'static str],
    [settings, quiet, format]: [bool; 3],
) -> Expected {
    Expected {
        name,
        enough,
        settings,
        quiet,
        format,
    }
}

/// Those that show no progress have nothing to be quiet about; those that print a page or a script have one format.
const ALL: [Expected; 14] = [
    of("attack", &[], [true, true, true]),
    of("attacks", &[], [true, false, true]),
    of("completions", &[], [false, false, false]),
    of("data", &["x.npy"], [true, true, true]),
    of("demo", &[], [true, true, true]),
    of("grad", &["a.onnx", "-o", "b.onnx"], [true, false, true]),
    of("inspect", &["a.onnx"], [true, true, true]),
    of("man", &[], [false, false, false]),
    of("merge", &["a", "b", "--out", "c"], [true, true, true]),
    of(
        "natural",
        &["--logits", "x.npy", "--labels", "y.npy"],
        [true, true, true],
    ),
    of("predict", &["a.onnx", "x.npy"], [true, true, true]),
    of("report", &["a", "b"], [true, false, true]),
    of("rerun", &["a", "--out", "b"], [true, true, true]),
    of("train", &["x.npy", "-o", "a.onnx"], [true, true, true]),
];

fn said(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_sub_command_teaches_by_examples_and_has_what_all_have() {
    let help = succeed(&["--help"]);
    for one in &ALL {
        let name = one.name;
        assert!(help.contains(&format!("\n  {name}")), "{name}");
        let help = succeed(&[name, "--help"]);
        assert!(help.contains("Examples:\n"), "{name}: {help}");
        let examples = help.split("Examples:\n").nth(1).unwrap();
        assert!(examples.contains(&format!("hoodwink {name}")), "{name}");
        for (option, expected) in [
            ("--config <", one.settings),
            ("--show-settings", one.settings),
            ("--quiet", one.quiet),
            ("--format <", one.format),
        ] {
            let options = help.split("Examples:\n").next().unwrap();
            assert_eq!(options.contains(option), expected, "{name}: {option}");
        }
    }
    let shown = succeed(&["--help"]);
    let listed = shown.lines().filter_map(|line| line.strip_prefix("  "));
    let listed = listed.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let listed: BTreeSet<&str> = listed.filter_map(|line| line.split(' ').next()).collect();
    let known: BTreeSet<&str> = ALL.iter().map(|one| one.name).chain(["help"]).collect();
    assert_eq!(listed, known, "a sub-command is missing in this table");
}

#[test]
fn every_sub_command_refuses_a_mistyped_option_with_the_nearest() {
    for one in &ALL {
        let name = one.name;
        let (typed, meant) = match (one.format, name) {
            (true, _) => ("--formt=json", "'--format'"),
            (false, _) => ("--hepl", "'--help'"),
        };
        let output = hoodwink(&[name, typed]);
        let errors = said(output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {errors}");
        assert!(output.stdout.is_empty(), "{name}");
        assert!(errors.starts_with("error: "), "{name}: {errors}");
        assert!(errors.contains(meant), "{name}: {errors}");
        if one.settings {
            let output = hoodwink(&[name, "--config", "nowhere/at-all.toml"]);
            assert_eq!(output.status.code(), Some(2), "{name}");
            let errors = said(output.stderr);
            let says = "error: nowhere/at-all.toml: No such file or directory (os error 2); there is no folder nowhere\n";
            assert_eq!(errors, says, "{name}");
        }
    }
}

#[test]
fn settings_that_are_shown_are_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let config = format!("--config={}", file.display());
    for one in ALL
        .iter()
        .filter(|one| one.settings && !one.enough.is_empty())
    {
        let name = one.name;
        let shown = succeed(&[&[name], one.enough, &["--show-settings"]].concat());
        assert!(
            one.enough
                .iter()
                .all(|word| word.starts_with('-') || shown.contains(word)),
            "{name}: {shown}"
        );
        fs::write(&file, &shown).unwrap();
        assert_eq!(
            succeed(&[name, &config, "--show-settings"]),
            shown,
            "{name}"
        );
        fs::write(&file, "formatt = 'json'\n").unwrap();
        let output = hoodwink(&[name, &config]);
        let errors = said(output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(
            errors.contains("there is no option \"formatt\"; did you mean format?"),
            "{name}: {errors}"
        );
    }
}

#[test]
fn what_a_file_beside_the_model_says_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("net.onnx").display().to_string();
    fs::write(
        folder.path().join("net.toml"),
        "mean = [0.5]\nchannels = 'bgr'\n",
    )
    .unwrap();
    for command in [&["predict", &model, "x.npy"][..], &["inspect", &model]] {
        let shown = succeed(&[command, &["--std", "0.25", "--show-settings"]].concat());
        for line in [
            "channels = \"bgr\"",
            "mean = [0.5]",
            "std = [0.25]",
            "layout = \"nchw\"",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line}: {shown}");
        }
    }
}

#[test]
fn a_mistyped_word_or_name_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let near = folder.path().join("pictures.npy");
    fs::write(&near, "").unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (gone, nowhere) = (at("picturs.npy"), at("nowhere/model.onnx"));
    let (model, pictures, labels) = (model(), pictures(), labels());
    let out = at("run");
    let attack = [
        "attack",
        &*model,
        &*pictures,
        "--labels",
        &*labels,
        "--eps=0.1",
        "--out",
        &*out,
    ];
    let train = ["train", "scenes:count=20", "-o", &*nowhere];
    for (command, rest, says) in [
        (&attack[..], &["--attack", "pdg"][..], "did you mean pgd?"),
        (
            &attack,
            &["--norm", "lin"],
            "is not linf, l2, l1 or l0; did you mean linf?",
        ),
        (&attack, &["--loss", "marign"], "did you mean margin?"),
        (&attack, &["--step-rule", "adm"], "did you mean adam?"),
        (
            &attack,
            &["--access", "gradient"],
            "did you mean gradients?",
        ),
        (
            &attack,
            &["--target", "least-likly"],
            "did you mean least-likely?",
        ),
        (&attack, &["--layout", "nhw"], "did you mean nhwc?"),
        (&attack, &["--channels", "rgbb"], "did you mean rgb?"),
        (
            &attack,
            &["--input-range", "0..225"],
            "did you mean 0..255?",
        ),
        (
            &attack,
            &["--interpolation", "bicubc"],
            "did you mean bicubic?",
        ),
        (
            &attack,
            &["--preprocessing", "torchvison"],
            "did you mean torchvision?",
        ),
        (&attack, &["--engine", "rtn"], "'rten'"),
        (&attack, &["--step-size", "2"], "did you mean 2/255?"),
        (&attack, &["--threads", "0"], "a whole number, 1 or more"),
        (&train, &[], "there is no folder"),
        (&train, &["--preset", "tutrial"], "did you mean tutorial?"),
        (&train, &["--schedule", "cosin"], "did you mean cosine?"),
        (&train, &["--optimiser", "sgdd"], "did you mean sgd?"),
        (&train, &["--adversarial-eps", "8"], "did you mean 8/255?"),
        (&["data", &gone], &[], "pictures.npy?"),
        (&["data", "scenes:cuont=4"], &[], "did you mean count?"),
        (&["inspect", &nowhere], &[], "there is no folder"),
        (&["grad", &model, "-o", &nowhere], &[], "there is no folder"),
        (&["predict", &gone, &pictures], &[], "did you mean"),
        (
            &["report", folder.path().to_str().unwrap()],
            &[],
            "so it is no run folder; an attack writes one",
        ),
        (&["man", "atack"], &[], "did you mean attack?"),
        (&["completions", "bsh"], &[], "'bash'"),
        (
            &["demo", "--pictures", "0"],
            &[],
            "a whole number, 1 or more",
        ),
    ] {
        let output = hoodwink(&[command, rest].concat());
        let errors = said(output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{command:?} {rest:?}: {errors}"
        );
        assert!(output.stdout.is_empty(), "{command:?} {rest:?}");
        assert!(errors.contains(says), "{says}: {errors}");
        assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
        assert!(!Path::new(&out).exists(), "{rest:?} left a run folder");
    }
}
