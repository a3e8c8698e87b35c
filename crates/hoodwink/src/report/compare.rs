//! The comparison page: several models on the same pictures against the same attacker.

use std::path::Path;

use askama::Template;

use super::{
    chart::{AccuracyLine, Curves, DistanceLine},
    gallery,
    headline::{clean_at, radius},
    page::{Names, confidence, findings, goal},
    pictures::Shown,
    places::place,
};
use crate::{
    counted,
    error::{Error, Result},
    files,
    results::{
        Counting, Outcome, Row, RunFolder, Seen,
        summary::{AttackSummary, Summary},
        text::{distance, distances, left_out, symbol},
    },
    stats::Interval,
};

/// Everything that `templates/compare.html` fills in.
#[derive(Template)]
#[template(path = "compare.html")]
struct Page {
    title: String,
    /// `None` if the attacks looked for the smallest distance.
    eps: Option<String>,
    attack: String,
    norm: String,
    goal: String,
    data: String,
    /// `3 pictures`.
    samples: String,
    runs: Vec<Compared>,
    warnings: Vec<String>,
    curves: Curves,
    lines: Vec<Line>,
    examples: Vec<Example>,
}

/// A model in the headline.
struct Compared {
    name: String,
    model: String,
    /// The run's own report, relative to the page.
    link: Option<String>,
    /// Which pictures its figures cover, if not all.
    so_far: Option<String>,
    /// Why its figures are not a valid result.
    verdict: Option<String>,
    clean: Interval,
    robust: Interval,
    /// The median distance of the compared attack, if there is no eps.
    distance: Option<String>,
}

/// One attack at one eps against every model; `None` if a run lacks it.
struct Line {
    attack: String,
    /// Whether the line above has the same attack.
    again: bool,
    eps: Option<String>,
    cells: Vec<Option<Cell>>,
}

struct Cell {
    run: String,
    clean: Interval,
    robust: Interval,
    /// The distance within which its pictures were fooled, if there is no eps.
    distance: Option<String>,
    /// Why its figures are doubtful.
    doubts: String,
}

/// One picture in its original form and as attacked against each model.
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
    /// `right` or `wrong`.
    colour: &'static str,
}

/// A run and what was read from it.
struct Read<'a> {
    name: &'a str,
    folder: &'a RunFolder,
    rows: Vec<Row>,
    summary: Summary,
}

/// Writes a page that compares runs to `path`; each run comes with the name to show.
///
/// Fails unless there are at least two, on the same pictures (by digest), in the same norm and with the same goal.
pub fn compare(runs: &[(String, RunFolder)], path: &Path) -> Result<()> {
    let html = Page::of(runs, path)?
        .render()
        .map_err(|e| Error::invalid(format!("the comparison cannot be written: {e}")))?;
    files::write(path, html.as_bytes())
}

/// Returns the curves of a comparison; fails as [`compare`] does.
pub(super) fn curves(runs: &[(String, RunFolder)]) -> Result<Curves> {
    let read = read(runs)?;
    let eps = common_eps(&read)?;
    Ok(curves_of(&read, eps.as_deref()))
}

/// Returns one chart of all runs: against eps if they have any, else against distance.
fn curves_of(read: &[Read<'_>], eps: Option<&str>) -> Curves {
    let norm = read.first().map(|first| &*first.folder.run().threat.norm);
    let norm = symbol(norm.unwrap_or_default());
    match eps {
        Some(_) => Curves::of_accuracy(read.iter().map(Read::accuracy_line), norm),
        None => Curves::of_distance(read.iter().filter_map(Read::distance_line), norm),
    }
}

/// Two or more comparable runs, with their rows.
fn read(runs: &[(String, RunFolder)]) -> Result<Vec<Read<'_>>> {
    let [(first_name, first), others @ ..] = runs else {
        return Err(Error::invalid("name the runs to compare"));
    };
    if others.is_empty() {
        return Err(Error::invalid(format!(
            "{first_name} alone cannot be compared; name at least two runs"
        )));
    }
    for (name, folder) in others {
        expect_alike(first_name, first, name, folder)?;
    }
    runs.iter()
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
        .collect()
}

/// Returns the largest radius that every run has; `None` if none has any.
fn common_eps(read: &[Read<'_>]) -> Result<Option<String>> {
    largest_common_eps(read).ok_or_else(|| {
        let first = read.first().map_or("", |first| first.name);
        Error::invalid(format!("{first} and the other runs have no eps in common"))
    })
}

impl Page {
    fn of(runs: &[(String, RunFolder)], path: &Path) -> Result<Self> {
        let read = read(runs)?;
        let Some(Read {
            name: first_name,
            folder: first,
            ..
        }) = read.first()
        else {
            return Err(Error::invalid("name the runs to compare"));
        };
        let warnings = read
            .iter()
            .map(Read::warnings)
            .collect::<Result<Vec<_>>>()?;
        let record = first.run();
        let eps = common_eps(&read)?;
        let eps = eps.as_deref();
        let attack = strongest(&read, eps).ok_or_else(|| {
            let at = eps.map_or(String::new(), |eps| format!(" at eps {eps}"));
            Error::invalid(format!(
                "{first_name} and the other runs have no attack in common{at}"
            ))
        })?;
        let norm = symbol(&record.threat.norm).to_owned();
        let curves = curves_of(&read, eps);
        let names: Vec<&str> = read.iter().map(|run| run.name).collect();
        Ok(Self {
            title: names.join(", "),
            goal: goal(record),
            data: place(&record.data.path),
            samples: counted::pictures(record.data.samples),
            runs: read
                .iter()
                .map(|run| run.compared(&attack, eps, path))
                .collect(),
            warnings: warnings.into_iter().flatten().collect(),
            curves,
            lines: table(&read),
            examples: examples(&read, eps, &attack)?,
            norm,
            eps: eps.map(str::to_owned),
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
            "{name} was run {how} than {first_name}, so their figures cannot be compared"
        ))),
    }
}

/// Returns the largest radius that every run has, or `Some(None)` if none has any.
fn largest_common_eps(read: &[Read<'_>]) -> Option<Option<String>> {
    let has_none = |run: &Read<'_>| run.folder.run().threat.eps.is_empty();
    if read.iter().all(has_none) {
        return Some(None);
    }
    let everywhere = |eps: &&String| {
        let mut runs = read.iter();
        runs.all(|run| run.folder.run().threat.eps.contains(eps))
    };
    let candidates = read.first()?.folder.run().threat.eps.iter();
    candidates
        .filter(everywhere)
        .max_by(|a, b| radius(Some(a)).total_cmp(&radius(Some(b))))
        .map(|eps| Some(eps.clone()))
}

/// Returns the strongest attack on the first run, of those that every run has at this eps. Without eps, the strongest
/// is the one with the smallest median distance. The name is that in [`Run::shown`].
fn strongest(read: &[Read<'_>], eps: Option<&str>) -> Option<String> {
    let everywhere = |name: &str| read.iter().all(|run| run.cell(name, eps).is_some());
    let attacks = read.first()?.summary.attacks.iter();
    attacks
        .filter(|attack| attack.eps.as_deref() == eps && everywhere(&attack.shown))
        .min_by(|a, b| {
            let left = |attack: &AttackSummary| match &attack.distance {
                None => attack.robust_accuracy.value,
                Some(distance) => distance.median,
            };
            left(a).total_cmp(&left(b))
        })
        .map(|attack| attack.shown.clone())
}

impl Read<'_> {
    fn compared(&self, attack: &str, eps: Option<&str>, page: &Path) -> Compared {
        let worst = self
            .summary
            .worst_case
            .iter()
            .find(|worst| worst.eps.as_deref() == eps);
        let clean = clean_at(&self.summary, eps);
        let beside = page.parent().unwrap_or(Path::new(""));
        let report = self.folder.path().join(super::REPORT);
        Compared {
            name: self.name.to_owned(),
            model: place(&self.folder.run().model.path),
            verdict: self.summary.verdict(),
            link: report
                .is_file()
                .then(|| report.strip_prefix(beside).ok())
                .flatten()
                .and_then(|relative| Some(relative.to_str()?.replace('\\', "/"))),
            so_far: self.summary.about(),
            clean,
            robust: worst.map_or(clean, |worst| worst.robust_accuracy),
            distance: self
                .attack(attack, eps)
                .and_then(|found| found.distance.as_ref())
                .map(|found| {
                    format!(
                        "{} {}",
                        symbol(&found.norm),
                        distance(&found.norm, found.median)
                    )
                }),
        }
    }

    /// Returns warnings about its figures.
    fn warnings(&self) -> Result<Vec<String>> {
        let named = |said: String| format!("{}: {said}", self.name);
        let mut warnings: Vec<String> =
            findings(self.folder.run()).into_iter().map(named).collect();
        let missing = self.folder.missing_samples()?;
        if missing > 0 {
            warnings.push(format!(
                "The run {} is unfinished: {}.",
                self.name,
                counted::missing(missing as usize, self.folder.samples().count())
            ));
        }
        if self.summary.measured.left_out > 0 {
            warnings.push(named(format!(
                "{}.",
                left_out(self.summary.measured.left_out)
            )));
        }
        Ok(warnings)
    }

    /// Accuracy under all attacks together; at eps 0, clean accuracy.
    fn accuracy_line(&self) -> AccuracyLine {
        let worst = &self.summary.worst_case;
        let start = worst
            .first()
            .map(|worst| clean_at(&self.summary, worst.eps.as_deref()));
        let mut points: Vec<_> = start
            .into_iter()
            .map(|clean| (0.0, "0".to_owned(), clean))
            .chain(worst.iter().filter_map(|worst| {
                let eps = worst.eps.clone()?;
                Some((radius(Some(&eps)), eps, worst.robust_accuracy))
            }))
            .filter(|(eps, _, accuracy)| eps.is_finite() && accuracy.n > 0)
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        AccuracyLine {
            name: self.name.to_owned(),
            points,
            swept: self.folder.run().threat.sweep.is_some(),
            steps: None,
        }
    }

    /// Accuracy against distance, with the smallest distance of all attacks on each picture.
    fn distance_line(&self) -> Option<DistanceLine> {
        let rows = Counting::of(self.folder.run()).counted(&self.rows);
        DistanceLine::of(self.name.to_owned(), &self.folder.run().threat.norm, &rows)
    }

    fn attack(&self, shown: &str, eps: Option<&str>) -> Option<&AttackSummary> {
        let mut attacks = self.summary.attacks.iter();
        attacks.find(|one| one.shown == shown && one.eps.as_deref() == eps)
    }

    fn cell(&self, shown: &str, eps: Option<&str>) -> Option<Cell> {
        let found = self.attack(shown, eps)?;
        Some(Cell {
            run: self.name.to_owned(),
            clean: found.clean_accuracy,
            robust: found.robust_accuracy,
            distance: found.distance.as_ref().map(distances),
            doubts: found.doubts.join("; "),
        })
    }

    /// The model's answer to an attacked sample.
    fn answer(&self, index: u64, eps: Option<&str>, shown: &str) -> Result<Option<Answer>> {
        let recipe = self.attack(shown, eps).map(|one| &one.recipe);
        let is_it =
            |row: &&Row| row.index == index && row.eps_text() == eps && Some(&row.recipe) == recipe;
        let Some(row) = self.rows.iter().find(is_it) else {
            return Ok(None);
        };
        let (file, seen): (String, Seen) = match (&row.picture, row.saved) {
            (Some(file), Some(saved)) => (file.clone(), saved.seen),
            _ => (RunFolder::original(index), row.clean),
        };
        let label = Names::of_run(self.folder.run()).of(seen.label);
        let how = match row.outcome {
            Outcome::AlreadyWrong => "wrong before any attack",
            Outcome::AlreadyBroken => "broken by another attack",
            _ => "attacked",
        };
        let alt = format!("Sample {index}, {how}; {} says: {label}", self.name);
        Ok(Some(Answer {
            run: self.name.to_owned(),
            picture: Shown::new(&self.folder.read_picture(&file)?, alt, None),
            confidence: confidence(seen.confidence),
            colour: gallery::colour(seen, row),
            label,
        }))
    }
}

/// Returns every attack and eps of the first run.
fn table(read: &[Read<'_>]) -> Vec<Line> {
    let attacks = read.first().map(|first| first.summary.attacks.as_slice());
    let mut lines: Vec<Line> = attacks
        .unwrap_or_default()
        .iter()
        .map(|attack| Line {
            attack: attack.shown.clone(),
            again: false,
            eps: attack.eps.clone(),
            cells: read
                .iter()
                .map(|run| run.cell(&attack.shown, attack.eps.as_deref()))
                .collect(),
        })
        .collect();
    for at in 1..lines.len() {
        lines[at].again = lines[at].attack == lines[at - 1].attack;
    }
    lines
}

fn examples(read: &[Read<'_>], eps: Option<&str>, shown: &str) -> Result<Vec<Example>> {
    let Some(first) = read.first() else {
        return Ok(Vec::new());
    };
    let names = Names::of_run(first.folder.run());
    let recipe = first.attack(shown, eps).map(|one| &*one.recipe);
    gallery::choose(&first.rows, eps, recipe)
        .into_iter()
        .map(|row| {
            let original = first.folder.read_picture(&RunFolder::original(row.index))?;
            let truth = names.of(row.label);
            let alt = format!("Original picture of sample {}: {truth}", row.index);
            let answers = read
                .iter()
                .filter_map(|run| run.answer(row.index, eps, shown).transpose())
                .collect::<Result<_>>()?;
            Ok(Example {
                original: Shown::new(&original, alt, None),
                truth,
                answers,
            })
        })
        .collect()
}
