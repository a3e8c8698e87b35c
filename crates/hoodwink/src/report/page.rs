//! What the page says: everything that `templates/report.html` fills in.

use askama::Template;

use super::chart::{self, AccuracyLine, Chart, Curves, DistanceLine};
use super::classes::{self, ClassTable};
use super::gallery::{self, Example};
use crate::counted;
use crate::data::short_name;
use crate::error::Result;
use crate::results::summary::{AttackSummary, Distance, Summary, WorstCase};
use crate::results::text::{distance, percent, symbol};
use crate::results::{AttackRecord, Row, Run, RunFolder};
use crate::stats::Interval;
use crate::threat::Eps;

/// The whole page.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    run: Run,
    norm: String,
    /// `3 pictures`.
    samples: String,
    /// Of what the figures are, if not of all pictures.
    so_far: Option<String>,
    headline: Option<Headline>,
    warnings: Vec<String>,
    figures: Vec<Figures>,
    curves: Curves,
    /// Whether attacks looked for the smallest distance, without eps.
    smallest: bool,
    gallery_note: String,
    examples: Vec<Example>,
    losses: Vec<Chart>,
    /// What each attack is called, and its recipe.
    recipes: Vec<(String, String)>,
    classes: ClassTable,
    settings: Vec<(&'static str, String)>,
    command: Option<String>,
}

/// The result in one sentence.
struct Headline {
    clean: Interval,
    robust: Interval,
    saved: Interval,
    /// Of the attacked pictures, for one targeted attack.
    target_reached: Option<Interval>,
    eps: Option<String>,
    /// Without eps: how far pictures had to be moved.
    distance: Option<Distance>,
    /// Recipe of the attack; `None` for all attacks together.
    attack: Option<String>,
    /// `pgd`, or `the strongest of 3 attacks on each picture`.
    by: String,
}

/// A headline around a figure.
struct Nearness {
    before: String,
    figure: String,
    after: String,
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
    /// Median size of the perturbations that succeeded.
    size: Option<String>,
}

impl Page {
    /// The page of a run, as far as it has got.
    pub(super) fn of(folder: &RunFolder) -> Result<Self> {
        let run = folder.run();
        let names = Names::of_run(run);
        let rows = folder.rows()?;
        let summary = Summary::of(run, &rows, folder.timing()?.as_ref());
        let headline = Headline::of(&summary);
        let (eps, attack) = at(run, headline.as_ref());
        let chosen = gallery::choose(&rows, eps, attack);
        let noise = folder.noise()?.unwrap_or_default();
        let shown = run.shown();
        let attacks = || run.attacks.iter().zip(&shown).enumerate();
        let loss = |(n, (attack, shown)): (usize, (&AttackRecord, &String))| {
            let of_attack = |row: &&Row| row.recipe == attack.recipe && row.eps_text() == eps;
            let mean = classes::mean_loss(rows.iter().filter(of_attack));
            chart::loss(n, shown, &mean)
        };
        Ok(Self {
            norm: symbol(&run.threat.norm).to_owned(),
            samples: counted::pictures(summary.measured.pictures),
            so_far: summary.measured.so_far(),
            warnings: warnings(folder, &summary)?,
            figures: figures(&summary),
            curves: curves(run, &rows, &summary),
            smallest: run.threat.eps.is_empty(),
            gallery_note: gallery::explanation(run, eps),
            examples: gallery::examples(folder, &names, &chosen, &noise)?,
            losses: attacks().filter_map(loss).collect(),
            recipes: attacks()
                .map(|(_, (attack, shown))| (shown.clone(), attack.recipe.clone()))
                .collect(),
            classes: classes::table(&rows, eps, &names),
            settings: settings(run),
            command: folder.command()?,
            headline,
            run: run.clone(),
        })
    }
}

impl Page {
    /// Whether the model was asked about the noise alone.
    fn knows_noise(&self) -> bool {
        let mut examples = self.examples.iter();
        examples.any(|example| !example.noise.label.is_empty())
    }
}

/// Eps and recipe that the headline is about; of no headline the last eps.
fn at<'a>(run: &'a Run, headline: Option<&'a Headline>) -> (Option<&'a str>, Option<&'a str>) {
    match headline {
        Some(headline) => (headline.eps.as_deref(), headline.attack.as_deref()),
        None => (run.threat.eps.last().map(String::as_str), None),
    }
}

/// The rows whose pictures the page shows.
pub(super) fn chosen<'a>(run: &Run, rows: &'a [Row]) -> Vec<&'a Row> {
    let headline = Headline::of(&Summary::of(run, rows, None));
    let (eps, attack) = at(run, headline.as_ref());
    gallery::choose(rows, eps, attack)
}

impl Headline {
    /// The lowest accuracy that was reached, and what reached it at the smallest eps; without eps, the attack whose median
    /// distance is smallest. `None` before any sample is measured.
    fn of(summary: &Summary) -> Option<Self> {
        let targeted = summary.threat.goal.starts_with("targeted");
        let attacks = summary.attacks.iter().map(|attack| Self {
            clean: attack.clean_accuracy,
            robust: attack.robust_accuracy,
            saved: attack.robust_accuracy_saved,
            target_reached: targeted.then_some(attack.success_rate),
            eps: attack.eps.clone(),
            distance: attack.distance.clone(),
            attack: Some(attack.recipe.clone()),
            by: attack.shown.clone(),
        });
        let with_eps = |worst: &&WorstCase| worst.eps.is_some();
        let together = summary.worst_case.iter().filter(with_eps);
        let together = together.map(|worst| Self {
            clean: clean_at(summary, worst.eps.as_deref()),
            robust: worst.robust_accuracy,
            saved: worst.robust_accuracy_saved,
            target_reached: None,
            eps: worst.eps.clone(),
            distance: None,
            attack: None,
            by: format!(
                "the strongest of {} attacks on each picture",
                attacks_at(summary, worst.eps.as_deref())
            ),
        });
        // Of equals the first is kept: one attack rather than all of them, the earliest of them.
        attacks
            .chain(together)
            .filter(|headline| headline.robust.n > 0)
            .min_by(|a, b| {
                let key = |h: &Self| match &h.distance {
                    None => [h.robust.value, radius(h.eps.as_deref())],
                    Some(distance) => [distance.median, distance.unbroken],
                };
                let ([a, then_a], [b, then_b]) = (key(a), key(b));
                a.total_cmp(&b).then(then_a.total_cmp(&then_b))
            })
    }

    fn fell(&self) -> bool {
        self.robust.value < self.clean.value
    }

    /// How near wrong answers are, for attacks without eps.
    fn nearness(&self) -> Option<Nearness> {
        let found = self.distance.as_ref()?;
        let norm = symbol(&found.norm);
        Some(match found.median.is_finite() {
            true => Nearness {
                before: "Half of the pictures that it gets right are fooled within".to_owned(),
                figure: format!("{norm} {}", distance(&found.norm, found.median)),
                after: format!("by {}.", self.by),
            },
            false => Nearness {
                before: format!("Of the pictures that it gets right, {} fools only", self.by),
                figure: percent(1.0 - found.unbroken),
                after: "at any distance.".to_owned(),
            },
        })
    }

    /// The other quantiles of the distances.
    fn spread(&self) -> Option<String> {
        let found = self.distance.as_ref()?;
        let at = |value| distance(&found.norm, value);
        Some(format!(
            "A tenth is fooled within {}, nine tenths within {}; {} of {} withstood. Accuracy is {} before the attack and {} \
             where any distance is allowed.",
            at(found.q10),
            at(found.q90),
            found.count_unbroken(),
            found.n,
            self.clean.percent(),
            self.robust.percent()
        ))
    }

    fn lost(&self) -> String {
        percent(self.clean.value - self.robust.value)
    }

    fn wrong_before(&self) -> String {
        percent(1.0 - self.clean.value)
    }
}

pub(super) fn clean_at(summary: &Summary, eps: Option<&str>) -> Interval {
    let mut attacks = summary.attacks.iter();
    let found = attacks.find(|attack| attack.eps.as_deref() == eps);
    found.map_or_else(
        || crate::stats::clopper_pearson(0, 0, crate::stats::CONFIDENCE),
        |a| a.clean_accuracy,
    )
}

fn attacks_at(summary: &Summary, eps: Option<&str>) -> usize {
    let at_eps = |attack: &&AttackSummary| attack.eps.as_deref() == eps;
    summary.attacks.iter().filter(at_eps).count()
}

/// The radius of an eps; infinite where there is none.
pub(super) fn radius(eps: Option<&str>) -> f64 {
    let eps = eps.and_then(|eps| eps.parse::<Eps>().ok());
    eps.map_or(f64::INFINITY, |eps| eps.value())
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
        // Without eps a failure counts too.
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

/// Every attack of the run in one chart.
fn curves(run: &Run, rows: &[Row], summary: &Summary) -> Curves {
    let norm = run.threat.norm.as_str();
    let attacks = run.attacks.iter().zip(run.shown());
    if run.threat.eps.is_empty() {
        let line = |(attack, shown): (&AttackRecord, String)| {
            let of_attack = |row: &&Row| row.recipe == attack.recipe;
            let rows: Vec<&Row> = rows.iter().filter(of_attack).collect();
            DistanceLine::of(shown, norm, &rows)
        };
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
        Some(AccuracyLine {
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
            "This run is unfinished: {}. The figures are of those measured so far; run the same command again to go on.",
            counted::missing(missing as usize, folder.samples().count())
        ));
    }
    if let Some(partition) = folder.run().partition {
        warnings.push(format!(
            "The figures are those of partition {partition} alone: {} of {}. The command hoodwink merge puts all together.",
            folder.samples().count(),
            counted::pictures(folder.run().data.samples)
        ));
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
        ("Goal", run.threat.goal.clone()),
        ("Norm", symbol(&run.threat.norm).to_owned()),
        ("eps", or_none(run.threat.eps.join(", "))),
        ("What the attacker sees", run.threat.access.clone()),
        ("Budget per picture and attack", or_none(budget.join(", "))),
        ("Model", run.model.path.clone()),
        ("Model, SHA-256", run.model.sha256.clone()),
        (
            "Input",
            format!("{}, {height} × {width} pixels", counted::channels(channels)),
        ),
        ("Classes", run.model.classes.to_string()),
        ("Preprocessing", or_none(run.model.preprocessing.clone())),
        (
            "Data",
            format!("{}, {}", run.data.path, counted::pictures(run.data.samples)),
        ),
        ("Data, digest", run.data.digest.clone()),
        ("Seed", run.settings.seed.to_string()),
        ("Engine", run.engine.clone()),
        ("Program", format!("hoodwink {}", run.hoodwink)),
    ]
}

/// The classes' names.
pub(super) struct Names<'a>(&'a [String]);

impl<'a> Names<'a> {
    pub(super) fn of_run(run: &'a Run) -> Self {
        Self(&run.data.class_names)
    }

    /// The name of a class, short where that is clear.
    pub(super) fn of(&self, label: u32) -> String {
        short_name(self.0, label as usize)
    }
}

/// A confidence as a percentage that never claims certainty.
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
    use crate::results::example::{fooled, robust, run};

    #[test]
    fn the_headline_is_the_lowest_accuracy_at_the_smallest_eps() {
        let headline = |rows: &[Row]| {
            let headline = Headline::of(&Summary::of(&run(2), rows, None));
            headline.map(|h| (h.by, h.eps.unwrap(), h.robust.value))
        };
        assert_eq!(headline(&[]), None);
        let mut rows = vec![
            fooled(0, "pgd", "4/255"),
            robust(1, "pgd", "4/255"),
            robust(0, "fgsm", "4/255"),
            robust(1, "fgsm", "4/255"),
            fooled(0, "pgd", "8/255"),
            robust(1, "pgd", "8/255"),
        ];
        let expected = |by: &str, eps: &str, value| Some((by.to_owned(), eps.to_owned(), value));
        assert_eq!(headline(&rows), expected("pgd", "4/255", 0.5));
        rows[3] = fooled(1, "fgsm", "4/255");
        let by = "the strongest of 2 attacks on each picture";
        assert_eq!(headline(&rows), expected(by, "4/255", 0.0));
    }

    #[test]
    fn no_confidence_is_certain() {
        assert_eq!(confidence(1.0), ">99.9%");
        assert_eq!(confidence(0.993), "99.3%");
        assert_eq!(confidence(0.0001), "<0.1%");
    }
}
