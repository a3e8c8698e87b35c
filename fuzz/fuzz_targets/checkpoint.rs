//! Replaces part of a checkpoint by any bytes and resumes a training from it: settings, progress and weights.

#![no_main]

#[allow(dead_code, reason = "its data sets are not opened here")]
mod data;

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hoodwink::data::Dataset;
use hoodwink::engine::{Choice, Engine, open};
use hoodwink::image::Picture;
use hoodwink::train::{Augment, Checkpoint, Optimiser, Progress, Schedule, Settings, train};
use hoodwink::{Error, Result};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static SOUND: OnceLock<Vec<u8>> = OnceLock::new();
    let path = data::empty_folder().join("net.checkpoint");
    let sound = SOUND.get_or_init(|| {
        let stopped = go_on(&path, 2);
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        fs::read(&path).expect("a training that is stopped leaves its checkpoint")
    });
    fs::write(&path, data::splice(sound, bytes)).expect("a folder of its own can be filled");
    let _ = go_on(&path, 5);
});

/// Trains on two pictures, from a checkpoint if there is one, and stops before this step.
fn go_on(path: &Path, stop: usize) -> Result<()> {
    static ENGINE: OnceLock<Arc<dyn Engine>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| open(Choice::Rten).expect("it is built in"));
    let settings = Settings {
        network: r#"layers = ["global-average"]"#.parse()?,
        epochs: 3,
        batch: 1,
        learning_rate: 1e-3,
        schedule: Schedule::Cosine,
        optimiser: Optimiser::Adam,
        weight_decay: 0.0,
        augment: Augment {
            shift: 0,
            flip: false,
        },
        adversarial: None,
        seed: 0,
        threads: 1,
    };
    let picture = |level| {
        Ok((
            Picture::new(1, 2, 2, vec![level; 4])?,
            usize::from(level > 0),
        ))
    };
    let pictures = [0, 255].map(picture).into_iter().collect::<Result<_>>()?;
    let data = Dataset::from_pictures("two", pictures, None)?;
    let checkpoint = Checkpoint {
        path: path.to_owned(),
        every: Duration::MAX,
    };
    let stop = |so_far: Progress<'_>| match so_far {
        Progress::Step { done, .. } if done >= stop => Err(Error::Stopped),
        _ => Ok(()),
    };
    train(
        &settings,
        engine.as_ref(),
        &data,
        None,
        Some(&checkpoint),
        stop,
    )
    .map(drop)
}
