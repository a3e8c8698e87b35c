use super::*;
use crate::results::AttackRecord;
use crate::results::example::{
    already_broken, already_wrong, fooled, fooled_at, recipe, robust, run, smallest_run, unbroken,
};

fn said(run: &Run, row: &Row) -> String {
    let consistency = Consistency::of(run).unwrap();
    consistency.of_row(row).err().unwrap_or_default()
}

#[test]
fn what_a_run_of_this_program_writes_is_consistent() {
    let run = run(5);
    let nan = Seen {
        label: 0,
        confidence: f32::NAN,
    };
    let no_number = Verdict {
        seen: nan,
        success: false,
        norms: Distances {
            l1: f64::NAN,
            l2: f64::NAN,
            ..Distances::default()
        },
    };
    let beyond = |verdict: Option<Verdict>| {
        verdict.map(|verdict| Verdict {
            success: false,
            ..verdict
        })
    };
    let far = Verdict {
        norms: Distances {
            l0: 3.0,
            l1: 3.0,
            l2: 2.0,
            linf: 1.0,
        },
        ..no_number
    };
    for row in [
        fooled(0, "pgd", "8/255"),
        robust(1, "fgsm", "4/255"),
        already_wrong(2, "pgd", "8/255"),
        already_broken(2, "fgsm", "8/255"),
        // What a smaller radius broke is not attacked again; and nor is what was looked for without one.
        Row {
            eps: "8/255".parse().ok(),
            queries: 0,
            gradients: 0,
            loss: Vec::new(),
            ..fooled(0, "pgd", "4/255")
        },
        Row {
            picture: Some(RunFolder::adversarial("pgd", None, 0)),
            ..fooled(0, "pgd", "4/255")
        },
        // The smallest distance that was found is beyond this radius.
        Row {
            eps: "4/255".parse().ok(),
            outcome: Outcome::Robust,
            float: beyond(fooled(0, "pgd", "8/255").float),
            saved: beyond(fooled(0, "pgd", "8/255").saved),
            picture: Some(RunFolder::adversarial("pgd", None, 0)),
            ..fooled(0, "pgd", "8/255")
        },
        // A model may answer no number, and then an attack may too.
        Row {
            clean: nan,
            float: Some(no_number),
            saved: Some(far),
            ..robust(3, "pgd", "8/255")
        },
        Row {
            noise: None,
            outcome: Outcome::BudgetSpent,
            ..robust(4, "pgd", "8/255")
        },
    ] {
        assert_eq!(said(&run, &row), "", "{row:?}");
    }
}

#[test]
fn rows_that_cannot_be_are_refused() {
    fn float(row: &mut Row) -> &mut Verdict {
        row.float.as_mut().unwrap()
    }
    fn saved(row: &mut Row) -> &mut Verdict {
        row.saved.as_mut().unwrap()
    }
    type Change = fn(&mut Row);
    let of_fooled: [(Change, &str); 28] = [
        (
            |row| saved(row).success = false,
            "it reaches its goal within eps but claims not to",
        ),
        (|row| row.index = 5, "the run has 5 samples"),
        (
            |row| row.attack = "square".into(),
            "by \"square\", \"pgd(loss = cross-entropy)\", at eps Some(\"8/255\")",
        ),
        (
            |row| row.recipe = "pgd()".into(),
            "by \"pgd\", \"pgd()\", at eps",
        ),
        (
            |row| row.recipe = recipe("fgsm"),
            "by \"pgd\", \"fgsm(loss = cross-entropy)\", at",
        ),
        (
            |row| row.eps = "1/255".parse().ok(),
            "at eps Some(\"1/255\"), which",
        ),
        (
            |row| row.eps = "16/510".parse().ok(),
            "at eps Some(\"16/510\"), which",
        ),
        (|row| row.eps = None, "at eps None, which"),
        (
            |row| row.outcome = Outcome::AlreadyBroken,
            "but an attack was made",
        ),
        (|row| row.label = 3, "label 3 of 3 classes"),
        (|row| row.clean.label = 7, "label 7 of 3 classes"),
        (|row| float(row).seen.label = 3, "label 3 of 3 classes"),
        (
            |row| saved(row).seen.label = u32::MAX,
            "label 4294967295 of 3",
        ),
        (|row| row.clean.confidence = 1.5, "a confidence of 1.5"),
        (
            |row| saved(row).seen.confidence = -0.5,
            "a confidence of -0.5",
        ),
        (
            |row| row.queries = u64::MAX,
            "it spent 18446744073709551615 queries",
        ),
        (|row| row.gradients = 1 << 63, "gradients"),
        (
            |row| row.target = Some(1),
            "its target is Some(1), but the goal is untargeted",
        ),
        (
            |row| row.outcome = Outcome::Robust,
            "but the attack succeeded",
        ),
        (
            |row| row.outcome = Outcome::AlreadyWrong,
            "but an attack was judged",
        ),
        (|row| row.float = None, "but no attack was judged"),
        (|row| row.saved = None, "but no attack was judged"),
        (|row| row.clean.label = 1, "but the model was wrong before"),
        (
            |row| float(row).seen.label = 0,
            "claims to reach its goal within eps but does not",
        ),
        (
            |row| float(row).norms.linf = 0.5,
            "no picture has the distances",
        ),
        (
            |row| saved(row).norms.l0 = 1e9,
            "no picture has the distances",
        ),
        (
            |row| float(row).norms.l1 = f64::NAN,
            "no picture has the distances",
        ),
        (
            |row| row.picture = Some("run.toml".into()),
            "its picture is Some(\"run.toml\")",
        ),
    ];
    // What lies beyond eps has not succeeded.
    let beyond: [(Change, &str); 1] = [(
        |row| saved(row).norms = fooled(0, "pgd", "16/255").saved.unwrap().norms,
        "claims to reach its goal within eps but does not",
    )];
    let of_robust: [(Change, &str); 4] = [
        (
            |row| float(row).norms.l1 = f64::INFINITY,
            "no picture has the distances",
        ),
        (
            |row| row.outcome = Outcome::Fooled,
            "but the attack did not succeed",
        ),
        (
            |row| {
                float(row).seen.label = 1;
                float(row).norms = Distances::default();
            },
            "it reaches its goal within eps but claims not to",
        ),
        (
            |row| saved(row).success = true,
            "claims to reach its goal within eps but does not",
        ),
    ];
    let of_broken: [(Change, &str); 4] = [
        (|row| row.clean.label = 1, "but the model was wrong before"),
        (|row| row.queries = 1, "but an attack was made"),
        (|row| row.loss = vec![0.5], "but an attack was made"),
        (
            |row| row.float = fooled(0, "pgd", "8/255").float,
            "but an attack was made",
        ),
    ];
    let of_wrong: [(Change, &str); 2] = [
        (|row| row.clean.label = 0, "but the model was right"),
        (
            |row| row.picture = Some("a.png".into()),
            "but an attack was judged",
        ),
    ];
    let run = run(5);
    for (sound, changes) in [
        (fooled(0, "pgd", "8/255"), &of_fooled[..]),
        (fooled(0, "pgd", "8/255"), &beyond),
        (robust(0, "pgd", "8/255"), &of_robust),
        (already_broken(0, "fgsm", "8/255"), &of_broken),
        (already_wrong(0, "pgd", "8/255"), &of_wrong),
    ] {
        for (change, says) in changes {
            let mut row = sound.clone();
            change(&mut row);
            let refusal = said(&run, &row);
            assert!(refusal.contains(says), "{says}: {refusal:?}");
        }
    }
}

#[test]
fn without_eps_there_is_one_row_and_any_distance() {
    let run = smallest_run(5);
    for row in [fooled_at(0, 0.001), fooled_at(0, 5.0), unbroken(1)] {
        assert_eq!(said(&run, &row), "", "{row:?}");
    }
    let with_eps = Row {
        eps: "0.5".parse().ok(),
        ..fooled_at(0, 0.25)
    };
    assert!(said(&run, &with_eps).contains("at eps Some(\"0.5\"), which"));
    let mut denied = fooled_at(0, 0.5);
    denied.saved.as_mut().unwrap().success = false;
    assert!(said(&run, &denied).contains("it reaches its goal within eps but claims not to"));
    let elsewhere = Row {
        picture: Some(RunFolder::adversarial("ddn", Some("0.5"), 0)),
        ..fooled_at(0, 0.5)
    };
    assert!(said(&run, &elsewhere).contains("which cannot be the path for"));
}

#[test]
fn pictures_of_larger_radii_and_other_attacks_are_not_those_of_a_row() {
    let mut run = run(5);
    run.attacks[1] = AttackRecord {
        name: "pgd".into(),
        recipe: recipe("fgsm"),
    };
    let of_second = Row {
        recipe: recipe("fgsm"),
        ..fooled(0, "pgd", "4/255")
    };
    for (picture, fits) in [
        (RunFolder::adversarial("pgd-2", Some("4/255"), 0), true),
        (RunFolder::adversarial("pgd-2", None, 0), true),
        (RunFolder::adversarial("pgd", Some("4/255"), 0), false),
        (RunFolder::adversarial("pgd-2", Some("8/255"), 0), false),
        (RunFolder::adversarial("pgd-2", Some("4/255"), 1), false),
    ] {
        let row = Row {
            picture: Some(picture.clone()),
            ..of_second.clone()
        };
        assert_eq!(said(&run, &row).is_empty(), fits, "{picture}");
    }
}

#[test]
fn the_rows_of_a_sample_agree_with_each_other() {
    let run = run(5);
    let consistency = Consistency::of(&run).unwrap();
    let said = |rows: &[Row]| {
        let rows = Vec::from_iter(rows);
        consistency.of_sample(&rows).err().unwrap_or_default()
    };
    let again = Row {
        eps: "8/255".parse().ok(),
        ..fooled(0, "pgd", "4/255")
    };
    let mut surer = again.clone();
    surer.saved.as_mut().unwrap().seen.confidence = 0.875;
    let mut nearer = again.clone();
    nearer.float.as_mut().unwrap().norms.l0 = 191.0;
    let first = fooled(0, "pgd", "4/255");
    let broken = already_broken(0, "fgsm", "4/255");
    for (other, says) in [
        (again, ""),
        (
            surer,
            "has rows that disagree on adversarial/pgd-4-255/000000.png",
        ),
        (nearer, "has rows that disagree on adversarial/pgd"),
        (first.clone(), "has two rows of one attack"),
        (broken.clone(), ""),
        (
            already_broken(0, "fgsm", "8/255"),
            "is already-broken before fgsm(loss = cross-entropy), but no earlier attack broke it",
        ),
    ] {
        let found = said(&[first.clone(), other.clone()]);
        assert!(
            found == says || !says.is_empty() && found.starts_with(says),
            "{found}"
        );
    }
    let later = already_broken(0, "pgd", "4/255");
    assert!(said(&[later, fooled(0, "fgsm", "4/255")]).contains("no earlier attack"));
    assert!(said(&[robust(0, "pgd", "4/255"), broken]).contains("no earlier attack"));
}

#[test]
fn attacks_that_would_share_a_folder_are_refused() {
    let mut run = run(5);
    run.threat.eps = vec!["1e+2".into(), "1e-2".into()];
    let refusal = Consistency::of(&run).err().unwrap();
    assert!(
        refusal.contains("pictures of pgd at eps 1e-2 would have the same path as others"),
        "{refusal}"
    );
    run.attacks[1].name = "pgd".into();
    run.threat.eps = vec!["2/8".into(), "8".into()];
    let refusal = Consistency::of(&run).err().unwrap();
    assert!(refusal.contains("pgd-2 at eps 8"), "{refusal}");
}

#[test]
fn targets_and_budgets_are_those_of_the_run() {
    let mut run = run(5);
    run.threat.goal = "targeted: 1".into();
    run.threat.budget.insert("gradients".into(), 9);
    let at_one = Row {
        target: Some(1),
        gradients: 9,
        ..fooled(0, "pgd", "8/255")
    };
    assert_eq!(said(&run, &at_one), "");
    let mut other = at_one.clone();
    other.target = Some(2);
    assert!(said(&run, &other).contains("the goal is targeted: 1"));
    other.target = None;
    assert!(said(&run, &other).contains("its target is None"));
    let spent = Row {
        gradients: 10,
        ..at_one
    };
    assert!(said(&run, &spent).contains("it spent 10 gradients"));
    // A picture of the target class is left alone.
    let of_target = Row {
        clean: fooled(0, "pgd", "8/255").clean,
        ..already_wrong(0, "pgd", "8/255")
    };
    assert_eq!(said(&run, &of_target), "");
}

/// A run of an earlier version, which took for outside what single precision had moved a hair beyond the radius.
#[test]
fn what_was_held_against_a_narrower_tolerance_still_opens() {
    let run = run(3);
    let mut row = robust(0, "pgd", "4/255");
    let verdict = row.float.as_mut().unwrap();
    verdict.seen.label = 1;
    verdict.norms.linf = 4.0 / 255.0 + 3e-8;
    assert_eq!(Consistency::of(&run).unwrap().of_row(&row), Ok(()));
}
