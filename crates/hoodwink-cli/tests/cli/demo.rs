//! `hoodwink demo`, and the comparison it ends with.

use std::{fs, path::Path};

use hoodwink::results::{RunFolder, Summary};

use crate::setup::{assert_same_files, hoodwink, succeed};

/// Accuracy of a model of the demo under PGD at the largest radius.
fn robust_accuracy(run: &Path) -> f64 {
    let folder = RunFolder::open(run).unwrap();
    let summary = Summary::of(folder.run(), &folder.rows().unwrap(), None);
    let mut attacks = summary.attacks.iter();
    let found = attacks.find(|one| one.name == "pgd" && one.eps.as_deref() == Some("8/255"));
    found.unwrap().robust_accuracy.value
}

#[test]
fn the_demo_fools_one_model_and_not_the_other_and_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let demo = |name: &str, threads: &str| {
        let out = parent.path().join(name);
        let path = out.to_str().unwrap();
        let story = succeed(&[
            "demo",
            "--pictures",
            "10",
            "--quiet",
            "--threads",
            threads,
            "--out",
            path,
        ]);
        (out, story)
    };
    let (out, story) = demo("demo", "2");
    for part in ["without attack", "noise", "FGSM", "PGD", "report.html"] {
        assert!(story.contains(part), "{part} is missing:\n{story}");
    }
    let lines = story.lines().filter(|line| !line.is_empty()).count();
    assert!((10..=18).contains(&lines), "{lines} lines:\n{story}");

    let [standard, robust] = ["standard", "robust"].map(|name| {
        assert!(out.join(name).join("report.html").is_file());
        robust_accuracy(&out.join(name))
    });
    assert!(standard <= 0.2, "the standard model keeps {standard}");
    assert!(robust >= 0.6, "the robust model keeps {robust}");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("href=\"standard/report.html\"") && !page.contains("http"));

    // The same command again computes nothing anew.
    assert_eq!(demo("demo", "2").1, story);
    // The names of the models are part of a run, so only a copy of this folder could be equal in every byte.
    let (other, _) = demo("other", "1");
    assert_same_files(
        &out.join("standard/adversarial"),
        &other.join("standard/adversarial"),
    );
}

#[test]
fn runs_on_other_pictures_are_not_compared() {
    let parent = tempfile::tempdir().unwrap();
    let demo = |count: &str| {
        let out = parent.path().join(count);
        let path = out.to_str().unwrap();
        succeed(&["demo", "--pictures", count, "--quiet", "--out", path]);
        out.join("standard").to_str().unwrap().to_owned()
    };
    let runs = [demo("1"), demo("2")];
    let page = parent.path().join("page.html");
    let output = hoodwink(&["report", &runs[0], &runs[1], "-o", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("other pictures"), "{errors}");
    assert!(!page.exists());
}
