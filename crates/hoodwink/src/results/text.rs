//! The summary as a plain-text table for the terminal, and as Markdown.

use super::summary::{Distance, Summary};
use crate::{counted, legible, stats::Interval};

const HEAD: [&str; 10] = [
    "attack",
    "eps",
    "clean",
    "robust",
    "95% CI",
    "robust (PNG)",
    "success",
    "median size",
    "gradients",
    "queries",
];

/// The summary as aligned columns, for a terminal with a fixed-width font.
pub fn plain(summary: &Summary) -> String {
    let rows = rows(summary);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(HEAD[column].len())
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let mut line = String::new();
        for (at, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            match at {
                0 => line.push_str(&format!("{cell:width$}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        line.push('\n');
        line
    };
    let mut text = line(&HEAD);
    for row in &rows {
        text.push_str(&line(&row.each_ref().map(String::as_str)));
    }
    for attack in &summary.attacks {
        if let Some(distance) = &attack.distance {
            text.push_str(&format!(
                "{}: {}\n",
                legible::name(&attack.shown),
                distances(distance)
            ));
        }
    }
    let truth = summary.data.truth;
    if let Some(notice) = truth.notice(summary.measured.pictures) {
        text.push_str(&format!("({notice})\n"));
    }
    for line in targeted(summary) {
        text.push_str(&format!("{line}\n"));
    }
    for doubt in doubts(summary) {
        text.push_str(&format!("doubtful: {doubt}\n"));
    }
    if let Some(verdict) = summary.verdict() {
        text.push_str(&format!("({verdict})\n"));
    }
    if let Some(so_far) = summary.measured.so_far() {
        text.push_str(&format!("({so_far})\n"));
    }
    text
}

/// Returns the doubts from zero gradients and findings, each with the attacks it concerns.
fn doubts(summary: &Summary) -> Vec<String> {
    let mut said: Vec<(&str, Vec<String>)> = Vec::new();
    for attack in &summary.attacks {
        let name = format!(
            "{} at {}",
            legible::name(&attack.shown),
            legible::name(eps(attack.eps.as_deref()))
        );
        for doubt in &attack.doubts {
            match said.iter_mut().find(|(known, _)| known == doubt) {
                Some((_, names)) => names.push(name.clone()),
                None => said.push((doubt, vec![name.clone()])),
            }
        }
    }
    let all = summary.attacks.len();
    said.into_iter()
        .map(|(doubt, names)| match names.len() == all {
            true => format!("all figures under attack: {doubt}"),
            false => format!("{}: {doubt}", names.join(", ")),
        })
        .collect()
}

/// Returns the outcomes of targeted attacks, such as `pgd at 8/255: of 164 attacked pictures 164 no longer right, 150
/// classified as the target`, and how many pictures are left out.
fn targeted(summary: &Summary) -> Vec<String> {
    let of = |share: &Interval| (share.value * share.n as f64).round() as u64;
    let mut lines: Vec<String> = summary
        .attacks
        .iter()
        .filter(|attack| attack.attacked > 0)
        .filter_map(|attack| {
            Some(format!(
                "{} at {}: of {} {} no longer right, {} classified as the target",
                legible::name(&attack.shown),
                legible::name(eps(attack.eps.as_deref())),
                counted(
                    attack.attacked as usize,
                    "attacked picture",
                    "attacked pictures"
                ),
                of(&attack.no_longer_right),
                of(attack.called_target.as_ref()?)
            ))
        })
        .collect();
    if summary.measured.left_out > 0 {
        lines.push(left_out(summary.measured.left_out));
    }
    lines
}

/// `20 pictures of the target class are left out: there is nothing to attack`.
pub(crate) fn left_out(pictures: usize) -> String {
    format!(
        "{} of the target class {} left out: there is nothing to attack",
        counted(pictures, "picture", "pictures"),
        if pictures == 1 { "is" } else { "are" }
    )
}

/// Formats distances in one line: `median L2 0.112 (10%: 0.03, 90%: 0.4), unbroken 1 of 64`.
pub fn distances(of: &Distance) -> String {
    let at = |value| distance(&of.norm, value);
    format!(
        "median {} {} (10%: {}, 90%: {}), unbroken {} of {}",
        symbol(&of.norm),
        at(of.median),
        at(of.q10),
        at(of.q90),
        of.count_unbroken(),
        of.n
    )
}

/// Returns the usual symbol of a norm.
pub fn symbol(norm: &str) -> &str {
    match norm {
        "linf" => "L∞",
        "l2" => "L2",
        "l1" => "L1",
        "l0" => "L0",
        other => other,
    }
}

/// Returns the text of an eps, or a word if there is none.
pub fn eps(eps: Option<&str>) -> &str {
    eps.unwrap_or("smallest")
}

/// The summary as a Markdown table.
pub fn markdown(summary: &Summary) -> String {
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEAD);
    text.push_str(&line(&std::array::from_fn::<_, 10, _>(|at| match at {
        0 => "---",
        _ => "---:",
    })));
    for row in rows(summary) {
        let escaped = row.map(|cell| cell.replace('|', "\\|"));
        text.push_str(&line(&escaped.each_ref().map(String::as_str)));
    }
    text
}

/// Formats a proportion as a percentage with one decimal; a dash if nothing was measured.
pub fn percent(proportion: f64) -> String {
    match proportion.is_nan() {
        true => "–".to_owned(),
        false => format!("{:.1}%", 100.0 * proportion),
    }
}

impl Interval {
    /// Formats the measured proportion as a percentage; a dash if nothing was measured.
    pub fn percent(&self) -> String {
        percent(self.value)
    }

    /// Formats the ends of the interval as percentages; a dash if nothing was measured.
    pub fn ends(&self) -> String {
        match self.n {
            0 => "–".to_owned(),
            _ => format!("{:.1}–{:.1}%", 100.0 * self.low, 100.0 * self.high),
        }
    }
}

/// A distance of `norm` in pixel space: L∞ in levels of 1/255, L0 as a count, the others as they are; ∞ for none that
/// is enough, a dash if nothing was measured.
pub fn distance(norm: &str, value: f64) -> String {
    match norm {
        _ if value.is_nan() => "–".to_owned(),
        _ if value.is_infinite() => "∞".to_owned(),
        "l0" => value.to_string(),
        "linf" => format!("{}/255", (value * 2550.0).round() / 10.0),
        _ => format!("{value:.3}"),
    }
}

fn rows(summary: &Summary) -> Vec<[String; HEAD.len()]> {
    let norm = summary.threat.norm.as_str();
    let dash = || "–".to_owned();
    let mut rows: Vec<_> = summary
        .attacks
        .iter()
        .map(|attack| {
            let size = attack.norms.map(|norms| norms.in_norm(norm).median);
            let mean = |mean: Option<f64>| mean.map_or_else(dash, |mean| format!("{mean:.1}"));
            [
                legible::name(&attack.shown),
                legible::name(eps(attack.eps.as_deref())),
                attack.clean_accuracy.percent(),
                attack.robust_accuracy.percent(),
                attack.robust_accuracy.ends(),
                attack.robust_accuracy_saved.percent(),
                attack.success_rate.percent(),
                size.map_or_else(dash, |size| distance(norm, size)),
                mean(attack.gradients.mean),
                mean(attack.queries.mean),
            ]
        })
        .collect();
    let attacks_per_eps = summary.attacks.len() / summary.worst_case.len().max(1);
    if attacks_per_eps > 1 {
        rows.extend(summary.worst_case.iter().map(|worst| {
            [
                "worst of all".to_owned(),
                legible::name(eps(worst.eps.as_deref())),
                dash(),
                worst.robust_accuracy.percent(),
                worst.robust_accuracy.ends(),
                worst.robust_accuracy_saved.percent(),
                dash(),
                dash(),
                dash(),
                dash(),
            ]
        }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::Mistake;
    use crate::results::FindingRecord;
    use crate::results::example::{already_wrong, fooled, fooled_at, run, smallest_run, unbroken};

    fn summary() -> Summary {
        let rows = [
            fooled(0, "pgd", "8/255"),
            already_wrong(1, "pgd", "8/255"),
            fooled(0, "fgsm", "8/255"),
            already_wrong(1, "fgsm", "8/255"),
        ];
        let mut run = run(2);
        run.threat.eps = vec!["8/255".into()];
        Summary::of(&run, &rows, None)
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "\
attack        eps  clean  robust     95% CI  robust (PNG)  success  median size  gradients  queries
pgd         8/255  50.0%    0.0%  0.0–84.2%          0.0%   100.0%        8/255       10.0      2.0
fgsm        8/255  50.0%    0.0%  0.0–84.2%          0.0%   100.0%        8/255       10.0      2.0
worst of all 8/255      –    0.0%  0.0–84.2%          0.0%        –            –          –        –
";
        let found = plain(&summary());
        let aligned = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(aligned(&found), aligned(expected));
        let width = |line: &str| line.chars().count();
        let widths: Vec<usize> = found.lines().map(width).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{found}");
    }

    #[test]
    fn smallest_distances_have_a_line_of_their_own() {
        let rows = [fooled_at(0, 0.25), fooled_at(1, 0.5), unbroken(2)];
        let text = plain(&Summary::of(&smallest_run(3), &rows, None));
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            "ddn: median L2 0.500 (10%: 0.300, 90%: ∞), unbroken 1 of 3"
        );
        let row = text.lines().nth(1).unwrap();
        assert!(
            row.starts_with("ddn     smallest  100.0%   33.3%"),
            "{text}"
        );
    }

    #[test]
    fn figures_of_some_pictures_are_marked() {
        for (samples, partition, expected) in [
            (2, None, None),
            (300, None, Some("(2 of 300 pictures so far)")),
            (4, Some("1/2"), Some("(part 1/2)")),
            (
                300,
                Some("3/8"),
                Some("(part 3/8, 2 of 37 pictures so far)"),
            ),
            (1, None, None),
        ] {
            let mut run = run(samples);
            run.partition = partition.map(|text| text.parse().unwrap());
            let rows = [fooled(0, "pgd", "8/255"), already_wrong(1, "pgd", "8/255")];
            let text = plain(&Summary::of(&run, &rows, None));
            let last = text.lines().last().filter(|line| line.starts_with('('));
            assert_eq!(last, expected);
        }
    }

    #[test]
    fn doubts_and_both_rates_are_said_under_the_table() {
        let mut run = run(3);
        run.threat.eps = vec!["8/255".into()];
        run.threat.goal = "targeted: 2".into();
        run.findings = Some(vec![FindingRecord {
            mistake: Mistake::Preprocessing,
            saw: String::new(),
            matters: String::new(),
            remedy: String::new(),
        }]);
        let aimed = |index, success| {
            let mut row = fooled(index, "pgd", "8/255");
            row.target = Some(2);
            for verdict in [&mut row.float, &mut row.saved].into_iter().flatten() {
                verdict.success = success;
                verdict.seen.label = if success { 2 } else { 1 };
            }
            row
        };
        let mut left = already_wrong(2, "pgd", "8/255");
        left.label = 2;
        let text = plain(&Summary::of(
            &run,
            &[aimed(0, true), aimed(1, false), left],
            None,
        ));
        for line in [
            "pgd at 8/255: of 2 attacked pictures 2 no longer right, 1 classified as the target",
            "1 picture of the target class is left out: there is nothing to attack",
            "doubtful: all figures under attack: the preprocessing looks wrong",
            "(No result: the preprocessing looks wrong)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn markdown_keeps_its_cells_apart() {
        let mut summary = summary();
        summary.attacks[0].shown = "a|b".into();
        let text = markdown(&summary);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].matches("---").count(), HEAD.len());
        assert!(lines[2].starts_with("| a\\|b | 8/255 | 50.0% |"), "{text}");
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(percent(0.0), "0.0%");
        assert_eq!(distance("linf", 8.0 / 255.0), "8/255");
        assert_eq!(distance("linf", 7.6 / 255.0), "7.6/255");
        assert_eq!(distance("l2", 0.5), "0.500");
        assert_eq!(distance("l2", f64::INFINITY), "∞");
        assert_eq!(distance("l2", f64::NAN), "–");
        assert_eq!(distance("l0", 3.5), "3.5");
    }
}
