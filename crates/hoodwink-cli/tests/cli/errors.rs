//! Whatever is wrong is said in a sentence, with exit status 2.

use std::fs;

use crate::setup::{NORMALISED, asset, hoodwink, labels, model, npy, pictures};

#[track_caller]
fn assert_refused(args: &[&str], says: &str) {
    let output = hoodwink(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{args:?}");
    let begins = errors.lines().any(|line| line.starts_with("error: "));
    assert!(
        begins && errors.contains(says),
        "{says:?} is not in: {errors}"
    );
    assert!(
        !errors.contains("panicked") && !errors.contains("RUST_BACKTRACE"),
        "{errors}"
    );
}

#[test]
fn attack_refuses_what_makes_no_sense() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name).display().to_string();
    let (model, pictures, labels, run) = (model(), pictures(), labels(), path("run"));
    let good = [
        "attack", &model, &pictures, "--labels", &labels, "--limit", "4", "--out", &run,
    ];
    let good = [&good[..], &NORMALISED].concat();
    let names = path("names.txt");
    fs::write(&names, "zero\none\n").unwrap();
    for (rest, says) in [
        (
            &["--attack", "pgd"][..],
            "set eps, or use an attack for the smallest norm",
        ),
        (&["--eps", "eight"], "\"eight\" is not a radius"),
        (
            &["--attack", "ddn", "--norm", "linf"],
            "attack ddn works in l2, not in linf",
        ),
        (
            &["--attack", "pgd(stepz=3)", "--eps", "0.1"],
            "did you mean steps?",
        ),
        (&["--attack", "pgd(steps=3", "--eps", "0.1"], "do not match"),
        (&["--attack", "pgd(steps=0)", "--eps", "0.1"], "at least 1"),
        (
            &["--attack", "square", "--norm", "l1", "--eps", "1"],
            "linf, l2, not in l1",
        ),
        (
            &["--attack", "apgd-t", "--target", "3", "--eps", "0.1"],
            "attack apgd-t does not support a target class",
        ),
        (
            &["--timeout", "3", "--eps", "0.1"],
            "--timeout applies only to remote models (http://",
        ),
        (&["--eps", "-0.1"], "--eps"),
        (&["--eps", "8"], "did you mean 8/255?"),
        (&["--eps", "0.1,0.1"], "eps 0.1 is named twice"),
        (&["--eps", "0.1", "--attack", "pgdd"], "did you mean pgd?"),
        (
            &["--eps", "0.1", "--attack", "fgsm,fgsm"],
            "attack fgsm is named twice",
        ),
        (
            &["--eps", "0.1", "--attack", "fgsm", "--steps", "5"],
            "attack fgsm has no parameter steps",
        ),
        (
            &["--eps", "0.1", "--attack", "fgsm,bim", "--tries", "5"],
            "fgsm, bim has a parameter tries",
        ),
        (
            &["--eps", "0.1", "--attack", "fgsm", "--step-rule", "adam"],
            "attack fgsm has no parameter rule",
        ),
        (
            &["--eps", "0.1", "--norm", "l3"],
            "\"l3\" is not linf, l2, l1 or l0",
        ),
        (&["--eps", "0.1", "--loss", "hinge"], "hinge"),
        (
            &["--eps", "0.1", "--target", "nearest"],
            "\"nearest\" is the name of none of the model's classes",
        ),
        (
            &["--eps", "0.1", "--target", "10"],
            "the model has 10 classes, 0 to 9",
        ),
        (
            &["--eps", "0.1", "--attack", "pgd", "--access", "scores"],
            "attack pgd needs gradients",
        ),
        (
            &["--eps", "0.1", "--steps", "0"],
            "steps is 0, but must be a whole number, at least 1",
        ),
        (&["--eps", "0.1", "--batch", "0"], "--batch"),
        (&["--eps", "0.1", "--resize", "20"], "20x20"),
        (
            &["--eps", "0.1", "--channels", "bgr"],
            "channels bgr needs 3 channels",
        ),
        (
            &["--eps", "0.1", "--class-names", &names],
            "there are 2 names, and the model has 10 classes",
        ),
        (
            &["--eps", "0.1", "--class-names", "nowhere.txt"],
            "nowhere.txt: No such file",
        ),
    ] {
        assert_refused(&[&good[..], rest].concat(), says);
        assert!(
            !parent.path().join("run").exists(),
            "{rest:?} left a run folder"
        );
    }
}

#[test]
fn files_that_are_not_there_or_broken_are_named() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name).display().to_string();
    let (model, pictures, labels, run) = (model(), pictures(), labels(), path("run"));
    let (truncated, empty, text) = (
        path("truncated.onnx"),
        path("empty.onnx"),
        path("text.onnx"),
    );
    let bytes = fs::read(&model).unwrap();
    fs::write(&truncated, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&empty, []).unwrap();
    fs::write(&text, "not a model").unwrap();
    let (beyond, short) = (path("beyond.npy"), path("short.npy"));
    fs::write(&beyond, npy("|u1", &[2500], &[10; 2500])).unwrap();
    fs::write(&short, npy("|u1", &[3], &[0; 3])).unwrap();
    let (odd, beside) = (path("odd.onnx"), path("odd.toml"));
    fs::copy(&model, &odd).unwrap();
    fs::write(&beside, "meen = [0.5]\n").unwrap();
    let photographs = asset("imagenet/images");
    for (model, data, labels, says) in [
        (
            "nowhere.onnx",
            &*pictures,
            Some(&*labels),
            "nowhere.onnx: No such file",
        ),
        (&model, "nowhere", None, "nowhere: No such file"),
        (
            &model,
            &pictures,
            Some("nowhere.npy"),
            "nowhere.npy: No such file",
        ),
        (&truncated, &pictures, Some(&labels), "truncated.onnx"),
        (&empty, &pictures, Some(&labels), "empty.onnx"),
        (&text, &pictures, Some(&labels), "text.onnx"),
        (&odd, &pictures, Some(&labels), "odd.toml"),
        (
            &model,
            &pictures,
            Some(&beyond),
            "has label 10, and the model has 10 classes, 0 to 9",
        ),
        (&model, &pictures, Some(&short), "has 3 labels"),
        (&model, &photographs, None, "299x299"),
    ] {
        let labels = labels.map_or(vec![], |labels| vec!["--labels", labels]);
        assert_refused(&[&["predict", model, data][..], &labels].concat(), says);
        let attack = ["attack", model, data, "--eps", "0.1", "--out", &run];
        assert_refused(&[&attack[..], &labels].concat(), says);
    }
    let unlabelled = ["attack", &model, &pictures, "--eps", "0.1", "--out", &run];
    assert_refused(&unlabelled, "the preprocessing of");
    assert!(!parent.path().join("run").exists());
    assert_refused(
        &["grad", &truncated, "-o", &path("grad.onnx")],
        "truncated.onnx",
    );
    assert_refused(&["report", "nowhere"], "run.toml: No such file");
    assert_refused(&["frobnicate"], "unrecognized subcommand 'frobnicate'");
}

#[test]
fn without_arguments_there_is_help() {
    let output = hoodwink(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("Usage: hoodwink <COMMAND>")
    );
    let help = String::from_utf8(hoodwink(&["attack", "--help"]).stdout).unwrap();
    assert!(
        help.contains("Only pictures that the model classifies correctly"),
        "{help}"
    );
    assert!(help.contains("- pgd "), "{help}");
}
