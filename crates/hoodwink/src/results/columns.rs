//! A table of several runs side by side, for the terminal.

use super::{
    summary::{AttackSummary, Summary},
    text::eps,
};
use crate::legible;

/// Returns a table with a row for each attack at each eps and a column for each named run, which holds robust accuracy.
/// A dash means that a run lacks the attack. Distances of attacks for the smallest norm have separate rows.
pub fn columns(runs: &[(String, Summary)]) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let names = runs.iter().map(|(name, _)| legible::name(name));
    rows.push(
        ["still right".to_owned()]
            .into_iter()
            .chain(names)
            .collect(),
    );
    let mut row = |what: String, cell: &dyn Fn(&Summary) -> Option<String>| {
        let cells = runs
            .iter()
            .map(|(_, summary)| cell(summary).unwrap_or_else(|| "–".to_owned()));
        rows.push([what].into_iter().chain(cells).collect());
    };
    row("before any attack".to_owned(), &|summary| {
        Some(summary.attacks.first()?.clean_accuracy.percent())
    });
    for key in keys(runs) {
        let (shown, radius) = key;
        let of = |summary: &Summary| -> Option<AttackSummary> {
            let mut attacks = summary.attacks.iter();
            let found = attacks.find(|one| is_of(one, shown, radius));
            found.cloned()
        };
        let what = format!("{} {}", legible::name(shown), legible::name(eps(radius)));
        row(what, &|summary| {
            Some(of(summary)?.robust_accuracy.percent())
        });
        let has_distance =
            |summary: &Summary| of(summary).is_some_and(|one| one.distance.is_some());
        if runs.iter().any(|(_, summary)| has_distance(summary)) {
            row("  median distance".to_owned(), &|summary| {
                let distance = of(summary)?.distance?;
                Some(super::text::distance(&distance.norm, distance.median))
            });
        }
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..=runs.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match at {
                0 => text.push_str(&format!("{cell:width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push('\n');
    }
    text
}

/// Returns the attacks of all runs with their eps, in the order in which they first occur.
fn keys(runs: &[(String, Summary)]) -> Vec<(&str, Option<&str>)> {
    let mut keys = Vec::new();
    for attack in runs.iter().flat_map(|(_, summary)| &summary.attacks) {
        let key = (&*attack.shown, attack.eps.as_deref());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn is_of(attack: &AttackSummary, shown: &str, radius: Option<&str>) -> bool {
    attack.shown == shown && attack.eps.as_deref() == radius
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::example::{already_wrong, fooled, fooled_at, run, smallest_run};

    #[test]
    fn runs_stand_beside_each_other() {
        let rows = [fooled(0, "pgd", "8/255"), already_wrong(1, "pgd", "8/255")];
        let mut one = run(2);
        one.threat.eps = vec!["8/255".into()];
        one.attacks.truncate(1);
        let first = Summary::of(&one, &rows, None);
        let rows = [fooled_at(0, 0.25), fooled_at(1, 0.5)];
        let second = Summary::of(&smallest_run(2), &rows, None);
        let text = columns(&[("standard".into(), first), ("a\nb".into(), second)]);
        let expected = "\
still right        standard    a\\nb
before any attack     50.0%  100.0%
pgd 8/255              0.0%       –
ddn smallest              –    0.0%
  median distance         –   0.375
";
        assert_eq!(text, expected);
    }
}
