//! Learning rate schedules.

use std::{f64::consts::PI, fmt, str::FromStr};

use crate::{Error, Result, nearest::unknown};

/// The course of the learning rate after its rise to the maximum, which takes the first twentieth of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Stays at the maximum.
    Constant,
    /// Falls to zero along half a cosine (Loshchilov and Hutter, arXiv 1608.03983, equation 5, without restarts).
    Cosine,
    /// Is divided by ten after half of the steps and again after three quarters (He et al., arXiv 1512.03385, section
    /// 4.2).
    Steps,
}

impl Schedule {
    /// All schedules.
    pub const ALL: [Self; 3] = [Self::Constant, Self::Cosine, Self::Steps];

    /// Returns the name as settings spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Cosine => "cosine",
            Self::Steps => "steps",
        }
    }

    /// Returns the share of the maximum rate at step `step` of `steps`, counted from 0.
    pub(super) fn share(self, step: usize, steps: usize) -> f64 {
        let rise = steps / 20;
        if step < rise {
            return (step + 1) as f64 / (rise + 1) as f64;
        }
        match self {
            Self::Constant => 1.0,
            Self::Cosine => {
                let progress = (step - rise) as f64 / (steps - rise) as f64;
                0.5 * (1.0 + (PI * progress).cos())
            }
            Self::Steps if 4 * step >= 3 * steps => 0.01,
            Self::Steps if 2 * step >= steps => 0.1,
            Self::Steps => 1.0,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|schedule| schedule.word() == text)
            .ok_or_else(|| unknown("schedule", text, &Self::ALL.map(Self::word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(schedule: Schedule, steps: usize) -> Vec<f64> {
        (0..steps).map(|step| schedule.share(step, steps)).collect()
    }

    #[test]
    fn every_schedule_rises_in_equal_steps() {
        for schedule in Schedule::ALL {
            assert_eq!(shares(schedule, 60)[..4], [0.25, 0.5, 0.75, 1.0]);
            assert_eq!(schedule.share(0, 1), 1.0);
            assert_eq!(schedule.word().parse::<Schedule>().unwrap(), schedule);
        }
        assert!("linear".parse::<Schedule>().is_err());
    }

    #[test]
    fn what_follows_is_the_documented_course() {
        assert!(
            shares(Schedule::Constant, 60)[3..]
                .iter()
                .all(|&s| s == 1.0)
        );
        let cosine = shares(Schedule::Cosine, 43);
        assert_eq!(cosine[2], 1.0);
        assert!((Schedule::Cosine.share(22, 42) - 0.5).abs() < 1e-12);
        assert!(cosine[2..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(cosine[42] < 0.002);
        let steps = shares(Schedule::Steps, 40);
        for (range, share) in [(2..20, 1.0), (20..30, 0.1), (30..40, 0.01)] {
            assert!(steps[range].iter().all(|&s| s == share));
        }
    }
}
