//! A finite set of scenes, which can be written in place of a data set's path.

use std::path::Path;
use std::str::FromStr;

use super::{CLASSES, Correlations, Cue, Scenes};
use crate::data::rows::Rows;
use crate::data::shape_bytes;
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::nearest::did_you_mean;

/// The prefix of a set's name.
const PREFIX: &str = "scenes:";

/// The maximum number of scenes in a set.
const MAX_COUNT: usize = 10_000_000;

/// The first `count` of [`Scenes`], written `scenes:count=20000,side=64,seed=7,background=0.95`.
///
/// All settings are optional. `count` is 1000 by default, `side` 64 pixels, `seed` 0, and every cue is free. The name
/// of a [`Cue`] ties it to the class with a probability; `background=0.95+3` ties it to the value of the class three
/// places further on ([`Correlations::with`]).
#[derive(Clone, Debug, PartialEq)]
pub struct SceneSet {
    scenes: Scenes,
    count: usize,
}

impl SceneSet {
    /// Parses a path that names scenes rather than a file: it begins with `scenes:`.
    pub(in crate::data) fn named(path: &Path) -> Option<Result<Self>> {
        let text = path.to_str()?;
        text.starts_with(PREFIX).then(|| text.parse())
    }

    /// Returns the number of scenes, at least 1.
    pub(in crate::data) fn count(&self) -> usize {
        self.count
    }

    /// Returns the class of every scene.
    pub(in crate::data) fn labels(&self) -> Vec<usize> {
        (0..self.count)
            .map(|row| self.scenes.spec(row as u64).class())
            .collect()
    }
}

/// The pictures are drawn on demand.
impl Rows for SceneSet {
    fn kind(&self) -> &'static str {
        "drawn scenes"
    }

    fn picture(&self, row: usize, _: &str) -> Result<Picture> {
        Ok(self.scenes.scene(row as u64).picture)
    }

    fn stored(&self, row: usize) -> Result<Vec<u8>> {
        let picture = self.scenes.scene(row as u64).picture;
        Ok([&shape_bytes(&picture), picture.bytes()].concat())
    }
}

impl FromStr for SceneSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::invalid(format!("{text}: {what}"));
        let settings = text.strip_prefix(PREFIX).ok_or_else(|| {
            wrong("scenes are written scenes:count=1000,side=64,seed=0,background=0.95")
        })?;
        let (mut count, mut side, mut seed) = (1000, 64, 0);
        let mut correlations = Correlations::none();
        let mut seen = Vec::new();
        for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| wrong(&format!("{setting:?} is not a setting; write KEY=VALUE")))?;
            if seen.contains(&key) {
                return Err(wrong(&format!("{key} is set twice")));
            }
            seen.push(key);
            let no_number = || wrong(&format!("{key} must be a whole number, not {value:?}"));
            match key {
                "count" => count = value.parse().map_err(|_| no_number())?,
                "side" => side = value.parse().map_err(|_| no_number())?,
                "seed" => seed = value.parse().map_err(|_| no_number())?,
                _ => {
                    let cue = Cue::ALL.into_iter().find(|cue| cue.name() == key);
                    let cue = cue.ok_or_else(|| {
                        let cues = Cue::ALL.map(Cue::name);
                        let meant = did_you_mean(key, ["count", "side", "seed"].into_iter().chain(cues));
                        wrong(&format!(
                            "there is no setting {key:?}{meant} (there are count, side, seed and the cues {})",
                            cues.join(", ")
                        ))
                    })?;
                    let (probability, shift) = tie(value).ok_or_else(|| {
                        wrong(&format!(
                            "{key} must be a probability, optionally with a shift (0.95+3), not {value:?}"
                        ))
                    })?;
                    correlations = correlations
                        .with(cue, probability, shift)
                        .map_err(|error| wrong(&error.to_string()))?;
                }
            }
        }
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(wrong(&format!(
                "count must be 1 to {MAX_COUNT}, not {count}"
            )));
        }
        let scenes = Scenes::new(side, seed).map_err(|error| wrong(&error.to_string()))?;
        Ok(Self {
            scenes: scenes.with_correlations(correlations),
            count,
        })
    }
}

/// Parses a probability and an optional shift after a `+`.
fn tie(text: &str) -> Option<(f64, usize)> {
    let (probability, shift) = text.split_once('+').unwrap_or((text, "0"));
    Some((probability.parse().ok()?, shift.parse().ok()?))
}

/// Returns the names of the classes.
pub(in crate::data) fn class_names() -> Vec<String> {
    CLASSES.map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<SceneSet> {
        text.parse()
    }

    #[test]
    fn settings_are_read_and_have_defaults() {
        let plain = SceneSet {
            scenes: Scenes::new(64, 0).unwrap(),
            count: 1000,
        };
        assert_eq!(set("scenes:").unwrap(), plain);
        let ties = Correlations::none()
            .with(Cue::Background, 0.95, 3)
            .and_then(|ties| ties.with(Cue::Texture, 1.0, 0))
            .unwrap();
        let tied = SceneSet {
            scenes: Scenes::new(32, 7).unwrap().with_correlations(ties),
            count: 12,
        };
        let text = "scenes:seed=7,background=0.95+3,count=12,side=32,texture=1";
        assert_eq!(set(text).unwrap(), tied);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_sentence() {
        for (text, says) in [
            ("pictures", "scenes are written scenes:"),
            ("scenes:32", "write KEY=VALUE"),
            ("scenes:count=many", "whole number"),
            ("scenes:count=0", "1 to 10000000"),
            ("scenes:count=99999999999", "1 to 10000000"),
            ("scenes:side=8", "16 to 256"),
            ("scenes:seed=-1", "whole number"),
            ("scenes:seed=1,seed=2", "twice"),
            (
                "scenes:sise=64",
                "did you mean side? (there are count, side",
            ),
            ("scenes:background=1.5", "probability in [0, 1]"),
            ("scenes:background=much", "0.95+3"),
            ("scenes:background=0.9+x", "0.95+3"),
            ("scenes:background=NaN", "probability in [0, 1]"),
        ] {
            let error = set(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(error.starts_with(text) && !error.contains('\n'), "{error}");
        }
    }
}
