//! The comparison page: several models, the same pictures, the same attacker.

use std::path::Path;

use askama::Template;

use super::{
    chart::{self, AccuracyLine, Chart},
    gallery,
    page::{Names, clean_at, confidence, radius, symbol},
    pictures::Shown,
};
use crate::{
    counted,
    error::{Error, Result},
    files,
    results::{
        Outcome, Row, RunFolder, Seen,
        summary::{AttackSummary, Summary},
    },
    stats::Interval,
};

/// Everything that `templates/compare.html` fills in.
#[derive(Template)]
#[template(path = "compare.html")]
struct Page {
    title: String,
    eps: String,
    attack: String,
    norm: String,
    goal: String,
    data: String,
    /// `3 pictures`.
    samples: String,
    runs: Vec<Compared>,
    warnings: Vec<String>,
    accuracy: Chart,
    /// Name and style of every line of the chart.
    legend: Vec<(String, usize)>,
    lines: Vec<Line>,
    examples: Vec<Example>,
}

/// A model in the headline.
struct Compared {
    name: String,
    model: String,
    /// The run's own report, relative to the page.
    link: Option<String>,
    /// Of what its figures are, if not of all pictures.
    so_far: Option<String>,
    clean: Interval,
    robust: Interval,
}

/// One attack at one eps against every model; `None` where a run lacks it.
struct Line {
    attack: String,
    /// Whether the line above has the same attack.
    again: bool,
    eps: String,
    cells: Vec<Option<Cell>>,
}

struct Cell {
    run: String,
    clean: Interval,
    robust: Interval,
}

/// One picture, as it is and as each model was attacked with it.
struct Example {
    truth: String,
    original: Shown,
    answers: Vec<Answer>,
}

struct Answer {
    run: String,
    picture: Shown,
    label: String,
    confidence: String,
    right: bool,
}

/// One run with what was read of it.
struct Read<'a> {
    name: &'a str,
    folder: &'a RunFolder,
    rows: Vec<Row>,
    summary: Summary,
}

/// Writes a page that compares runs, each with the name to call it by, at `path`.
///
/// Fails unless there are at least two, on the same pictures (by digest), in the same norm and with the same goal.
pub fn compare(runs: &[(String, RunFolder)], path: &Path) -> Result<()> {
    let html = Page::of(runs, path)?
        .render()
        .map_err(|e| Error::invalid(format!("the comparison cannot be written: {e}")))?;
    files::write(path, html.as_bytes())
}

impl Page {
    fn of(runs: &[(String, RunFolder)], path: &Path) -> Result<Self> {
        let [(first_name, first), others @ ..] = runs else {
            return Err(Error::invalid("name the runs to compare"));
        };
        if others.is_empty() {
            return Err(Error::invalid(format!(
                "{first_name} alone cannot be compared; name two runs or more"
            )));
        }
        for (name, folder) in others {
            expect_alike(first_name, first, name, folder)?;
        }
        let read: Vec<Read<'_>> = runs
            .iter()
            .map(|(name, folder)| {
                let rows = folder.rows()?;
                let summary = Summary::of(folder.run(), &rows, None);
                Ok(Read {
                    name,
                    folder,
                    rows,
                    summary,
                })
            })
            .collect::<Result<_>>()?;
        let warnings = read.iter().map(Read::warning).collect::<Result<Vec<_>>>()?;
        let record = first.run();
        let eps = largest_common_eps(&read).ok_or_else(|| {
            Error::invalid(format!("{first_name} and the other runs share no eps"))
        })?;
        let attack = strongest(&read, &eps).ok_or_else(|| {
            Error::invalid(format!(
                "{first_name} and the other runs share no attack at eps {eps}"
            ))
        })?;
        let norm = symbol(&record.threat.norm).to_owned();
        let lines: Vec<AccuracyLine> = read.iter().map(Read::accuracy_line).collect();
        let names: Vec<&str> = read.iter().map(|run| run.name).collect();
        Ok(Self {
            title: names.join(", "),
            goal: record.threat.goal.clone(),
            data: record.data.path.clone(),
            samples: counted::pictures(record.data.samples),
            runs: read.iter().map(|run| run.compared(&eps, path)).collect(),
            warnings: warnings.into_iter().flatten().collect(),
            accuracy: chart::accuracy(&lines, &norm),
            legend: lines
                .into_iter()
                .enumerate()
                .map(|(n, line)| (line.name, chart::style(n)))
                .collect(),
            lines: table(&read),
            examples: examples(&read, &eps, &attack)?,
            norm,
            eps,
            attack,
        })
    }
}

fn expect_alike(first_name: &str, first: &RunFolder, name: &str, folder: &RunFolder) -> Result<()> {
    let (a, b) = (first.run(), folder.run());
    let different = [
        ("on other pictures", a.data.digest != b.data.digest),
        ("in another norm", a.threat.norm != b.threat.norm),
        ("with another goal", a.threat.goal != b.threat.goal),
    ];
    match different.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((how, _)) => Err(Error::invalid(format!(
            "{name} was run {how} than {first_name}: their figures cannot be compared"
        ))),
    }
}

/// The largest radius that every run has.
fn largest_common_eps(read: &[Read<'_>]) -> Option<String> {
    let everywhere = |eps: &&String| {
        let mut runs = read.iter();
        runs.all(|run| run.folder.run().threat.eps.contains(eps))
    };
    let candidates = read.first()?.folder.run().threat.eps.iter();
    candidates
        .filter(everywhere)
        .max_by(|a, b| radius(a).total_cmp(&radius(b)))
        .cloned()
}

/// The attack that leaves the first run least, of those that every run has at this eps.
fn strongest(read: &[Read<'_>], eps: &str) -> Option<String> {
    let everywhere = |name: &str| read.iter().all(|run| run.cell(name, eps).is_some());
    let attacks = read.first()?.summary.attacks.iter();
    attacks
        .filter(|attack| attack.eps == eps && everywhere(&attack.name))
        .min_by(|a, b| {
            let left = |attack: &AttackSummary| attack.robust_accuracy.value;
            left(a).total_cmp(&left(b))
        })
        .map(|attack| attack.name.clone())
}

impl Read<'_> {
    fn compared(&self, eps: &str, page: &Path) -> Compared {
        let worst = self
            .summary
            .worst_case
            .iter()
            .find(|worst| worst.eps == eps);
        let clean = clean_at(&self.summary, eps);
        let beside = page.parent().unwrap_or(Path::new(""));
        let report = self.folder.path().join(super::REPORT);
        Compared {
            name: self.name.to_owned(),
            model: self.folder.run().model.path.clone(),
            link: report
                .is_file()
                .then(|| report.strip_prefix(beside).ok())
                .flatten()
                .and_then(|relative| Some(relative.to_str()?.replace('\\', "/"))),
            so_far: self.summary.measured.so_far(),
            clean,
            robust: worst.map_or(clean, |worst| worst.robust_accuracy),
        }
    }

    fn warning(&self) -> Result<Option<String>> {
        let missing = self.folder.missing_samples()?;
        Ok((missing > 0).then(|| {
            format!(
                "The run {} is unfinished: {}.",
                self.name,
                counted::missing(missing as usize, self.folder.samples().count())
            )
        }))
    }

    /// Accuracy under all attacks together, clean accuracy at eps 0.
    fn accuracy_line(&self) -> AccuracyLine {
        let worst = &self.summary.worst_case;
        let start = worst
            .first()
            .map(|worst| clean_at(&self.summary, &worst.eps));
        let mut points: Vec<_> = start
            .into_iter()
            .map(|clean| (0.0, "0".to_owned(), clean))
            .chain(
                worst
                    .iter()
                    .map(|worst| (radius(&worst.eps), worst.eps.clone(), worst.robust_accuracy)),
            )
            .filter(|(eps, _, accuracy)| eps.is_finite() && accuracy.n > 0)
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        AccuracyLine {
            name: self.name.to_owned(),
            points,
        }
    }

    fn cell(&self, attack: &str, eps: &str) -> Option<Cell> {
        let mut attacks = self.summary.attacks.iter();
        let found = attacks.find(|one| one.name == attack && one.eps == eps)?;
        Some(Cell {
            run: self.name.to_owned(),
            clean: found.clean_accuracy,
            robust: found.robust_accuracy,
        })
    }

    /// What this model made of a sample that was attacked.
    fn answer(&self, index: u64, eps: &str, attack: &str) -> Result<Option<Answer>> {
        let mut rows = self.rows.iter();
        let found =
            rows.find(|row| row.index == index && row.eps_text == eps && row.attack == attack);
        let Some(row) = found else { return Ok(None) };
        let (file, seen): (String, Seen) = match (&row.picture, row.saved) {
            (Some(file), Some(saved)) => (file.clone(), saved.seen),
            _ => (RunFolder::original(index), row.clean),
        };
        let label = Names::of_run(self.folder.run()).of(seen.label);
        let how = match row.outcome {
            Outcome::AlreadyWrong => "wrong before any attack",
            _ => "attacked",
        };
        let alt = format!("Sample {index}, {how}; {} sees: {label}", self.name);
        Ok(Some(Answer {
            run: self.name.to_owned(),
            picture: Shown::new(&self.folder.read_picture(&file)?, alt),
            confidence: confidence(seen.confidence),
            right: seen.label == row.label,
            label,
        }))
    }
}

/// Every attack and eps of the first run.
fn table(read: &[Read<'_>]) -> Vec<Line> {
    let attacks = read.first().map(|first| first.summary.attacks.as_slice());
    let mut lines: Vec<Line> = attacks
        .unwrap_or_default()
        .iter()
        .map(|attack| Line {
            attack: attack.name.clone(),
            again: false,
            eps: attack.eps.clone(),
            cells: read
                .iter()
                .map(|run| run.cell(&attack.name, &attack.eps))
                .collect(),
        })
        .collect();
    for at in 1..lines.len() {
        lines[at].again = lines[at].attack == lines[at - 1].attack;
    }
    lines
}

fn examples(read: &[Read<'_>], eps: &str, attack: &str) -> Result<Vec<Example>> {
    let Some(first) = read.first() else {
        return Ok(Vec::new());
    };
    let names = Names::of_run(first.folder.run());
    gallery::choose(&first.rows, eps, Some(attack))
        .into_iter()
        .map(|row| {
            let original = first.folder.read_picture(&RunFolder::original(row.index))?;
            let truth = names.of(row.label);
            let alt = format!("Original picture of sample {}: {truth}", row.index);
            let answers = read
                .iter()
                .filter_map(|run| run.answer(row.index, eps, attack).transpose())
                .collect::<Result<_>>()?;
            Ok(Example {
                original: Shown::new(&original, alt),
                truth,
                answers,
            })
        })
        .collect()
}
