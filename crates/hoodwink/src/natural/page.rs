//! The page: figures, galleries of mistakes, classes, tables of models.

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::evaluation::{Evaluation, Report};
use super::gallery::WrongAnswer;
use super::measures::Measures;
use super::scatter::Scatter;
use super::tables::{ModelRow, ModelTable};
use super::{Definition, detection::Detection};
use crate::counted;
use crate::error::{Error, Result};
use crate::results::text::percent;
use crate::stats::Interval;

/// Bytes of pictures in the page beyond which no more are shown.
const PICTURE_BYTES: usize = 12 << 20;

const TEN_CROPS: &str = "any of ten crops right";

/// Models of a table that are listed.
const MODELS: usize = 400;

/// What is shown of one model beside its figures.
#[derive(Default)]
pub struct Part {
    /// The surest mistakes on hard pictures.
    pub hard: Vec<WrongAnswer>,
    /// The surest answers to unknown pictures.
    pub unknown: Vec<WrongAnswer>,
}

/// A page of HTML that opens from disk, with everything in it. `parts` are as many as models, in their order.
///
/// # Errors
/// None in practice.
pub fn page(report: &Report, parts: &[Part]) -> Result<String> {
    let mut bytes = 0;
    let none = Part::default();
    let shown = report.models.iter().enumerate().map(|(at, model)| {
        let part = parts.get(at).unwrap_or(&none);
        Shown::of(model, part, &mut bytes)
    });
    let page = Page {
        headline: report.models.first().and_then(Headline::of),
        conventions: conventions(report),
        parts: shown.collect(),
        tables: report
            .tables
            .iter()
            .enumerate()
            .map(|(at, table)| Table::of(table, at))
            .collect(),
    };
    page.render()
        .map_err(|error| Error::invalid(format!("the page cannot be written: {error}")))
}

#[derive(Template)]
#[template(path = "natural/report.html")]
struct Page {
    headline: Option<Headline>,
    conventions: &'static str,
    parts: Vec<Shown>,
    tables: Vec<Table>,
}

struct Headline {
    model: String,
    hard: String,
    clean: Option<String>,
}

impl Headline {
    fn of(model: &Evaluation) -> Option<Self> {
        Some(Self {
            model: model.file_name(),
            hard: model.hard.as_ref()?.top1.percent(),
            clean: model.clean.as_ref().map(|clean| clean.top1.percent()),
        })
    }
}

fn conventions(report: &Report) -> &'static str {
    let nae = |model: &Evaluation| model.definition == Definition::Nae;
    match report.models.iter().any(nae) {
        true => {
            "The logits of the classes in play are selected before softmax and argmax. Calibration, temperature and FPR95 are \
             computed as the script of natural-adv-examples does, which leaves out the last bin."
        }
        false => {
            "The logits of the classes in play are selected before softmax and argmax; of equal logits the lower class number comes \
             first."
        }
    }
}

/// One model.
struct Shown {
    name: String,
    classes: String,
    sets: Vec<String>,
    figures: Vec<Figures>,
    drop: Option<String>,
    notes: Vec<String>,
    galleries: Vec<Gallery>,
    detections: Vec<Figures>,
    detection_note: String,
    lists: Vec<List>,
}

struct Figures {
    name: String,
    cells: Vec<Cell>,
}

struct Cell {
    value: String,
    ends: String,
}

struct Gallery {
    title: &'static str,
    explanation: &'static str,
    classes: Vec<String>,
    mistakes: Vec<Wrong>,
}

struct Wrong {
    truth: String,
    said: String,
    confidence: String,
    percent: String,
    file: String,
    address: String,
    alt: String,
    width: usize,
    height: usize,
    enlarged: bool,
}

struct List {
    title: String,
    explanation: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Whether it is folded up at first.
    long: bool,
}

impl Shown {
    fn of(model: &Evaluation, part: &Part, bytes: &mut usize) -> Self {
        let sets: Vec<(&str, &Measures)> = [("hard", &model.hard), ("clean", &model.clean)]
            .into_iter()
            .filter_map(|(name, set)| Some((name, set.as_ref()?)))
            .collect();
        type Figure = (&'static str, fn(&Measures) -> Cell);
        let any_crops = sets.iter().any(|(_, set)| set.any_of_ten_crops.is_some());
        let all: [Figure; 13] = [
            ("top-1", |set| cell(&set.top1)),
            ("top-5", |set| cell(&set.top5)),
            ("top-1 among all classes", |set| cell(&set.unmasked.top1)),
            (TEN_CROPS, |set| match &set.any_of_ten_crops {
                Some(any) => cell(any),
                None => plain(String::new()),
            }),
            ("RMS calibration error", |set| cell(&set.rms_calibration)),
            ("RMS calibration error, all bins", |set| {
                plain(percent(set.rms_calibration_standard))
            }),
            ("RMS calibration error, published script", |set| {
                plain(percent(set.rms_calibration_nae))
            }),
            ("expected calibration error", |set| cell(&set.ece)),
            ("AURRA", |set| cell(&set.aurra)),
            ("soft F1", |set| cell(&set.soft_f1)),
            ("best temperature", |set| plain(number(set.temperature))),
            ("effective number of predicted classes", |set| {
                plain(number(set.predicted.effective_classes))
            }),
            ("Gini coefficient of predictions", |set| {
                plain(number(set.predicted.gini))
            }),
        ];
        let row = |(name, of): Figure| Figures {
            name: name.to_owned(),
            cells: sets.iter().map(|(_, set)| of(set)).collect(),
        };
        Self {
            name: model.file_name(),
            classes: match model.classes < model.model_classes {
                true => format!(
                    "{} of the model's {} classes are in play: {}.",
                    model.classes, model.model_classes, model.subset
                ),
                false => format!("All {} classes of the model are in play.", model.classes),
            },
            sets: sets
                .iter()
                .map(|(name, set)| {
                    format!("{name} ({})", counted(set.pictures as usize, "picture", "pictures"))
                })
                .collect(),
            figures: all
                .into_iter()
                .filter(|(name, _)| *name != TEN_CROPS || any_crops)
                .map(row)
                .collect(),
            drop: model.drop.as_ref().map(|drop| {
                format!(
                    "{:.1} points (95% interval {:.1} to {:.1})",
                    100.0 * drop.value,
                    100.0 * drop.low,
                    100.0 * drop.high
                )
            }),
            notes: (sets.iter())
                .flat_map(|(name, set)| set.notes.iter().map(move |note| format!("{name}: {note}")))
                .collect(),
            galleries: galleries(part, bytes),
            detections: model.ood.iter().map(detected).collect(),
            detection_note: model.ood.first().map_or(String::new(), |one| {
                format!(
                    "{} of unknown classes, which are the positive ones, and {} of known classes ({}). A random score has an \
                     average precision of {}.",
                    counted(one.unknown as usize, "picture", "pictures"),
                    one.known,
                    model.known.unwrap_or_default(),
                    percent(one.unknown as f64 / (one.unknown + one.known) as f64)
                )
            }),
            lists: sets
                .first()
                .map_or_else(Vec::new, |(name, set)| lists(name, set)),
        }
    }
}

fn detected(one: &Detection) -> Figures {
    let all = [
        one.auroc,
        one.aupr,
        one.aupr_trapezoid,
        one.fpr95_ood,
        one.fpr95_id,
    ];
    Figures {
        name: one.score.clone(),
        cells: all.iter().map(cell).collect(),
    }
}

fn cell(of: &Interval) -> Cell {
    Cell {
        value: match of.value.is_nan() {
            true => "undefined".to_owned(),
            false => of.percent(),
        },
        ends: match of.low.is_nan() || of.value.is_nan() {
            true => String::new(),
            false => of.ends(),
        },
    }
}

fn plain(value: String) -> Cell {
    Cell {
        value: match &value[..] {
            "–" => "undefined".to_owned(),
            _ => value,
        },
        ends: String::new(),
    }
}

fn number(value: f64) -> String {
    match value.is_nan() {
        true => "–".to_owned(),
        false => format!("{value:.2}"),
    }
}

fn galleries(part: &Part, bytes: &mut usize) -> Vec<Gallery> {
    let all = [
        (
            "Surest mistakes on hard pictures",
            "Above what a picture shows, below it in red what the model says and how sure it is. Surest first.",
            &part.hard,
        ),
        (
            "Surest answers to unknown objects",
            "None of the model's classes is in these pictures; red is what it says, and how sure it is. Surest first.",
            &part.unknown,
        ),
    ];
    let gallery = |(title, explanation, mistakes): (_, _, &Vec<WrongAnswer>)| {
        let mut shown = Vec::new();
        for mistake in mistakes {
            let wrong = Wrong::of(mistake);
            *bytes += wrong.address.len();
            if *bytes > PICTURE_BYTES {
                break;
            }
            shown.push(wrong);
        }
        let mut classes: Vec<String> = (shown.iter())
            .flat_map(|one| [one.truth.clone(), one.said.clone()])
            .collect();
        classes.sort();
        classes.dedup();
        (!shown.is_empty()).then_some(Gallery {
            title,
            explanation,
            classes,
            mistakes: shown,
        })
    };
    all.into_iter().filter_map(gallery).collect()
}

impl Wrong {
    fn of(mistake: &WrongAnswer) -> Self {
        let picture = &mistake.picture;
        let (width, height) = (picture.width(), picture.height());
        // Small ones are enlarged by a whole factor.
        let factor = (160 / width.max(height)).max(1);
        Self {
            truth: mistake.truth.clone(),
            said: mistake.said.clone(),
            confidence: confidence(mistake.confidence),
            percent: format!("{:.2}", 100.0 * mistake.confidence),
            file: mistake.file.clone(),
            address: format!(
                "data:image/png;base64,{}",
                BASE64_STANDARD.encode(picture.encode_png())
            ),
            alt: format!("{}, taken for {}", mistake.truth, mistake.said),
            width: width * factor,
            height: height * factor,
            enlarged: factor > 1,
        }
    }
}

/// In whole percent, as in the figures of the paper; 100% is kept for certainty.
fn confidence(share: f64) -> String {
    match (100.0 * share).round() {
        100.0 if share < 1.0 => ">99%".to_owned(),
        percent => format!("{percent}%"),
    }
}

fn lists(name: &str, set: &Measures) -> Vec<List> {
    let ratio = |value: f64| match value.is_nan() {
        true => "no pictures of it".to_owned(),
        false => format!("{value:.1}×"),
    };
    let p = |value: f64| match value {
        _ if value.is_nan() => "undefined".to_owned(),
        ..0.001 => "< 0.001".to_owned(),
        _ => format!("{value:.3}"),
    };
    let shown = |of: &Interval| {
        let cell = cell(of);
        match cell.ends.is_empty() {
            true => cell.value,
            false => format!("{} ({})", cell.value, cell.ends),
        }
    };
    let attractors = List {
        title: format!("Attractor classes ({name} pictures)"),
        explanation: "Classes that the model says more often than they are there: share predicted through share true. The p-value is \
                      of McNemar's exact test that both are the same, after Holm for all classes.",
        head: vec!["class", "predicted", "true", "ratio", "p"],
        rows: (set.attractors.iter())
            .map(|one| {
                vec![
                    one.name.clone(),
                    shown(&one.predicted),
                    percent(one.true_share),
                    ratio(one.ratio),
                    p(one.p),
                ]
            })
            .collect(),
        long: false,
    };
    let confusions = List {
        title: format!("Most frequent confusions ({name} pictures)"),
        explanation: "The p-value is of the exact test that a pair is confused as often either way, after Holm for all pairs with at \
                      least six confusions.",
        head: vec![
            "shown",
            "taken for",
            "pictures",
            "share of the class",
            "other way round",
            "p",
        ],
        rows: (set.confusions.iter())
            .map(|one| {
                vec![
                    one.name.clone(),
                    one.taken_for_name.clone(),
                    one.count.to_string(),
                    shown(&one.rate),
                    one.reverse.to_string(),
                    p(one.p),
                ]
            })
            .collect(),
        long: false,
    };
    let classes = List {
        title: format!("Class by class ({name} pictures)"),
        explanation: "Recall is the share of the pictures of a class that is recognised; without pictures it is undefined.",
        head: vec![
            "class",
            "pictures",
            "recall",
            "predicted",
            "mean confidence",
            "taken for",
        ],
        rows: (set.classes.iter())
            .map(|row| {
                vec![
                    row.name.clone(),
                    row.recall.n.to_string(),
                    match row.recall.n {
                        0 => "undefined".to_owned(),
                        _ => shown(&row.recall),
                    },
                    row.predicted.to_string(),
                    percent(row.confidence),
                    row.taken_for.clone().unwrap_or_default(),
                ]
            })
            .collect(),
        long: set.classes.len() > 20,
    };
    let all = [attractors, confusions, classes];
    all.into_iter()
        .filter(|list| !list.rows.is_empty())
        .collect()
}

/// A table of models.
struct Table {
    name: String,
    rows: Vec<Row>,
    left_out: usize,
    correlations: Vec<(String, String)>,
    plots: Vec<Scatter>,
}

struct Row {
    model: String,
    size: String,
    parameters: String,
    clean: String,
    hard: String,
    robust: String,
    clean_percent: f64,
    hard_percent: f64,
}

impl Table {
    fn of(table: &ModelTable, at: usize) -> Self {
        let or_empty = |value: Option<String>| value.unwrap_or_default();
        let row = |row: &ModelRow| Row {
            model: row.model.clone(),
            size: or_empty(row.size.map(|size| size.to_string())),
            parameters: or_empty(row.parameters.map(|count| format!("{count:.1} M"))),
            clean: percent(row.clean),
            hard: percent(row.hard),
            robust: or_empty(row.robust.map(percent)),
            clean_percent: 100.0 * row.clean,
            hard_percent: 100.0 * row.hard,
        };
        let plots = [false, true].map(|by_size| {
            let id = format!("scatter-{at}-{}", u8::from(by_size));
            Scatter::of(table, by_size, id)
        });
        Self {
            name: table.name.clone(),
            rows: table.rows.iter().take(MODELS).map(row).collect(),
            left_out: table.rows.len().saturating_sub(MODELS),
            correlations: (table.correlations.iter())
                .map(|one| {
                    let found = &one.spearman;
                    let name = format!(
                        "rank correlation of {} and {}",
                        one.between[0], one.between[1]
                    );
                    let value = match found.value.is_nan() {
                        true => "undefined".to_owned(),
                        false if found.low.is_nan() => {
                            format!("{:.2}, n = {}", found.value, found.n)
                        }
                        false => format!(
                            "{:.2} (95% interval {:.2} to {:.2}), n = {}",
                            found.value, found.low, found.high, found.n
                        ),
                    };
                    (name, value)
                })
                .collect(),
            plots: plots.into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answers, Given, Resampling, Settings, Subset};
    use super::*;
    use crate::image::Picture;

    #[test]
    fn a_page_shows_mistakes_surest_first_and_names_harm_nothing() {
        let mut answers = Answers::new(&Subset::all(3)).unwrap();
        for (label, logits) in [
            (0, [0.0, 4.0, 0.0]),
            (1, [0.0, 4.0, 0.0]),
            (2, [2.0, 0.0, 1.0]),
        ] {
            answers.push(&logits, label, "x").unwrap();
        }
        let names = ["<b>cat", "dog", "ox"].map(str::to_owned);
        let settings = Settings {
            definition: Definition::Standard,
            resampling: Resampling { count: 50, seed: 0 },
        };
        let given = Given {
            model: "a<b.onnx",
            multiply_adds: None,
            names: &names,
            hard: Some(&answers),
            clean: Some(&answers),
            unknown: Some(answers.logits()),
            scores: &[],
        };
        let report = Report {
            models: vec![Evaluation::of(&given, &settings).unwrap()],
            tables: vec![ModelTable::testbed(settings.resampling).unwrap()],
        };
        let mistake = |said: &str, confidence| WrongAnswer {
            truth: "<b>cat".to_owned(),
            said: said.to_owned(),
            confidence,
            file: "<i>.png".to_owned(),
            picture: Picture::new(3, 2, 2, vec![7; 12]).unwrap(),
        };
        let part = Part {
            hard: vec![mistake("dog", 0.999), mistake("ox", 0.5)],
            unknown: vec![mistake("ox", 1.0)],
        };
        let html = page(&report, &[part]).unwrap();
        for shown in [
            "&#60;b&#62;cat",
            "dog (&#62;99%)",
            "ox (50%)",
            "ox (100%)",
            "Attractor classes",
            "0.93 (95% interval",
            "densenet121",
            "All 3 classes",
        ] {
            assert!(html.contains(shown), "{shown}");
        }
        for absent in ["<b>cat", "<i>", "a<b", "NaN"] {
            assert!(!html.contains(absent), "{absent}");
        }
        assert!(html.find("dog (").unwrap() < html.find("ox (50%)").unwrap());
    }
}
