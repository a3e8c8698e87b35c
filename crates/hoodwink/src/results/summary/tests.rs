use super::*;
use crate::lint::Mistake;
use crate::results::Seen;
use crate::results::example::{
    already_broken, already_wrong, fooled, fooled_at, recipe, robust, run, smallest_run, unbroken,
};
use crate::threat::Distances;

/// Ten samples: one wrong from the start; PGD fools six at 4/255, FGSM three, one of which PGD does not.
fn rows() -> Vec<Row> {
    let mut rows = vec![
        already_wrong(0, "pgd", "4/255"),
        already_wrong(0, "fgsm", "4/255"),
    ];
    for index in 1..10 {
        let by_pgd = if index <= 6 { fooled } else { robust };
        let by_fgsm = if (5..8).contains(&index) {
            fooled
        } else {
            robust
        };
        rows.push(by_pgd(index, "pgd", "4/255"));
        rows.push(by_fgsm(index, "fgsm", "4/255"));
    }
    rows
}

fn proportion(interval: Interval) -> (f64, u64) {
    (interval.value, interval.n)
}

#[test]
fn untargeted_figures_are_counts_over_the_right_samples() {
    let timing = Timing {
        by_attack: [(recipe("pgd"), 2.5)].into(),
        ..Timing::default()
    };
    let summary = Summary::of(&run(10), &rows(), Some(&timing));
    let [pgd, pgd_at_8, fgsm, _] = &summary.attacks[..] else {
        panic!("two attacks at two eps: {:?}", summary.attacks.len());
    };
    assert_eq!(
        (pgd.name.as_str(), pgd.eps.as_deref()),
        ("pgd", Some("4/255"))
    );
    assert_eq!(pgd.attacked, 9);
    assert_eq!(proportion(pgd.clean_accuracy), (0.9, 10));
    assert_eq!(proportion(pgd.robust_accuracy), (0.3, 10));
    assert_eq!(proportion(pgd.success_rate), (6.0 / 9.0, 9));
    assert_eq!(proportion(fgsm.robust_accuracy), (0.6, 10));
    assert_eq!((pgd.gradients.total, pgd.gradients.mean), (90, Some(10.0)));
    assert_eq!((pgd.queries.total, pgd.queries.mean), (18, Some(2.0)));
    assert_eq!((pgd.seconds, fgsm.seconds), (Some(2.5), None));
    assert_eq!(pgd.outcomes["already-wrong"], 1);
    assert_eq!((pgd_at_8.attacked, pgd_at_8.norms), (0, None));
    assert_eq!(pgd_at_8.gradients.mean, None);
    // Samples 7, 8 and 9 withstand PGD; FGSM fools 7.
    assert_eq!(proportion(summary.worst_case[0].robust_accuracy), (0.2, 10));
}

#[test]
fn intervals_are_those_of_clopper_and_pearson() {
    // scipy.stats.binomtest(3, 10).proportion_ci(method="exact")
    let robust = Summary::of(&run(10), &rows(), None).attacks[0].robust_accuracy;
    assert!((robust.low - 0.066_739_511_178).abs() < 1e-9, "{robust:?}");
    assert!((robust.high - 0.652_452_850_060).abs() < 1e-9, "{robust:?}");
}

#[test]
fn the_saved_picture_is_judged_apart() {
    let mut rows = rows();
    for row in &mut rows {
        row.saved = robust(row.index, &row.attack, "4/255").saved;
    }
    let pgd = &Summary::of(&run(10), &rows, None).attacks[0];
    assert_eq!(proportion(pgd.robust_accuracy), (0.3, 10));
    assert_eq!(proportion(pgd.robust_accuracy_saved), (0.9, 10));
}

#[test]
fn a_targeted_attack_that_ends_elsewhere_fails_but_the_label_is_lost() {
    let mut row = fooled(0, "pgd", "4/255");
    row.target = Some(2);
    row.float.as_mut().unwrap().success = false;
    let mut reached = fooled(1, "pgd", "4/255");
    reached.target = Some(1);
    let mut run = run(3);
    run.threat.goal = "targeted: most-likely".into();
    let pgd = &Summary::of(&run, &[row, reached], None).attacks[0];
    assert_eq!(proportion(pgd.success_rate), (0.5, 2));
    assert_eq!(pgd.called_target.map(proportion), Some((0.5, 2)));
    assert_eq!(proportion(pgd.no_longer_right), (1.0, 2));
    assert_eq!(proportion(pgd.robust_accuracy), (0.0, 2));
}

#[test]
fn pictures_of_the_class_aimed_at_are_in_no_denominator() {
    let mut run = run(4);
    run.threat.goal = "targeted: 1".into();
    let aimed = |index| Row {
        target: Some(1),
        ..fooled(index, "pgd", "4/255")
    };
    // Right before any attack, but of the target class: nothing to attack.
    let of_target = Row {
        label: 1,
        clean: Seen {
            label: 1,
            confidence: 0.5,
        },
        ..already_wrong(2, "pgd", "4/255")
    };
    let rows = [
        aimed(0),
        aimed(1),
        of_target,
        already_wrong(3, "pgd", "4/255"),
    ];
    let summary = Summary::of(&run, &rows, None);
    let pgd = &summary.attacks[0];
    assert_eq!(
        (summary.measured.pictures, summary.measured.left_out),
        (4, 1)
    );
    assert_eq!((pgd.counted, pgd.attacked), (3, 2));
    assert_eq!(proportion(pgd.clean_accuracy), (2.0 / 3.0, 3));
    assert_eq!(proportion(pgd.robust_accuracy), (0.0, 3));
    assert_eq!(proportion(pgd.called_target.unwrap()), (1.0, 2));
    assert_eq!(proportion(summary.worst_case[0].robust_accuracy), (0.0, 3));
}

#[test]
fn findings_stand_beside_the_figures_that_they_spoil() {
    let finding = |mistake| FindingRecord {
        mistake,
        saw: "seen".into(),
        matters: "it matters".into(),
        remedy: "mend it".into(),
    };
    for (mistake, verdict) in [
        (
            Mistake::Preprocessing,
            Some("No result: the preprocessing looks wrong"),
        ),
        (
            Mistake::Saturated,
            Some(
                "An upper bound at best: the confidence is saturated, so cross-entropy values are too small to compare",
            ),
        ),
        (Mistake::Contradiction, None),
    ] {
        let mut run = run(10);
        run.findings = Some(vec![finding(mistake)]);
        let summary = Summary::of(&run, &rows(), None);
        assert_eq!(summary.verdict().as_deref(), verdict);
        let is_doubtful = |attack: &AttackSummary| !attack.doubts.is_empty();
        // An attack that fools every picture is not too weak.
        let spoils = |attack: &AttackSummary| {
            mistake != Mistake::Saturated || attack.robust_accuracy.value > 0.0
        };
        assert!(
            summary
                .attacks
                .iter()
                .all(|one| is_doubtful(one) == (verdict.is_some() && spoils(one)))
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["findings"][0]["saw"], "seen");
    }
    let mut zero = robust(0, "pgd", "4/255");
    zero.outcome = Outcome::ZeroGradient;
    let summary = Summary::of(&run(10), &[zero], None);
    let doubt = "the gradient was zero on 1 of 1 attacked pictures";
    assert_eq!(summary.attacks[0].doubts, [doubt]);
    let json = serde_json::to_value(&summary).unwrap();
    assert!(json["findings"].is_null() && json["seconds"].is_null());
}

#[test]
fn norms_are_those_of_the_successes() {
    let with_linf = |index: u64, linf: f64, success: bool| {
        let mut row = fooled(index, "pgd", "4/255");
        let verdict = row.float.as_mut().unwrap();
        verdict.success = success;
        verdict.norms = Distances {
            linf,
            ..Distances::default()
        };
        row
    };
    let rows = [
        with_linf(0, 0.1, true),
        with_linf(1, 0.4, true),
        with_linf(2, 0.9, false),
    ];
    let norms = Summary::of(&run(3), &rows, None).attacks[0].norms.unwrap();
    assert_eq!((norms.linf.median, norms.linf.max), (0.25, 0.4));
}

#[test]
fn an_attack_of_a_schedule_that_skips_leaves_what_is_left() {
    let mut rows: Vec<Row> = (0..4)
        .map(|index| match index {
            0 => already_wrong(index, "pgd", "4/255"),
            1 => fooled(index, "pgd", "4/255"),
            _ => robust(index, "pgd", "4/255"),
        })
        .collect();
    rows.extend([
        already_wrong(0, "fgsm", "4/255"),
        already_broken(1, "fgsm", "4/255"),
        fooled(2, "fgsm", "4/255"),
        robust(3, "fgsm", "4/255"),
    ]);
    // The attack that broke it is undone in its file.
    rows[1].saved = rows[2].saved;
    let summary = Summary::of(&run(4), &rows, None);
    let (pgd, fgsm, worst) = (
        &summary.attacks[0],
        &summary.attacks[2],
        &summary.worst_case[0],
    );
    assert_eq!(proportion(pgd.robust_accuracy), (0.5, 4));
    assert_eq!(proportion(fgsm.robust_accuracy), (0.25, 4));
    assert_eq!((fgsm.attacked, fgsm.outcomes["already-broken"]), (2, 1));
    assert_eq!(proportion(fgsm.success_rate), (0.5, 2));
    assert_eq!(proportion(worst.robust_accuracy), (0.25, 4));
    assert_eq!(proportion(worst.robust_accuracy_saved), (0.5, 4));
}

#[test]
fn quantiles_are_those_of_numpy() {
    let inf = f64::INFINITY;
    // numpy.quantile(values, share)
    for (values, share, expected) in [
        (&[1.0, 2.0, 4.0, 8.0][..], 0.5, 3.0),
        (&[1.0, 2.0, 4.0, 8.0], 0.1, 1.3),
        (&[1.0, 2.0, 4.0, 8.0], 0.9, 6.8),
        (&[3.0], 0.9, 3.0),
        (&[1.0, 2.0, inf], 0.5, 2.0),
        (&[1.0, 2.0, inf], 0.9, inf),
        (&[1.0, inf], 0.5, inf),
        (&[inf, inf], 0.5, inf),
    ] {
        let found = quantile(values, share);
        let same = found == expected || (found - expected).abs() < 1e-12;
        assert!(same, "{share} of {values:?}: {found}");
    }
    assert!(quantile(&[], 0.5).is_nan());
}

#[test]
fn smallest_distances_are_over_the_right_pictures() {
    let wrong = Row {
        eps: None,
        ..already_wrong(0, "ddn", "4/255")
    };
    let mut rows = vec![wrong, unbroken(1)];
    rows.extend((2..6).map(|index| fooled_at(index, 0.25 * index as f64)));
    let summary = Summary::of(&smallest_run(6), &rows, None);
    let [ddn] = &summary.attacks[..] else {
        panic!("one attack, not {}", summary.attacks.len());
    };
    let distance = ddn.distance.clone().unwrap();
    assert_eq!((ddn.eps.as_deref(), &*distance.norm), (None, "l2"));
    // 0.5, 0.75, 1, 1.25 and infinity
    assert_eq!((distance.median, distance.q90), (1.0, f64::INFINITY));
    assert!((distance.q10 - 0.6).abs() < 1e-12);
    assert_eq!((distance.unbroken, distance.n), (0.2, 5));
    assert_eq!(distance.count_unbroken(), 1);
    assert_eq!(proportion(ddn.robust_accuracy), (1.0 / 6.0, 6));
    assert_eq!(
        proportion(summary.worst_case[0].robust_accuracy),
        (1.0 / 6.0, 6)
    );

    let json = serde_json::to_value(&summary).unwrap();
    let attack = &json["attacks"][0];
    assert!(attack["eps"].is_null() && json["worst_case"][0]["eps"].is_null());
    let found = &attack["distance"];
    assert_eq!(found["median"], 1.0);
    assert!(found["q90"].is_null() && attack.get("shown").is_none());
    let nothing = serde_json::to_value(Summary::of(&smallest_run(6), &[], None)).unwrap();
    let found = &nothing["attacks"][0]["distance"];
    for (key, value) in found.as_object().unwrap() {
        let expected = match &**key {
            "norm" => "l2".into(),
            "n" => 0.into(),
            _ => serde_json::Value::Null,
        };
        assert_eq!(*value, expected, "{key}");
    }
}

#[test]
fn json_has_the_promised_keys_and_null_for_what_is_not_there() {
    let json = serde_json::to_value(Summary::of(&run(10), &rows(), None)).unwrap();
    for key in [
        "model",
        "data",
        "measured",
        "findings",
        "seconds",
        "threat",
        "attacks",
        "worst_case",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let attack = &json["attacks"][1];
    for key in [
        "name",
        "recipe",
        "eps",
        "counted",
        "attacked",
        "no_longer_right",
        "called_target",
        "doubts",
        "clean_accuracy",
        "robust_accuracy",
        "robust_accuracy_saved",
        "success_rate",
        "norms",
        "distance",
        "gradients",
        "queries",
        "seconds",
    ] {
        assert!(attack.get(key).is_some(), "{key}");
    }
    assert!(attack["norms"].is_null() && attack["distance"].is_null());
    assert!(attack["seconds"].is_null());
    assert!(attack["clean_accuracy"]["value"].is_null());
    assert_eq!(json["attacks"][0]["robust_accuracy"]["value"], 0.3);
}
