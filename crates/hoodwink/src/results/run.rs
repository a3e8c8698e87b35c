//! `run.toml`: everything that decides a run's numbers, and what it was run on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::FindingRecord;
use crate::{Error, Result, counted, data::Partition};

/// The contents of `run.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Version of the tables' schema.
    pub schema: u32,
    /// Version of the program.
    pub hoodwink: String,
    /// Name and version of the engine that ran the model.
    pub engine: String,
    /// The part of the pictures that this run is about; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// What looked wrong before the run began, which decides nothing and spoils much; `None` if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<FindingRecord>>,
    /// The model.
    pub model: ModelRecord,
    /// The pictures.
    pub data: DataRecord,
    /// What the attacker wants, may know and may do.
    pub threat: ThreatRecord,
    /// The attacks, in order.
    pub attacks: Vec<AttackRecord>,
    /// The rest of the settings.
    pub settings: Settings,
    /// The options of the command that gave the run, by name, with what other files said filled in: enough to repeat it. What
    /// they decide is recorded above, so two runs that differ in nothing else are the same.
    #[serde(default)]
    pub options: toml::Table,
}

impl Run {
    /// The eps at which each attack has a row: those of the threat model, or none at all, once.
    pub fn radii(&self) -> Vec<Option<&str>> {
        match self.threat.eps.is_empty() {
            true => vec![None],
            false => self.threat.eps.iter().map(|eps| Some(&**eps)).collect(),
        }
    }

    /// Every setting that differs from that of a run already there, as `key: old there, new now`; none for the same run.
    pub fn differences_from(&self, there: &Self) -> Result<Vec<String>> {
        let (there, now) = (there.flat()?, self.flat()?);
        let value_of = |all: &BTreeMap<String, String>, key: &str| {
            all.get(key).map_or("absent".to_owned(), String::clone)
        };
        let keys: BTreeSet<&String> = there.keys().chain(now.keys()).collect();
        Ok(keys
            .into_iter()
            .map(|key| (key, value_of(&there, key), value_of(&now, key)))
            .filter(|(_, old, new)| old != new)
            .map(|(key, old, new)| format!("{key}: {old} there, {new} now"))
            .collect())
    }

    /// The settings as `dotted.key` and value, without the options and the findings.
    fn flat(&self) -> Result<BTreeMap<String, String>> {
        let mut table = toml::Table::try_from(self)
            .map_err(|e| Error::invalid(format!("the run cannot be written as TOML: {e}")))?;
        table.remove("options");
        table.remove("findings");
        let mut flat = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut flat);
        Ok(flat)
    }
}

fn flatten(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, into);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for (at, value) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{at}]"), value, into);
            }
        }
        plain => {
            into.insert(prefix.to_owned(), plain.to_string());
        }
    }
}

/// Which model was attacked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// File as the user named it.
    pub path: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// `[channels, height, width]` of the pictures it is shown.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// The preprocessing that became part of the graph, one `key = value` per step, for people.
    pub preprocessing: String,
}

/// Which pictures it was attacked on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecord {
    /// File or folder as the user named it.
    pub path: String,
    /// Digest over files and labels.
    pub digest: String,
    /// Number of samples.
    pub samples: usize,
    /// Names of the classes by label, where known.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// What counts as right.
    #[serde(default, skip_serializing_if = "Truth::is_labels")]
    pub truth: Truth,
}

/// What counts as the right class of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// Its label.
    #[default]
    Labels,
    /// What the model says about it before any attack: it has no label, so clean accuracy is 100% by definition.
    Prediction,
}

impl Truth {
    fn is_labels(&self) -> bool {
        *self == Self::Labels
    }

    /// What to say beside figures that rest on predictions: `prediction instead of truth: 12 pictures`.
    pub fn notice(self, samples: usize) -> Option<String> {
        (self == Self::Prediction).then(|| {
            format!(
                "prediction instead of truth: {}",
                counted::pictures(samples)
            )
        })
    }
}

/// The threat model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreatRecord {
    /// `linf`, `l2`, `l1` or `l0`.
    pub norm: String,
    /// Radii of the ball in pixel space, as typed; empty where attacks look for the smallest distance instead.
    pub eps: Vec<String>,
    /// The range that was asked for where the radii were chosen in it, such as `0..8/255`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<String>,
    /// `untargeted`, or `targeted: …` with how the target is chosen.
    pub goal: String,
    /// `labels`, `scores` or `gradients`.
    pub access: String,
    /// Limits per sample and attack, by name (`queries`, `gradients`); absent means none.
    #[serde(default)]
    pub budget: BTreeMap<String, u64>,
}

impl ThreatRecord {
    /// Whether attacks aim at a class.
    pub fn is_targeted(&self) -> bool {
        self.goal.starts_with("targeted")
    }
}

/// One attack. A run may name one several times, each with another recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackRecord {
    /// Name in the registry.
    pub name: String,
    /// Its full recipe, every parameter included: what tells it from the other attacks of the run.
    pub recipe: String,
}

/// Settings that change numbers but are neither model, data, threat nor attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seed of all randomness.
    pub seed: u64,
}

/// How long a run took and with how much at once (`timing.json`): what changes no result, and differs from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Wall-clock seconds of the whole evaluation; of a run that was interrupted or put together, those of its parts.
    pub seconds: f64,
    /// Worker threads.
    pub threads: usize,
    /// Pictures that each worker had in hand at once.
    pub batch: usize,
    /// The shared library that ran the model; `None` for an engine that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Seconds of work, by recipe: an attack's own steps and its share of the model's executions, summed over workers.
    /// Waiting for others is not counted.
    #[serde(default)]
    pub by_attack: BTreeMap<String, f64>,
}
