//! The content of the page: everything that `templates/report.html` fills in.

use askama::Template;

use super::chart::{self, AccuracyLine, Chart, Curves, DistanceLine};
use super::classes::{self, ClassTable};
use super::gallery::{self, Example, Stories};
use super::headline::{Headline, at, attacks_at, clean_at, radius};
use super::pictures::Shown;
use super::places::{self, place, without_folders};
use super::thumbs::{self, Sheet};
use crate::attacks::{Aim, find};
use crate::counted;
use crate::data::short_name;
use crate::error::Result;
use crate::results::summary::{AttackSummary, Summary};
use crate::results::text::{distance, left_out, percent, symbol};
use crate::results::{AttackRecord, Counting, Row, Run, RunFolder, Truth};
use crate::stats::Interval;
use crate::threat::TargetChoice;

/// The whole page.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    model: String,
    data: String,
    goal: String,
    norm: String,
    /// All radii, or the range of the sweep.
    eps: String,
    /// `3 pictures`.
    samples: String,
    /// Which pictures the figures cover, if not all.
    so_far: Option<String>,
    /// Why the figures are not a valid result.
    verdict: Option<String>,
    headline: Option<Headline>,
    targeted: bool,
    findings: Vec<String>,
    warnings: Vec<String>,
    figures: Vec<Figures>,
    curves: Curves,
    /// Whether the attacks looked for the smallest distance, without eps.
    smallest: bool,
    stages: Option<Stages>,
    gallery_note: String,
    examples: Vec<Example>,
    sheet: Sheet,
    /// The other pages of thumbnails: number and file.
    sheets: Vec<(usize, String)>,
    losses: Vec<Chart>,
    /// The name of each attack, and its recipe.
    recipes: Vec<(String, String)>,
    classes: ClassTable,
    settings: Vec<(&'static str, String)>,
    command: Option<String>,
}

/// A page of thumbnails next to the report.
#[derive(Template)]
#[template(path = "pictures.html")]
pub(super) struct PicturesPage {
    model: String,
    sheet: Sheet,
    number: usize,
    /// All other pages: number and file.
    sheets: Vec<(usize, String)>,
}

/// The key stages of one picture, from the file to the wrong answer.
struct Stages {
    example: Example,
    /// The gradient at the original, if it was recorded.
    gradient: Option<Shown>,
    /// The model's answer to the attack's unrounded output.
    float_label: String,
    float_confidence: String,
    float_percent: f32,
    float_colour: &'static str,
}

/// One line of the table of attacks.
struct Figures {
    name: String,
    /// Whether the line above has the same name.
    again: bool,
    /// `None` for all attacks together.
    attack: Option<AttackSummary>,
    eps: Option<String>,
    clean: Interval,
    robust: Interval,
    saved: Interval,
    /// Median size of the successful perturbations.
    size: Option<String>,
    /// Why its figures are doubtful.
    doubts: String,
}

impl Page {
    /// Returns the page of a run so far, and its pages of thumbnails.
    pub(super) fn of(folder: &RunFolder) -> Result<(Self, Vec<(String, PicturesPage)>)> {
        let run = folder.run();
        let rows = folder.rows()?;
        let summary = Summary::of(run, &rows, folder.timing()?.as_ref());
        let headline = Headline::of(&summary);
        let (eps, attack) = at(run, headline.as_ref());
        let chosen = gallery::choose(&rows, eps, attack);
        let stories = Stories::of(&rows);
        let noise = folder.noise()?.unwrap_or_default();
        let stages = match stories.staged(&chosen) {
            Some(row) => Stages::of(folder, &stories, row)?,
            None => None,
        };
        let attacks = run.attacks.iter().zip(run.shown());
        let mut sheets = thumbs::sheets(folder, &rows, eps, attack)?.into_iter();
        let first = sheets.next().unwrap_or_default();
        let others: Vec<Sheet> = sheets.collect();
        let files = (1..=others.len() + 1).map(|number| (number, sheet_file(number)));
        let files: Vec<(usize, String)> = files.collect();
        let but = |number: usize| {
            files
                .iter()
                .filter(|(n, _)| *n != number)
                .cloned()
                .collect()
        };
        let model = place(&run.model.path);
        let page = Self {
            data: place(&run.data.path),
            goal: goal(run),
            norm: symbol(&run.threat.norm).to_owned(),
            eps: match &run.threat.sweep {
                // The open end of a range is its last radius.
                Some(sweep) => {
                    let from = sweep.split("..").next().unwrap_or_default();
                    let to = run.threat.eps.last().map_or("", String::as_str);
                    format!("{from}..{to}")
                }
                None => run.threat.eps.join(", "),
            },
            samples: counted::pictures(summary.measured.pictures),
            so_far: summary.about(),
            verdict: summary.verdict(),
            targeted: run.threat.is_targeted(),
            findings: findings(run),
            warnings: warnings(folder, &summary)?,
            figures: figures(&summary),
            curves: curves(run, &rows, &summary),
            losses: losses(run, &rows, &stories, eps),
            smallest: run.threat.eps.is_empty(),
            stages,
            gallery_note: gallery::explanation(run, eps),
            examples: gallery::examples(folder, &stories, &chosen, &noise)?,
            recipes: attacks
                .map(|(attack, shown)| (shown, attack.recipe.clone()))
                .collect(),
            classes: classes::table(run, &rows, eps),
            settings: settings(run),
            command: folder.command()?.map(|command| places::command(&command)),
            headline,
            sheet: first,
            sheets: but(1),
            model: model.clone(),
        };
        let beside = others.into_iter().zip(2..).map(|(sheet, number)| {
            let page = PicturesPage {
                model: model.clone(),
                sheet,
                number,
                sheets: but(number),
            };
            (sheet_file(number), page)
        });
        Ok((page, beside.collect()))
    }

    /// Whether the model was asked about any perturbation alone.
    fn knows_noise(&self) -> bool {
        let mut examples = self.examples.iter();
        examples.any(|example| !example.noise.label.is_empty())
    }
}

/// Returns the path of a page of thumbnails; the first is the report itself.
fn sheet_file(number: usize) -> String {
    match number {
        1 => super::REPORT.to_owned(),
        number => format!("pictures-{number}.html"),
    }
}

impl Stages {
    fn of<'a>(folder: &RunFolder, stories: &Stories<'a>, row: &'a Row) -> Result<Option<Self>> {
        let Some(example) = gallery::example(folder, stories, row, &[])? else {
            return Ok(None);
        };
        let Some(float) = row.float else {
            return Ok(None);
        };
        let names = Names::of_run(folder.run());
        let alt = format!(
            "Gradient of the loss at the original of sample {}",
            row.index
        );
        let gradient = folder.gradient(row.index)?;
        Ok(Some(Self {
            example,
            gradient: gradient.map(|picture| Shown::new(&picture, alt, None)),
            float_label: names.of(float.seen.label),
            float_confidence: confidence(float.seen.confidence),
            float_percent: 100.0 * float.seen.confidence,
            float_colour: gallery::colour(float.seen, row),
        }))
    }
}

/// Returns the rows whose pictures the page shows, and the one whose key stages it shows.
pub(super) fn chosen<'a>(run: &Run, rows: &'a [Row]) -> (Vec<&'a Row>, Option<&'a Row>) {
    let headline = Headline::of(&Summary::of(run, rows, None));
    let (eps, attack) = at(run, headline.as_ref());
    let chosen = gallery::choose(rows, eps, attack);
    let staged = Stories::of(rows).staged(&chosen);
    (chosen, staged)
}

/// Returns the charts of a page.
pub(super) struct Charts {
    pub(super) curves: Curves,
    pub(super) losses: Vec<Chart>,
}

pub(super) fn charts(run: &Run, rows: &[Row]) -> Charts {
    let summary = Summary::of(run, rows, None);
    let headline = Headline::of(&summary);
    let (eps, _) = at(run, headline.as_ref());
    Charts {
        curves: curves(run, rows, &summary),
        losses: losses(run, rows, &Stories::of(rows), eps),
    }
}

/// Returns the mean loss of every attack at one eps.
fn losses(run: &Run, rows: &[Row], stories: &Stories<'_>, eps: Option<&str>) -> Vec<Chart> {
    let loss = |(n, (attack, shown)): (usize, (&AttackRecord, String))| {
        let of_attack = |row: &&Row| row.recipe == attack.recipe && row.eps_text() == eps;
        let told = rows.iter().filter(of_attack).map(|row| stories.told(row));
        chart::loss(n, &shown, &classes::mean_loss(told))
    };
    let attacks = run.attacks.iter().zip(run.shown()).enumerate();
    attacks.filter_map(loss).collect()
}

/// Describes the attacker's goal, with class names.
pub(super) fn goal(run: &Run) -> String {
    match run.threat.goal.split_once(": ") {
        Some((kind, choice)) => match choice.parse() {
            Ok(TargetChoice::Class(class)) => {
                let class = u32::try_from(class).unwrap_or(u32::MAX);
                format!("{kind}: {}", Names::of_run(run).of(class))
            }
            _ => run.threat.goal.clone(),
        },
        None => run.threat.goal.clone(),
    }
}

/// Returns the findings in full.
pub(super) fn findings(run: &Run) -> Vec<String> {
    let found = run.findings.iter().flatten();
    let sentence = |text: String| {
        let mut letters = text.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string());
        first.unwrap_or_default() + letters.as_str()
    };
    found
        .map(|finding| sentence(without_folders(&finding.line())))
        .collect()
}

fn figures(summary: &Summary) -> Vec<Figures> {
    let norm = summary.threat.norm.as_str();
    let of_attack = |attack: &AttackSummary| Figures {
        name: attack.shown.clone(),
        again: false,
        clean: attack.clean_accuracy,
        eps: attack.eps.clone(),
        robust: attack.robust_accuracy,
        saved: attack.robust_accuracy_saved,
        // Without eps, the median also counts failures.
        doubts: attack.doubts.join("; "),
        size: match &attack.distance {
            Some(found) => Some(distance(norm, found.median)),
            None => attack
                .norms
                .map(|norms| distance(norm, norms.in_norm(norm).median)),
        },
        attack: Some(attack.clone()),
    };
    let together = summary
        .worst_case
        .iter()
        .filter(|worst| attacks_at(summary, worst.eps.as_deref()) > 1)
        .map(|worst| Figures {
            name: "all together".to_owned(),
            again: false,
            clean: clean_at(summary, worst.eps.as_deref()),
            attack: None,
            eps: worst.eps.clone(),
            robust: worst.robust_accuracy,
            saved: worst.robust_accuracy_saved,
            size: None,
            doubts: doubts_at(summary, worst.eps.as_deref()),
        });
    let mut lines: Vec<Figures> = summary
        .attacks
        .iter()
        .map(of_attack)
        .chain(together)
        .collect();
    for at in 1..lines.len() {
        lines[at].again = lines[at].name == lines[at - 1].name;
    }
    lines
}

/// Returns the doubts about the figures of any attack at one eps.
fn doubts_at(summary: &Summary, eps: Option<&str>) -> String {
    let mut doubts: Vec<&str> = Vec::new();
    for attack in summary
        .attacks
        .iter()
        .filter(|one| one.eps.as_deref() == eps)
    {
        for doubt in &attack.doubts {
            if !doubts.contains(&&**doubt) {
                doubts.push(doubt);
            }
        }
    }
    doubts.join("; ")
}

/// Returns one chart of all attacks: points for what was measured, and lines only where the radii between were
/// searched.
fn curves(run: &Run, rows: &[Row], summary: &Summary) -> Curves {
    let norm = run.threat.norm.as_str();
    let counting = Counting::of(run);
    let attacks = run.attacks.iter().zip(run.shown());
    let steps = |attack: &AttackRecord, shown: &str, eps: Option<&str>| {
        let of_attack = |row: &&Row| row.recipe == attack.recipe && row.eps_text() == eps;
        let rows = rows.iter().filter(|row| counting.counts(row));
        let rows: Vec<&Row> = rows.filter(of_attack).collect();
        DistanceLine::of(shown.to_owned(), norm, &rows)
    };
    if run.threat.eps.is_empty() {
        let line = |(attack, shown): (&AttackRecord, String)| steps(attack, &shown, None);
        return Curves::of_distance(attacks.filter_map(line), symbol(norm));
    }
    let line = |(attack, shown): (&AttackRecord, String)| {
        let measured = || {
            let of_attack = summary.attacks.iter().filter(|a| a.recipe == attack.recipe);
            of_attack.filter(|a| a.robust_accuracy.n > 0)
        };
        let clean = measured().next()?.clean_accuracy;
        let mut points = vec![(0.0, "0".to_owned(), clean)];
        points.extend(measured().filter_map(|attack| {
            let eps = attack.eps.clone()?;
            Some((radius(Some(&eps)), eps, attack.robust_accuracy))
        }));
        points.retain(|(eps, _, _)| eps.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let largest = points.last().map(|(_, eps, _)| eps.clone());
        let finds_smallest = find(&attack.name).is_ok_and(|entry| entry.aim == Aim::Smallest);
        Some(AccuracyLine {
            steps: match finds_smallest {
                true => steps(attack, &shown, largest.as_deref()),
                false => None,
            },
            swept: run.threat.sweep.is_some(),
            name: shown,
            points,
        })
    };
    Curves::of_accuracy(attacks.filter_map(line), symbol(norm))
}

fn warnings(folder: &RunFolder, summary: &Summary) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let missing = folder.missing_samples()?;
    if missing > 0 {
        warnings.push(format!(
            "This run is unfinished: {}. The figures cover the pictures measured so far; repeat the command to resume.",
            counted::missing(missing as usize, folder.samples().count())
        ));
    }
    if let Some(partition) = folder.run().partition {
        warnings.push(format!(
            "The figures cover only partition {partition}: {} of {}. The command hoodwink merge combines all partitions.",
            folder.samples().count(),
            counted::pictures(folder.run().data.samples)
        ));
    }
    if summary.measured.left_out > 0 {
        warnings.push(format!("{}.", left_out(summary.measured.left_out)));
    }
    for attack in &summary.attacks {
        let name = &attack.shown;
        let eps = attack.eps.as_ref();
        let eps = eps.map_or(String::new(), |eps| format!(" (eps {eps})"));
        let attacked = counted::pictures(attack.attacked as usize);
        let zero = attack.outcomes["zero-gradient"];
        if zero > 0 {
            warnings.push(format!(
                "On {zero} of {attacked} the gradient was zero wherever {name} looked{eps}. That \
                 it failed there proves nothing: try an attack that needs no gradients."
            ));
        }
        let spent = attack.outcomes["budget-spent"];
        if spent > 0 {
            warnings.push(format!(
                "On {spent} of {attacked} {name} had used up its budget before it reached its goal{eps}. A larger \
                 budget may find more."
            ));
        }
    }
    Ok(warnings)
}

fn settings(run: &Run) -> Vec<(&'static str, String)> {
    let [channels, height, width] = run.model.input;
    let budget: Vec<String> = run
        .threat
        .budget
        .iter()
        .map(|(name, limit)| format!("{limit} {name}"))
        .collect();
    let or_none = |text: String| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text
        }
    };
    vec![
        ("Goal", goal(run)),
        ("Norm", symbol(&run.threat.norm).to_owned()),
        ("eps", or_none(run.threat.eps.join(", "))),
        (
            "Swept range",
            or_none(run.threat.sweep.clone().unwrap_or_default()),
        ),
        ("Attacker's access", run.threat.access.clone()),
        ("Budget per picture and attack", or_none(budget.join(", "))),
        ("Model", place(&run.model.path)),
        ("Model, SHA-256", run.model.sha256.clone()),
        (
            "Input",
            format!("{}, {height} × {width} pixels", counted::channels(channels)),
        ),
        ("Classes", run.model.classes.to_string()),
        (
            "Preprocessing",
            or_none(without_folders(&run.model.preprocessing)),
        ),
        (
            "Checked before the run",
            match run.findings.as_deref() {
                None => "no".to_owned(),
                Some([]) => "yes, no findings".to_owned(),
                Some(found) => format!(
                    "yes, {}",
                    counted::counted(found.len(), "finding", "findings")
                ),
            },
        ),
        (
            "Data",
            format!(
                "{}, {}",
                place(&run.data.path),
                counted::pictures(run.data.samples)
            ),
        ),
        ("Data, digest", run.data.digest.clone()),
        ("Seed", run.settings.seed.to_string()),
        ("Engine", run.engine.clone()),
        ("Program", format!("hoodwink {}", run.hoodwink)),
    ]
}

/// The classes' names, and what the labels are.
pub(super) struct Names<'a> {
    names: &'a [String],
    truth: Truth,
}

impl<'a> Names<'a> {
    pub(super) fn of_run(run: &'a Run) -> Self {
        Self {
            names: &run.data.class_names,
            truth: run.data.truth,
        }
    }

    /// Returns the name of a class, shortened if it stays unambiguous.
    pub(super) fn of(&self, label: u32) -> String {
        short_name(self.names, label as usize)
    }

    /// `true class cat`, `true class 3` if it has no name, or `predicted class cat` if predictions stand for labels.
    pub(super) fn label(&self, label: u32) -> String {
        let word = match self.truth {
            Truth::Labels => "true",
            Truth::Prediction => "predicted",
        };
        let name = self.of(label);
        match name == format!("class {label}") {
            true => format!("{word} {name}"),
            false => format!("{word} class {name}"),
        }
    }
}

/// Formats a confidence as a percentage that never reaches 100% by rounding.
pub(super) fn confidence(probability: f32) -> String {
    match probability {
        p if p >= 0.9995 => ">99.9%".to_owned(),
        p if p < 0.0005 => "<0.1%".to_owned(),
        p => percent(f64::from(p)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_named_once() {
        let names = ["cat".to_owned(), "1".to_owned()];
        for (truth, word) in [(Truth::Labels, "true"), (Truth::Prediction, "predicted")] {
            let names = Names {
                names: &names,
                truth,
            };
            assert_eq!(names.label(0), format!("{word} class cat"));
            assert_eq!(names.label(1), format!("{word} class 1"));
            assert_eq!(names.label(2), format!("{word} class 2"));
        }
    }

    #[test]
    fn no_confidence_is_certain() {
        assert_eq!(confidence(1.0), ">99.9%");
        assert_eq!(confidence(0.993), "99.3%");
        assert_eq!(confidence(0.0001), "<0.1%");
    }
}
