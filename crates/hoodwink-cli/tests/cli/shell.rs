//! `hoodwink completions` and `hoodwink man`.

use crate::setup::{hoodwink, succeed};

#[test]
fn shells_and_the_manual_know_every_sub_command() {
    let names = [
        "attack", "data", "demo", "grad", "inspect", "merge", "predict", "report", "rerun", "train",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(&["completions", shell]);
        assert!(names.iter().all(|name| script.contains(name)), "{shell}");
    }
    let page = succeed(&["man"]);
    assert!(names.iter().all(|name| page.contains(name)), "{page}");
    let page = succeed(&["man", "attack"]);
    assert!(
        page.contains("hoodwink\\-attack") && page.contains("restarts"),
        "{page}"
    );
    let refused = hoodwink(&["man", "nonsense"]);
    assert_eq!(refused.status.code(), Some(2));
}
