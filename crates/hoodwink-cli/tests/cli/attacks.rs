//! `hoodwink attacks`, several recipes in one run, smallest distances, and models elsewhere.

use std::{fs, path::Path};

use serde_json::Value;

use crate::setup::{attack_mnist, borrowed, failure, hoodwink, labels, pictures, succeed};

fn json(limit: usize, out: &Path, rest: &[&str]) -> Value {
    let rest = [rest, &["--format", "json", "--quiet"]].concat();
    serde_json::from_str(&succeed(&borrowed(&attack_mnist(limit, out, &rest)))).unwrap()
}

#[test]
fn the_list_has_the_promised_keys() {
    let all: Value = serde_json::from_str(&succeed(&["attacks", "--format", "json"])).unwrap();
    let all = all.as_array().unwrap();
    for name in [
        "apgd-ce",
        "apgd-dlr",
        "apgd-t",
        "ddn",
        "square",
        "hopskipjump",
        "universal",
    ] {
        let one = all.iter().find(|one| one["name"] == name);
        let one = one.unwrap_or_else(|| panic!("{name} is missing"));
        for key in ["access", "norms", "family", "kind", "targeted", "summary"] {
            assert!(one.get(key).is_some(), "{name}: {key}");
        }
        assert!(["radius", "smallest", "many"].contains(&one["kind"].as_str().unwrap()));
    }
    let black: Value = serde_json::from_str(&succeed(&[
        "attacks", "--access", "scores", "--norm", "l2", "--format", "json",
    ]))
    .unwrap();
    let names: Vec<&str> = (black.as_array().unwrap().iter())
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"square") && names.contains(&"hopskipjump"));
    assert!(!names.contains(&"ddn") && !names.contains(&"pgd"));
}

#[test]
fn one_attack_is_told_whole() {
    let told = succeed(&["attacks", "apgd-t"]);
    for part in [
        "# Formula",
        "2003.01690, algorithm 1",
        "Access: gradients",
        "targets = 9",
        "--attack 'apgd-t(steps=100)'",
        "Cost: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(failure(&["attacks", "apgdt"], 2).contains("did you mean apgd-t?"));
}

#[test]
fn an_attack_may_be_named_twice_with_other_parameters() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let attacks = "pgd(loss=dlr, steps=3), pgd(loss=ce), fgsm";
    let said = json(
        8,
        &out,
        &["--attack", attacks, "--steps", "2", "--eps", "0.1"],
    );
    let recipes: Vec<&str> = (said["attacks"].as_array().unwrap().iter())
        .map(|one| one["recipe"].as_str().unwrap())
        .collect();
    assert!(recipes[0].contains("loss=dlr") && recipes[0].contains("steps=3"));
    assert!(recipes[1].contains("loss=ce") && recipes[1].contains("steps=2"));
    assert_eq!(said["attacks"][1]["name"], "pgd");
    let table = succeed(&["report", &out.display().to_string(), "--format", "table"]);
    assert!(table.contains("pgd(steps=3, loss=dlr)"), "{table}");
    let again = parent.path().join("again").display().to_string();
    let rerun = [
        "rerun",
        &out.display().to_string(),
        "--out",
        &again,
        "--quiet",
    ];
    assert!(succeed(&rerun).contains("are the same"));
}

#[test]
fn without_eps_the_smallest_distance_is_looked_for() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let said = json(8, &out, &["--attack", "ddn(steps=20)", "--norm", "l2"]);
    let entry = &said["attacks"][0];
    assert!(entry["eps"].is_null());
    let distance = &entry["distance"];
    assert_eq!(distance["norm"], "l2");
    for key in ["median", "q10", "unbroken", "n"] {
        assert!(distance[key].is_number(), "{key}: {distance}");
    }
    assert!(distance.get("q90").is_some());
    assert!(distance["q10"].as_f64() <= distance["median"].as_f64());

    // The same search serves every radius.
    let out = parent.path().join("radii");
    let more = [
        "--attack",
        "ddn(steps=20)",
        "--norm",
        "l2",
        "--eps",
        "0.1,5",
    ];
    let said = json(8, &out, &more);
    let robust = |at: usize| said["attacks"][at]["robust_accuracy"]["value"].as_f64();
    assert!(robust(0) > robust(1), "{said}");
    assert_eq!(
        said["attacks"][0]["gradients"],
        said["attacks"][1]["gradients"]
    );
}

#[test]
fn what_is_broken_is_left_alone_if_asked() {
    let parent = tempfile::tempdir().unwrap();
    let rest = ["--attack", "pgd(steps=5), fgsm", "--eps", "0.3"];
    let each = json(12, &parent.path().join("each"), &rest);
    let rest = [&rest[..], &["--skip-broken"]].concat();
    let skipping = json(12, &parent.path().join("skipping"), &rest);
    let attacked = |said: &Value| said["attacks"][1]["attacked"].as_u64().unwrap();
    assert!(attacked(&skipping) < attacked(&each));
    assert_eq!(skipping["worst_case"], each["worst_case"]);
}

#[test]
fn a_universal_perturbation_is_judged_on_pictures_it_has_not_seen() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let attack = "universal(epochs=20, batch=8, step_size=0.2*eps)";
    let said = json(24, &out, &["--attack", attack, "--eps", "0.3"]);
    let entry = &said["attacks"][0];
    assert_eq!(entry["gradients"]["total"], 0);
    assert!(
        entry["success_rate"]["value"].as_f64() > Some(0.2),
        "{entry}"
    );
}

/// Answers that every picture is of class 0, as `docs/remote.md` says.
#[cfg(unix)]
const MODEL: &str = r#"
while read -r line; do
  case "$line" in
    *describe*) echo '{"classes":10,"shape":[1,28,28]}';;
    *)
      count=$(printf '%s' "$line" | sed 's/.*"shape":\[\([0-9]*\),.*/\1/')
      row='[9,1,1,1,1,1,1,1,1,1]'
      rows=$row
      while [ "$count" -gt 1 ]; do rows="$rows,$row"; count=$((count - 1)); done
      echo "{\"logits\":[$rows]}";;
  esac
done
"#;

#[cfg(unix)]
#[test]
fn a_model_behind_a_program_is_attacked_by_its_scores() {
    let parent = tempfile::tempdir().unwrap();
    let script = parent.path().join("model.sh");
    fs::write(&script, MODEL).unwrap();
    let address = format!("cmd:sh {}", script.display());
    let (pictures, labels) = (pictures(), labels());
    let out = parent.path().join("run").display().to_string();
    let args = [
        "attack",
        &pictures,
        "--model",
        &address,
        "--labels",
        &labels,
        "--limit",
        "12",
        "--eps",
        "0.1",
        "--max-queries",
        "30",
        "--quiet",
        "--out",
        &out,
        "--format",
        "json",
    ];
    let said: Value = serde_json::from_str(&succeed(&args)).unwrap();
    // Of the default attacks the best that does with scores.
    assert_eq!(said["attacks"][0]["name"], "square");
    assert_eq!(said["threat"]["access"], "scores");
    assert_eq!(said["model"]["path"], address);
    let right = said["attacks"][0]["clean_accuracy"]["value"]
        .as_f64()
        .unwrap();
    assert!(right > 0.0 && right < 0.5, "{said}");
    assert_eq!(said["attacks"][0]["queries"]["mean"], 30.0);

    let white = [&args[..13], &["--attack", "pgd", "--out", "/nowhere"]].concat();
    assert!(failure(&white, 2).contains("needs gradients"));
    // A run folder may come from a stranger.
    let rerun = hoodwink(&["rerun", &out, "--out", "/nowhere", "--quiet"]);
    let refused = String::from_utf8(rerun.stderr).unwrap();
    assert!(refused.contains("name it with --model"), "{refused}");
}
