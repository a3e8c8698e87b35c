//! `run.toml`: everything that decides a run's numbers, and what it was run on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}

/// The threat model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreatRecord {
    /// `linf`, `l2` or `l1`.
    pub norm: String,
    /// Radii of the ball in pixel space, as typed.
    pub eps: Vec<String>,
    /// `untargeted`, or `targeted: …` with how the target is chosen.
    pub goal: String,
    /// `labels`, `scores` or `gradients`.
    pub access: String,
    /// Limits per sample and attack, by name (`queries`, `gradients`); absent means none.
    #[serde(default)]
    pub budget: BTreeMap<String, u64>,
}

/// One attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackRecord {
    /// Name in the registry.
    pub name: String,
    /// Its full recipe, every parameter included.
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
    /// Wall-clock seconds of the whole evaluation.
    pub seconds: f64,
    /// Worker threads.
    pub threads: usize,
    /// Pictures that each worker had in hand at once.
    pub batch: usize,
    /// Seconds summed over workers, by attack.
    #[serde(default)]
    pub by_attack: BTreeMap<String, f64>,
}
