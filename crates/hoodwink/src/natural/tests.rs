//! Against numbers of scikit-learn, and of the published script's definitions in NumPy: `goldens/natural.py`.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::*;

#[derive(Deserialize)]
struct Goldens {
    answers: Vec<Labelled>,
    known: Vec<Vec<f64>>,
    unknown: Vec<Vec<f64>>,
    detection: BTreeMap<String, BTreeMap<String, f64>>,
    ties: Vec<Tied>,
}

#[derive(Deserialize)]
struct Labelled {
    subset: Vec<usize>,
    logits: Vec<Vec<f64>>,
    labels: Vec<usize>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    top1: f64,
    top5: f64,
    unmasked_top1: f64,
    unmasked_top5: f64,
    standard: BTreeMap<String, f64>,
    nae: BTreeMap<String, f64>,
    ece: f64,
    aurra: f64,
    soft_f1: f64,
    temperature: f64,
    temperature_nae: f64,
    entropy: f64,
    gini: f64,
}

#[derive(Deserialize)]
struct Tied {
    known: Vec<f64>,
    unknown: Vec<f64>,
    expected: BTreeMap<String, f64>,
}

const NO_INTERVALS: Resampling = Resampling { count: 0, seed: 0 };

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../../../../goldens/natural.json")).unwrap()
}

fn logits(rows: &[Vec<f64>]) -> Logits {
    let mut logits = Logits::new(rows[0].len()).unwrap();
    rows.iter().for_each(|row| logits.push(row, "x").unwrap());
    logits
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-9,
        "{what}: {found} instead of {expected}"
    );
}

fn measured(labelled: &Labelled, definition: Definition) -> Measures {
    let all = logits(&labelled.logits);
    let subset = Subset::of("some", labelled.subset.clone(), all.classes()).unwrap();
    let answers = Answers::of(&all, &labelled.labels, &subset, "x").unwrap();
    let given = Given {
        model: "m",
        multiply_adds: None,
        names: &subset.names(&[]),
        hard: Some(&answers),
        clean: None,
        unknown: None,
        scores: &[],
    };
    let settings = Settings {
        definition,
        resampling: NO_INTERVALS,
    };
    Evaluation::of(&given, &settings).unwrap().hard.unwrap()
}

#[test]
fn measures_of_answers_are_those_of_numpy_and_the_script() {
    for labelled in goldens().answers {
        let expected = &labelled.expected;
        let standard = measured(&labelled, Definition::Standard);
        let nae = measured(&labelled, Definition::Nae);
        for (found, expected, what) in [
            (standard.top1.value, expected.top1, "top-1"),
            (standard.top5.value, expected.top5, "top-5"),
            (
                standard.unmasked.top1.value,
                expected.unmasked_top1,
                "top-1 of all",
            ),
            (
                standard.unmasked.top5.value,
                expected.unmasked_top5,
                "top-5 of all",
            ),
            (
                standard.rms_calibration.value,
                expected.standard["rms"],
                "RMS",
            ),
            (
                standard.rms_calibration_nae,
                expected.nae["rms"],
                "RMS of nae",
            ),
            (standard.mad_calibration, expected.standard["mad"], "MAD"),
            (
                standard.max_calibration,
                expected.standard["max"],
                "largest",
            ),
            (nae.rms_calibration.value, expected.nae["rms"], "nae: RMS"),
            (
                nae.rms_calibration_standard,
                expected.standard["rms"],
                "nae: RMS of all bins",
            ),
            (nae.mad_calibration, expected.nae["mad"], "nae: MAD"),
            (nae.max_calibration, expected.nae["max"], "nae: largest"),
            (standard.ece.value, expected.ece, "ECE"),
            (standard.aurra.value, expected.aurra, "AURRA"),
            (nae.aurra.value, expected.aurra, "nae: AURRA"),
            (standard.soft_f1.value, expected.soft_f1, "soft F1"),
            (
                nae.temperature,
                expected.temperature_nae,
                "nae: temperature",
            ),
            (standard.predicted.entropy, expected.entropy, "entropy"),
            (standard.predicted.gini, expected.gini, "Gini"),
        ] {
            close(found, expected, what);
        }
        // SciPy's search stops at the precision that a flat minimum allows.
        let (found, reference) = (standard.temperature, expected.temperature);
        assert!(
            (found - reference).abs() < 1e-6,
            "{found} instead of {reference}"
        );
    }
}

fn check(found: &Detection, nearest: &Detection, expected: &BTreeMap<String, f64>, what: &str) {
    for (found, name) in [
        (found.auroc, "auroc"),
        (found.aupr, "aupr"),
        (found.aupr_trapezoid, "aupr_trapezoid"),
        (found.fpr95_ood, "fpr95_ood"),
        (found.fpr95_id, "fpr95_id"),
        (nearest.fpr95_ood, "fpr95_ood_nae"),
        (nearest.fpr95_id, "fpr95_id_nae"),
    ] {
        close(found.value, expected[name], &format!("{what}: {name}"));
    }
}

#[test]
fn detection_is_scikit_learns() {
    let goldens = goldens();
    let (known, unknown) = (logits(&goldens.known), logits(&goldens.unknown));
    for score in Score::ALL {
        let outliers = Outliers::by(score, &known, &unknown);
        let of = |recall| Detection::of(&outliers, recall, NO_INTERVALS);
        let expected = &goldens.detection[score.word()];
        check(
            &of(Recall::Reached),
            &of(Recall::Nearest),
            expected,
            score.word(),
        );
    }
    for (at, tied) in goldens.ties.into_iter().enumerate() {
        let outliers = Outliers {
            score: "x".to_owned(),
            known: tied.known,
            unknown: tied.unknown,
        };
        let of = |recall| Detection::of(&outliers, recall, NO_INTERVALS);
        let what = format!("ties {at}");
        check(
            &of(Recall::Reached),
            &of(Recall::Nearest),
            &tied.expected,
            &what,
        );
    }
}

#[test]
fn random_scores_have_the_average_precision_of_chance() {
    use rand::{RngExt as _, SeedableRng as _};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut draw = |count| -> Vec<f64> { (0..count).map(|_| rng.random()).collect() };
    // 2,000 pictures of ImageNet-O and 10,000 of the classes they are held against: 16.67%.
    let outliers = Outliers {
        score: "random".to_owned(),
        known: draw(10_000),
        unknown: draw(2_000),
    };
    let found = Detection::of(&outliers, Recall::Reached, NO_INTERVALS);
    assert!(
        (found.aupr.value - 1.0 / 6.0).abs() < 0.006,
        "{:?}",
        found.aupr
    );
    assert!((found.auroc.value - 0.5).abs() < 0.015);
}

#[test]
fn sets_of_one_kind_are_told_and_never_zero() {
    let labelled = |labels: &[usize]| Labelled {
        subset: vec![0, 1, 2],
        logits: vec![vec![2.0, 1.0, 0.0]; labels.len()],
        labels: labels.to_vec(),
        expected: goldens().answers.remove(0).expected,
    };
    let right = measured(&labelled(&[0, 0, 0]), Definition::Standard);
    assert!(right.soft_f1.value.is_nan() && right.temperature.is_nan());
    assert!(
        right
            .notes
            .iter()
            .any(|note| note.contains("Every answer is right"))
    );
    assert!(right.notes.iter().any(|note| note.contains("of one class")));
    let wrong = measured(&labelled(&[1, 2]), Definition::Standard);
    assert!(
        wrong
            .notes
            .iter()
            .any(|note| note.contains("Every answer is wrong"))
    );
    assert!(
        wrong
            .notes
            .iter()
            .any(|note| note.contains("have no pictures"))
    );
    assert!(wrong.temperature.is_nan());
    let few = measured(&labelled(&[0, 1]), Definition::Nae);
    assert!(few.rms_calibration.value.is_nan());
    let json = serde_json::to_value(&few).unwrap();
    assert_eq!(json["rms_calibration"]["value"], serde_json::Value::Null);
    assert_eq!(
        json["classes"][2]["recall"]["value"],
        serde_json::Value::Null
    );
}
