//! The results of a run: rows (Parquet), settings (`run.toml`), pictures, and the views computed from them.
//!
//! Everything that a view shows is a pure function of the tables. Nothing depends on the time of day except [`Timing`],
//! which has its own file, so that the same seed gives the same bytes in all other files.

mod columns;
mod consistency;
mod counting;
#[cfg(test)]
pub(crate) mod example;
mod findings;
mod folder;
mod journal;
mod merge;
mod names;
mod next;
mod noise;
mod repetition;
mod row;
mod run;
pub mod summary;
pub mod table;
pub mod text;

pub use columns::columns;
pub(crate) use counting::{Counting, clean};
pub use findings::{FindingRecord, Spoils};
pub use folder::{RunFolder, SAMPLES_PER_PART};
pub use merge::merge;
pub use names::keys;
pub use next::next_folder;
pub use noise::NoiseSeen;
pub use repetition::{Repetition, repeats};
pub use row::{Outcome, Row, Seen, Verdict};
pub use run::{AttackRecord, DataRecord, ModelRecord, Run, Settings, ThreatRecord, Timing, Truth};
pub use summary::Summary;
