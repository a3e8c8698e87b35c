//! The figures as text for a terminal.

use std::fmt::Write as _;

use super::Definition;
use super::evaluation::{Evaluation, Report};
use super::measures::Measures;
use super::tables::{ModelRow, ModelTable};
use crate::stats::Interval;
use crate::{counted, legible};

/// Confusions and attractors that are told of each set.
const TOLD: usize = 5;

/// The figures of all models, in lines.
pub fn plain(report: &Report) -> String {
    let models = report.models.iter().map(of_model);
    let tables = report.tables.iter().map(of_table);
    models.chain(tables).collect::<Vec<_>>().join("\n")
}

/// Models of a table that are told.
const MODELS: usize = 20;

fn of_table(table: &ModelTable) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut text, table);
    text
}

fn write_table(text: &mut String, table: &ModelTable) -> std::fmt::Result {
    let models = counted(table.rows.len(), "model", "models");
    writeln!(text, "{}: {models}", legible::name(&table.name))?;
    for one in &table.correlations {
        writeln!(
            text,
            "rank correlation of {} and {}: {:.2} (95% interval {:.2} to {:.2}, n = {})",
            one.between[0],
            one.between[1],
            one.spearman.value,
            one.spearman.low,
            one.spearman.high,
            one.spearman.n
        )?;
    }
    let name = |row: &ModelRow| match row.size {
        Some(size) => format!("{} at {size}", legible::name(&row.model)),
        None => legible::name(&row.model),
    };
    let rows = &table.rows[..table.rows.len().min(MODELS)];
    let width = rows.iter().map(|row| name(row).chars().count()).max();
    let width = width.unwrap_or(0);
    writeln!(
        text,
        "  {:width$}  {:>6}  {:>6}  {:>12}",
        "", "clean", "hard", "under attack"
    )?;
    for row in rows {
        let robust = row.robust.map_or(String::new(), percent);
        write!(
            text,
            "  {:width$}  {:>6}  {:>6}  {robust:>12}",
            name(row),
            percent(row.clean),
            percent(row.hard)
        )?;
        end_line(text)?;
    }
    match table.rows.len() - rows.len() {
        0 => Ok(()),
        more => writeln!(text, "  and {more} more"),
    }
}

fn of_model(of: &Evaluation) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_model(&mut text, of);
    text
}

fn write_model(text: &mut String, of: &Evaluation) -> std::fmt::Result {
    writeln!(text, "{}", legible::name(&of.model))?;
    match of.classes < of.model_classes {
        true => writeln!(
            text,
            "classes: {} of {} ({})",
            of.classes,
            of.model_classes,
            legible::name(&of.subset)
        )?,
        false => writeln!(text, "classes: all {}", of.classes)?,
    }
    let sets: Vec<(&str, &Measures)> = [("hard", &of.hard), ("clean", &of.clean)]
        .into_iter()
        .filter_map(|(name, set)| Some((name, set.as_ref()?)))
        .collect();
    let calibration = match of.definition {
        Definition::Standard => "RMS calibration",
        Definition::Nae => "RMS calib. (nae)",
    };
    let head = sets
        .iter()
        .map(|(name, set)| format!("{name} ({})", set.pictures));
    line(text, "", head)?;
    type Figure<'a> = (&'a str, fn(&Measures) -> String);
    let figures: [Figure<'_>; 10] = [
        ("top-1", |set| share(&set.top1)),
        ("top-5", |set| share(&set.top5)),
        ("top-1, all classes", |set| share(&set.unmasked.top1)),
        (calibration, |set| share(&set.rms_calibration)),
        ("ECE", |set| share(&set.ece)),
        ("AURRA", |set| share(&set.aurra)),
        ("soft F1", |set| share(&set.soft_f1)),
        ("temperature", |set| number(set.temperature)),
        ("effective classes", |set| {
            number(set.predicted.effective_classes)
        }),
        ("Gini", |set| number(set.predicted.gini)),
    ];
    for (name, figure) in figures {
        if name != "top-1, all classes" || of.classes < of.model_classes {
            line(text, name, sets.iter().map(|(_, set)| figure(set)))?;
        }
    }
    if let Some(crops) = of.hard.as_ref().and_then(|hard| hard.any_of_ten_crops) {
        writeln!(text, "  any of ten crops right: {}", share(&crops))?;
    }
    if let Some(drop) = &of.drop {
        writeln!(
            text,
            "drop from clean to hard: {:.1} points (95% interval {:.1} to {:.1})",
            100.0 * drop.value,
            100.0 * drop.low,
            100.0 * drop.high
        )?;
    }
    for (name, set) in &sets {
        if of.classes < of.model_classes {
            writeln!(text, "{name}: {}", masking(set, of.classes))?;
        }
        let other = match of.definition {
            Definition::Standard => ("the published script", set.rms_calibration_nae),
            Definition::Nae => ("all bins", set.rms_calibration_standard),
        };
        writeln!(
            text,
            "{name}: RMS calibration by {}: {}",
            other.0,
            percent(other.1)
        )?;
    }
    if !of.ood.is_empty() {
        writeln!(
            text,
            "unknown pictures ({}) told from {} ones ({}):",
            of.ood[0].unknown,
            of.known.unwrap_or("known"),
            of.ood[0].known
        )?;
        let head = [
            "AUROC",
            "AUPR",
            "AUPR (trapezoid)",
            "FPR95 (OOD pos.)",
            "FPR95 (ID pos.)",
        ];
        line(text, "", head.map(str::to_owned))?;
        for one in &of.ood {
            let figures = [
                one.auroc,
                one.aupr,
                one.aupr_trapezoid,
                one.fpr95_ood,
                one.fpr95_id,
            ];
            line(text, &one.score, figures.map(|figure| share(&figure)))?;
        }
    }
    for (name, set) in &sets {
        for one in set
            .attractors
            .iter()
            .filter(|one| one.significant)
            .take(TOLD)
        {
            writeln!(
                text,
                "{name}: attractor {}: predicted {}, true {}",
                legible::name(&one.name),
                one.predicted.percent(),
                percent(one.true_share)
            )?;
        }
        for one in set.confusions.iter().take(TOLD) {
            writeln!(
                text,
                "{name}: {} taken for {}: {} ({}), the other way round {}{}",
                legible::name(&one.name),
                legible::name(&one.taken_for_name),
                one.count,
                share(&one.rate),
                one.reverse,
                if one.directed { ", directed" } else { "" }
            )?;
        }
        for note in &set.notes {
            writeln!(text, "{name}: {note}")?;
        }
    }
    Ok(())
}

/// What leaving classes out does to top-1, in a sentence.
fn masking(set: &Measures, classes: usize) -> String {
    format!(
        "over all classes top-1 is {} instead of {}, as predictions outside the {classes} count as wrong",
        set.unmasked.top1.percent(),
        set.top1.percent()
    )
}

fn line(
    text: &mut String,
    name: &str,
    cells: impl IntoIterator<Item = String>,
) -> std::fmt::Result {
    write!(text, "  {name:<18}")?;
    for cell in cells {
        write!(text, "  {cell:<22}")?;
    }
    end_line(text)
}

/// Without spaces at its end.
fn end_line(text: &mut String) -> std::fmt::Result {
    text.truncate(text.trim_end_matches(' ').len());
    writeln!(text)
}

fn share(of: &Interval) -> String {
    match (of.value.is_nan(), of.low.is_nan()) {
        (true, _) => "undefined".to_owned(),
        (false, true) => of.percent(),
        (false, false) => format!("{} ({})", of.percent(), of.ends()),
    }
}

fn percent(value: f64) -> String {
    match value.is_nan() {
        true => "undefined".to_owned(),
        false => format!("{:.1}%", 100.0 * value),
    }
}

fn number(value: f64) -> String {
    match value.is_nan() {
        true => "undefined".to_owned(),
        false => format!("{value:.3}"),
    }
}
