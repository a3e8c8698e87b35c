//! `run.toml`: everything that determines a run's results, and what it was run on.

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
    /// The part of the pictures that this run covers; `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// What looked wrong before the run. It does not change the results but may invalidate them. `None` if nothing was
    /// checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<FindingRecord>>,
    /// The model.
    pub model: ModelRecord,
    /// The pictures.
    pub data: DataRecord,
    /// The attacker's goal, knowledge and limits.
    pub threat: ThreatRecord,
    /// The attacks, in order.
    pub attacks: Vec<AttackRecord>,
    /// The rest of the settings.
    pub settings: Settings,
    /// The options of the command that started the run, by name, including those from configuration files: enough to
    /// repeat it. The fields above record their effect, so two runs that differ only here are the same.
    #[serde(default)]
    pub options: toml::Table,
}

impl Run {
    /// Returns the eps at which each attack has a row: those of the threat model, or a single `None`.
    pub fn radii(&self) -> Vec<Option<&str>> {
        match self.threat.eps.is_empty() {
            true => vec![None],
            false => self.threat.eps.iter().map(|eps| Some(&**eps)).collect(),
        }
    }

    /// Returns every setting that differs from an existing run's, as `key: old there, new now`; empty for the same run.
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

    /// Returns the settings as `dotted.key` and value, without the options and findings.
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

/// The attacked model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// File as given by the user.
    pub path: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// `[channels, height, width]` of its input pictures.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// The preprocessing that became part of the graph, one `key = value` per step, for people.
    pub preprocessing: String,
}

/// The pictures it was attacked on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecord {
    /// File or folder as given by the user.
    pub path: String,
    /// Digest over files and labels.
    pub digest: String,
    /// Number of samples.
    pub samples: usize,
    /// Names of the classes by label, if known.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// What defines the right class.
    #[serde(default, skip_serializing_if = "Truth::is_labels")]
    pub truth: Truth,
}

/// What defines the right class of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// Its label.
    #[default]
    Labels,
    /// The model's own prediction before any attack. The picture has no label, so clean accuracy is 100% by definition.
    Prediction,
}

impl Truth {
    fn is_labels(&self) -> bool {
        *self == Self::Labels
    }

    /// Returns a notice for figures that are based on predictions: `prediction instead of truth: 12 pictures`.
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
    /// Radii of the ball in pixel space, as typed; empty if attacks look for the smallest distance instead.
    pub eps: Vec<String>,
    /// The requested range if the radii were chosen automatically, such as `0..8/255`.
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
    /// Returns whether attacks have a target class.
    pub fn is_targeted(&self) -> bool {
        self.goal.starts_with("targeted")
    }
}

/// One attack. A run may use one several times, each with a different recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackRecord {
    /// Name in the registry.
    pub name: String,
    /// Its full recipe with every parameter, which distinguishes it from the other attacks of the run.
    pub recipe: String,
}

/// Settings that change results and belong to neither model, data, threat model nor attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seed of all randomness.
    pub seed: u64,
}

/// The duration and parallelism of a run (`timing.json`), which do not affect results and differ from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Wall-clock seconds of the whole evaluation; for an interrupted or merged run, the sum over its parts.
    pub seconds: f64,
    /// Worker threads.
    pub threads: usize,
    /// Number of pictures that each worker attacked at once.
    pub batch: usize,
    /// The shared library that ran the model; `None` for a built-in engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Seconds of work by recipe: an attack's own steps and its share of the model's executions, summed over workers.
    /// Waiting for other attacks is not included.
    #[serde(default)]
    pub by_attack: BTreeMap<String, f64>,
}
