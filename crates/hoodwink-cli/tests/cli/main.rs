//! The command as its users meet it: arguments in; files, streams and exit status out.

mod attack;
mod attacks;
mod conventions;
mod data;
mod demo;
mod engine;
mod errors;
mod grad;
mod heads;
mod inspect;
mod opaque;
mod predict;
mod resume;
mod runs;
mod setup;
mod shell;
mod terminal;
mod train;
