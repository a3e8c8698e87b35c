//! The page that shows the progress of a training.

use std::collections::BTreeMap;

use askama::Template;

use super::chart::{self, Chart, Measured};
use crate::error::{Error, Result};
use crate::train::Epoch;

#[derive(Template)]
#[template(path = "training.html")]
struct Page<'a> {
    name: &'a str,
    last: Option<Last>,
    charts: Vec<Chart>,
    /// Name and style of every line of the accuracy chart.
    legend: Vec<(&'a str, usize)>,
    settings: &'a BTreeMap<String, String>,
    /// The measured columns, and one row for each epoch.
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// A description of the last epoch.
struct Last {
    epochs: usize,
    what: &'static str,
    accuracy: String,
    robust: Option<String>,
}

/// Returns a self-contained HTML page with the loss and the accuracy after every epoch.
///
/// `name` is the trained model, `settings` how it was trained ([`crate::train::Settings::record`]).
pub fn training(
    name: &str,
    settings: &BTreeMap<String, String>,
    history: &[Epoch],
) -> Result<String> {
    let column = |value: fn(&Epoch) -> Option<f64>| history.iter().filter_map(value).collect();
    let mut accuracies: Vec<(&str, Vec<f64>)> = vec![
        ("training", column(|epoch| Some(epoch.train_accuracy))),
        ("held out", column(|epoch| epoch.held_out_accuracy)),
        (
            "held out, attacked",
            column(|epoch| epoch.held_out_robust_accuracy),
        ),
    ];
    accuracies.retain(|(_, values)| !values.is_empty());
    type Cell = fn(&Epoch) -> String;
    let mut columns: Vec<(&str, Cell)> = vec![
        ("epoch", |epoch| epoch.epoch.to_string()),
        ("loss", |epoch| chart::tidy(epoch.loss)),
        ("training", |epoch| percent(epoch.train_accuracy)),
        ("held out", |epoch| {
            epoch.held_out_accuracy.map_or_else(String::new, percent)
        }),
        ("held out, attacked", |epoch| {
            epoch
                .held_out_robust_accuracy
                .map_or_else(String::new, percent)
        }),
    ];
    let is_measured = |name: &str| accuracies.iter().any(|(measured, _)| *measured == name);
    columns.retain(|(name, _)| matches!(*name, "epoch" | "loss") || is_measured(name));
    let losses = [("training", column(|epoch| Some(epoch.loss)))];
    let page = Page {
        name,
        last: history.last().map(|last| Last {
            epochs: last.epoch,
            what: match last.held_out_accuracy {
                Some(_) => "held-out pictures",
                None => "training pictures",
            },
            accuracy: percent(last.held_out_accuracy.unwrap_or(last.train_accuracy)),
            robust: last.held_out_robust_accuracy.map(percent),
        }),
        charts: [
            chart::epochs(Measured::Loss, &losses),
            chart::epochs(Measured::Accuracy, &accuracies),
        ]
        .into_iter()
        .flatten()
        .collect(),
        legend: accuracies
            .iter()
            .enumerate()
            .map(|(n, (name, _))| (*name, chart::style(n)))
            .collect(),
        settings,
        columns: columns.iter().map(|(name, _)| *name).collect(),
        rows: history
            .iter()
            .map(|epoch| columns.iter().map(|(_, cell)| cell(epoch)).collect())
            .collect(),
    };
    page.render()
        .map_err(|error| Error::invalid(format!("the page cannot be written: {error}")))
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_was_measured_and_nothing_else() {
        let epoch = |epoch: usize, robust| Epoch {
            epoch,
            loss: 1.0 / epoch as f64,
            train_accuracy: 0.75,
            held_out_accuracy: Some(0.875),
            held_out_robust_accuracy: robust,
        };
        let settings = BTreeMap::from([("attack".to_owned(), "<none>".to_owned())]);
        let plain = training("a<b", &settings, &[epoch(1, None), epoch(2, None)]).unwrap();
        assert!(plain.contains("87.5%") && plain.contains("after epoch 2: 0.5"));
        for absent in ["held out, attacked", "a<b", "<none>"] {
            assert!(!plain.contains(absent), "{absent}");
        }
        let robust = training("x", &settings, &[epoch(1, Some(0.625))]).unwrap();
        assert!(robust.contains("62.5%") && !robust.contains("<svg"));
        assert!(training("x", &settings, &[]).unwrap().contains("no epoch"));
    }
}
