//! `hoodwink train`: what its options decide.

use std::fs;

use serde_json::Value;

use crate::setup::succeed;

#[test]
fn pictures_are_resized_by_the_filter_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, rest: &[&str]| {
        let model = folder.path().join(name).display().to_string();
        let train = ["train", "scenes:count=20,side=32", "--resize", "16"];
        let few = [
            "--preset", "tutorial", "--epochs", "1", "--engine", "rten", "--quiet",
        ];
        let said = succeed(&[&train[..], &few, &["--format=json", "-o", &*model], rest].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["model"], *model);
        assert_eq!(said["history"][0]["epoch"], 1);
        assert!(said["history"][0]["held_out_accuracy"].is_null());
        fs::read(&model).unwrap()
    };
    let usual = trained("usual.onnx", &[]);
    assert!(usual == trained("bilinear.onnx", &["--interpolation", "bilinear"]));
    assert!(usual != trained("lanczos.onnx", &["--interpolation", "lanczos"]));
}
