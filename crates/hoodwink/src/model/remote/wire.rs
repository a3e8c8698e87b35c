//! The JSON of requests and answers (`docs/remote.md`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use crate::{
    counted::{self, counted},
    image::Image,
    legible,
};

/// The maximum number of bytes in an answer.
pub(super) const LIMIT: u64 = 32 << 20;

/// The number of characters shown of an unreadable answer.
const SHOWN: usize = 80;

/// The minimum probability. Smaller ones are raised to it, so that logarithms stay finite.
const LEAST_PROBABILITY: f64 = 1e-12;

/// Returns a request about images of one shape, as a line.
pub(super) fn request(images: &[&Image], [channels, height, width]: [usize; 3]) -> String {
    let values = images.iter().flat_map(|image| image.pixels());
    let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    json!({
        "inputs": {
            "shape": [images.len(), channels, height, width],
            "dtype": "float32",
            "data": STANDARD.encode(bytes),
        }
    })
    .to_string()
}

/// Decodes the text of an answer.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "sent an answer that is not UTF-8 text".to_owned())
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let begins: String = text.trim_start().chars().take(SHOWN).collect();
        format!("sent an answer that cannot be read ({error}); it begins with {begins:?}")
    })
}

/// A model's description of itself.
#[derive(Default, Deserialize)]
pub(super) struct Description {
    /// `[channels, height, width]`.
    pub(super) shape: Option<[usize; 3]>,
    pub(super) classes: Option<usize>,
}

impl Description {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        parse(text)
    }
}

/// An answer as it is sent: one of these four forms.
#[derive(Deserialize)]
struct Sent {
    logits: Option<Vec<Vec<f64>>>,
    probabilities: Option<Vec<Vec<f64>>>,
    labels: Option<Vec<usize>>,
    error: Option<String>,
}

/// The kind of answers that a model returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Logits,
    Probabilities,
    Labels,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::Labels => "labels",
        }
    }
}

/// A valid answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    /// One row per picture.
    pub(super) logits: Vec<Vec<f32>>,
}

impl Answer {
    /// Parses an answer about `pictures` pictures, at least one. The number of classes and the kind may be unknown.
    pub(super) fn parse(
        text: &str,
        pictures: usize,
        classes: Option<usize>,
        expected: Option<Kind>,
    ) -> Result<Self, String> {
        // Checked before anything is allocated for it.
        let expect = |rows: usize| match rows == pictures {
            true => Ok(()),
            false => Err(format!(
                "answered for {}, but was asked about {pictures}",
                counted::pictures(rows)
            )),
        };
        let (kind, logits) = match parse(text)? {
            Sent {
                error: Some(error), ..
            } => {
                return Err(format!("reported an error: {}", legible::name(&error)));
            }
            Sent {
                logits: Some(rows),
                probabilities: None,
                labels: None,
                ..
            } => {
                expect(rows.len())?;
                (Kind::Logits, scores(&rows, |value| Some(value as f32))?)
            }
            Sent {
                logits: None,
                probabilities: Some(rows),
                labels: None,
                ..
            } => {
                expect(rows.len())?;
                (Kind::Probabilities, scores(&rows, log)?)
            }
            Sent {
                logits: None,
                probabilities: None,
                labels: Some(labels),
                ..
            } => {
                expect(labels.len())?;
                (Kind::Labels, one_hot(&labels, classes)?)
            }
            _ => {
                return Err(
                    "answered with none or several of logits, probabilities and labels; expected exactly one of them".to_owned(),
                );
            }
        };
        if let Some(expected) = expected.filter(|&expected| expected != kind) {
            return Err(format!(
                "answered with {}, but with {} before",
                kind.word(),
                expected.word()
            ));
        }
        let classes = classes.unwrap_or_else(|| logits.first().map_or(0, Vec::len));
        match logits.iter().find(|row| row.len() != classes) {
            Some(other) => Err(format!(
                "returned {} for a picture, but has {}",
                counted(other.len(), "score", "scores"),
                counted(classes, "class", "classes")
            )),
            None => Ok(Self { kind, logits }),
        }
    }

    /// Returns the number of classes.
    pub(super) fn classes(&self) -> usize {
        self.logits.first().map_or(0, Vec::len)
    }
}

/// Converts all scores to finite floats.
fn scores(rows: &[Vec<f64>], make: impl Fn(f64) -> Option<f32>) -> Result<Vec<Vec<f32>>, String> {
    let score = |&value: &f64| {
        let made = make(value).filter(|made| made.is_finite());
        made.ok_or_else(|| format!("returned the score {value}, which is out of range"))
    };
    rows.iter()
        .map(|row| row.iter().map(score).collect())
        .collect()
}

/// Returns the logarithm of a probability, which may be out of range by rounding.
fn log(probability: f64) -> Option<f32> {
    let is_one = (-1e-6..=1.0 + 1e-6).contains(&probability);
    is_one.then(|| probability.clamp(LEAST_PROBABILITY, 1.0).ln() as f32)
}

/// Returns rows with 1 for the label and 0 for the other classes.
fn one_hot(labels: &[usize], classes: Option<usize>) -> Result<Vec<Vec<f32>>, String> {
    let classes =
        classes.ok_or("returns labels only, and the number of classes is unknown; set it")?;
    let row = |&label: &usize| {
        let mut row = vec![0.0; classes];
        let place = row.get_mut(label).ok_or_else(|| {
            format!(
                "returned the label {label}, but has {}",
                counted(classes, "class", "classes")
            )
        })?;
        *place = 1.0;
        Ok(row)
    };
    labels.iter().map(row).collect()
}
