//! Finds what fools a trained vision model, measures how much, and shows why.
//!
//! A model is an ONNX file. Gradients are derived from the graph in the file. To attack one picture:
//!
//! ```no_run
//! use hoodwink::{attacks::Attack, engine, files, image::Picture, model::Classifier, single, threat::Norm};
//!
//! # fn main() -> hoodwink::Result<()> {
//! let engine = engine::open(engine::Choice::Auto)?;
//! let model = Classifier::open("cifar.onnx".as_ref(), &Default::default(), engine)?;
//! let picture = Picture::open("cat.png".as_ref())?.resize(32, 32)?;
//! let fooled = single::attack(&model, &Attack::parse("pgd(steps=100)")?, &picture, Norm::Linf, Some(8.0 / 255.0))?;
//! files::write("fooled.png".as_ref(), &fooled.picture.encode_png())?;
//! # println!("{:?}", fooled.saved);
//! # Ok(())
//! # }
//! ```
//!
//! For data sets, several attacks and radii, tables and reports, see [`plan`], [`evaluate`], [`run`] and [`report`].

pub mod attacks;
mod counted;
pub mod data;
pub mod engine;
mod error;
pub mod evaluate;
pub mod files;
pub mod image;
pub mod judge;
pub mod legible;
pub mod lint;
pub mod model;
pub mod natural;
pub mod nearest;
mod normal;
pub mod oracle;
pub mod panics;
mod parallel;
mod parquet_file;
pub mod plan;
pub mod preprocessing;
pub mod report;
pub mod results;
pub mod run;
pub mod single;
pub mod stats;
#[cfg(test)]
mod testing;

pub mod threat;
pub mod train;

pub use counted::counted;
pub use error::{Error, Result};
