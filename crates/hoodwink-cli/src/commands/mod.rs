//! One file per sub-command, one function each.

pub(crate) mod attack;
pub(crate) mod grad;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod train;

use clap::ValueEnum;

/// How results are printed on stdout.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One object
    Json,
}
