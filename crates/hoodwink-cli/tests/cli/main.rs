//! The command as its users meet it: arguments in; files, streams and exit status out.

mod attack;
mod attacks;
mod conventions;
mod data;
mod demo;
mod engine;
mod errors;
mod first;
mod grad;
mod heads;
mod inspect;
mod natural;
mod opaque;
mod predict;
mod promises;
mod resume;
mod runs;
mod setup;
mod shell;
mod terminal;
mod train;
