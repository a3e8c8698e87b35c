//! A small artificial run for tests.

use std::collections::BTreeMap;

use super::{
    AttackRecord, DataRecord, ModelRecord, Outcome, Row, Run, RunFolder, Seen, Settings,
    ThreatRecord, Truth, Verdict, table,
};
use crate::image::Picture;
use crate::threat::Distances;

/// Returns a run of two attacks at two eps on `samples` pictures of three classes.
pub(crate) fn run(samples: usize) -> Run {
    let attack = |name: &str| AttackRecord {
        name: name.into(),
        recipe: recipe(name),
    };
    Run {
        schema: table::SCHEMA,
        hoodwink: "0.1.0".into(),
        engine: "rten 0.27.0".into(),
        partition: None,
        findings: None,
        model: ModelRecord {
            path: "model.onnx".into(),
            sha256: "ab".repeat(32),
            input: [3, 8, 8],
            classes: 3,
            preprocessing: "mean = 0.5".into(),
        },
        data: DataRecord {
            path: "pictures".into(),
            digest: "cd".repeat(32),
            samples,
            class_names: ["circle", "square", "star"].map(String::from).into(),
            truth: Truth::Labels,
        },
        threat: ThreatRecord {
            norm: "linf".into(),
            eps: vec!["4/255".into(), "8/255".into()],
            sweep: None,
            goal: "untargeted".into(),
            access: "gradients".into(),
            budget: BTreeMap::new(),
        },
        attacks: vec![attack("pgd"), attack("fgsm")],
        settings: Settings { seed: 0 },
        options: toml::Table::new(),
    }
}

/// Returns the recipe of the attack with this name in [`run`].
pub(crate) fn recipe(name: &str) -> String {
    format!("{name}(loss = cross-entropy)")
}

/// Returns a run of one attack that looks for the smallest L2 distance.
pub(crate) fn smallest_run(samples: usize) -> Run {
    let mut run = run(samples);
    run.threat.norm = "l2".into();
    run.threat.eps.clear();
    run.attacks = vec![AttackRecord {
        name: "ddn".into(),
        recipe: recipe("ddn"),
    }];
    run
}

/// Returns a sample of [`smallest_run`] that is fooled at this L2 distance, spread evenly over its values.
pub(crate) fn fooled_at(index: u64, distance: f64) -> Row {
    let values = 192f64;
    let norms = Distances {
        l0: values,
        l1: values.sqrt() * distance,
        l2: distance,
        linf: distance / values.sqrt(),
    };
    let mut row = Row {
        attack: "ddn".into(),
        recipe: recipe("ddn"),
        eps: None,
        picture: Some(RunFolder::adversarial("ddn", None, index)),
        ..fooled(index, "pgd", "8/255")
    };
    for verdict in [&mut row.float, &mut row.saved].into_iter().flatten() {
        verdict.norms = norms;
    }
    row
}

/// Returns a sample of [`smallest_run`] that is fooled at no distance.
pub(crate) fn unbroken(index: u64) -> Row {
    withstood(fooled_at(index, 0.5))
}

/// Returns the rows of these samples in [`run`], all fooled, in the order of a run folder.
pub(crate) fn all_fooled(indices: std::ops::Range<u64>) -> Vec<Row> {
    let mut rows = Vec::new();
    for attack in ["pgd", "fgsm"] {
        for eps in ["4/255", "8/255"] {
            rows.extend(indices.clone().map(|index| fooled(index, attack, eps)));
        }
    }
    rows
}

/// Returns a picture of the run's size with a single level.
pub(crate) fn picture(level: u8) -> Picture {
    Picture::new(3, 8, 8, vec![level; 192]).expect("it has 192 values")
}

/// Returns a sample of class 0 that the model classifies as 0 and that the attack turned into class 1.
pub(crate) fn fooled(index: u64, attack: &str, eps_text: &str) -> Row {
    let numerator: f64 = eps_text
        .trim_end_matches("/255")
        .parse()
        .expect("eps of the example is k/255");
    let eps = numerator / 255.0;
    let verdict = Verdict {
        seen: Seen {
            label: 1,
            confidence: 0.75,
        },
        success: true,
        norms: Distances {
            l0: 192.0,
            l1: 192.0 * eps,
            l2: 192f64.sqrt() * eps,
            linf: eps,
        },
    };
    Row {
        index,
        sample: format!("{index:064x}"),
        file: format!("pictures/circle/{index}.png"),
        label: 0,
        attack: attack.into(),
        recipe: recipe(attack),
        eps: eps_text.parse().ok(),
        target: None,
        clean: Seen {
            label: 0,
            confidence: 0.875,
        },
        outcome: Outcome::Fooled,
        float: Some(verdict),
        saved: Some(verdict),
        noise: Some(Seen {
            label: 2,
            confidence: 0.5,
        }),
        queries: 2,
        gradients: 10,
        loss: vec![0.125, 0.5, 2.0],
        picture: Some(RunFolder::adversarial(attack, Some(eps_text), index)),
    }
}

/// Returns the same sample if it had withstood.
pub(crate) fn robust(index: u64, attack: &str, eps_text: &str) -> Row {
    withstood(fooled(index, attack, eps_text))
}

fn withstood(row: Row) -> Row {
    let withstood = |verdict: Option<Verdict>| {
        verdict.map(|verdict| Verdict {
            seen: row.clean,
            success: false,
            ..verdict
        })
    };
    Row {
        outcome: Outcome::Robust,
        float: withstood(row.float),
        saved: withstood(row.saved),
        ..row
    }
}

/// Returns the same sample if an earlier attack had broken it.
pub(crate) fn already_broken(index: u64, attack: &str, eps_text: &str) -> Row {
    Row {
        outcome: Outcome::AlreadyBroken,
        float: None,
        saved: None,
        noise: None,
        queries: 0,
        gradients: 0,
        loss: Vec::new(),
        picture: None,
        ..fooled(index, attack, eps_text)
    }
}

/// Returns the same sample if the model had been wrong before any attack.
pub(crate) fn already_wrong(index: u64, attack: &str, eps_text: &str) -> Row {
    Row {
        clean: Seen {
            label: 2,
            confidence: 0.5,
        },
        outcome: Outcome::AlreadyWrong,
        ..already_broken(index, attack, eps_text)
    }
}
