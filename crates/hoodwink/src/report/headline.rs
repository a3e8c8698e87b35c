//! The result of a run in one sentence.

use crate::results::Run;
use crate::results::summary::{AttackSummary, Distance, Summary, WorstCase};
use crate::results::text::{distance, percent, symbol};
use crate::stats::Interval;
use crate::threat::Eps;

/// The result in one sentence.
pub(super) struct Headline {
    pub(super) clean: Interval,
    pub(super) robust: Interval,
    pub(super) saved: Interval,
    /// For one targeted attack, the shares of attacked pictures that the model no longer gets right, and that it
    /// classifies as the target.
    pub(super) aimed: Option<(Interval, Interval)>,
    pub(super) eps: Option<String>,
    /// The distances within which pictures were fooled, if there is no eps.
    pub(super) distance: Option<Distance>,
    /// Recipe of the attack; `None` for all attacks together.
    pub(super) attack: Option<String>,
    /// `pgd`, or `the strongest of 3 attacks on each picture`.
    pub(super) by: String,
}

/// The text before and after a figure.
pub(super) struct Nearness {
    pub(super) before: String,
    pub(super) figure: String,
    pub(super) after: String,
}

/// Returns the eps and recipe that the headline describes; without a headline, the last eps.
pub(super) fn at<'a>(
    run: &'a Run,
    headline: Option<&'a Headline>,
) -> (Option<&'a str>, Option<&'a str>) {
    match headline {
        Some(headline) => (headline.eps.as_deref(), headline.attack.as_deref()),
        None => (run.threat.eps.last().map(String::as_str), None),
    }
}

impl Headline {
    /// Returns the lowest accuracy and what reached it at the smallest eps. Without eps, this is the attack with the
    /// smallest median distance. `None` before any sample was measured.
    pub(super) fn of(summary: &Summary) -> Option<Self> {
        let attacks = summary.attacks.iter().map(|attack| Self {
            clean: attack.clean_accuracy,
            robust: attack.robust_accuracy,
            saved: attack.robust_accuracy_saved,
            aimed: attack
                .called_target
                .map(|called| (attack.no_longer_right, called)),
            eps: attack.eps.clone(),
            distance: attack.distance.clone(),
            attack: Some(attack.recipe.clone()),
            by: attack.shown.clone(),
        });
        let with_eps = |worst: &&WorstCase| worst.eps.is_some();
        let together = summary.worst_case.iter().filter(with_eps);
        let together = together.map(|worst| Self {
            clean: clean_at(summary, worst.eps.as_deref()),
            robust: worst.robust_accuracy,
            saved: worst.robust_accuracy_saved,
            aimed: None,
            eps: worst.eps.clone(),
            distance: None,
            attack: None,
            by: format!(
                "the strongest of {} attacks on each picture",
                attacks_at(summary, worst.eps.as_deref())
            ),
        });
        // Of several equal results the first is kept: a single attack before all of them, and the earliest one.
        attacks
            .chain(together)
            .filter(|headline| headline.robust.n > 0)
            .min_by(|a, b| {
                let key = |h: &Self| match &h.distance {
                    None => [h.robust.value, radius(h.eps.as_deref())],
                    Some(distance) => [distance.median, distance.unbroken],
                };
                let ([a, then_a], [b, then_b]) = (key(a), key(b));
                a.total_cmp(&b).then(then_a.total_cmp(&then_b))
            })
    }

    pub(super) fn fell(&self) -> bool {
        self.robust.value < self.clean.value
    }

    /// Describes how close wrong answers are, for attacks without eps.
    pub(super) fn nearness(&self) -> Option<Nearness> {
        let found = self.distance.as_ref()?;
        let norm = symbol(&found.norm);
        Some(match found.median.is_finite() {
            true => Nearness {
                before: match found.n {
                    1 => "The model is fooled about the picture within",
                    _ => "Half of the pictures that the model gets right are fooled within",
                }
                .to_owned(),
                figure: format!("{norm} {}", distance(&found.norm, found.median)),
                after: format!("by {}.", self.by),
            },
            false => Nearness {
                before: format!(
                    "Of the pictures that the model gets right, {} fools only",
                    self.by
                ),
                figure: percent(1.0 - found.unbroken),
                after: "at any distance.".to_owned(),
            },
        })
    }

    /// Describes the other quantiles of the distances.
    pub(super) fn spread(&self) -> Option<String> {
        let found = self.distance.as_ref()?;
        if found.n == 1 {
            return None;
        }
        let at = |value| distance(&found.norm, value);
        Some(format!(
            "A tenth is fooled within {}, nine tenths within {}; {} of {} withstood. Accuracy is {} before the attack and {} \
             where any distance is allowed.",
            at(found.q10),
            at(found.q90),
            found.count_unbroken(),
            found.n,
            self.clean.percent(),
            self.robust.percent()
        ))
    }

    pub(super) fn lost(&self) -> String {
        percent(self.clean.value - self.robust.value)
    }

    pub(super) fn wrong_before(&self) -> String {
        percent(1.0 - self.clean.value)
    }
}

pub(super) fn clean_at(summary: &Summary, eps: Option<&str>) -> Interval {
    let mut attacks = summary.attacks.iter();
    let found = attacks.find(|attack| attack.eps.as_deref() == eps);
    found.map_or_else(
        || crate::stats::clopper_pearson(0, 0, crate::stats::CONFIDENCE),
        |a| a.clean_accuracy,
    )
}

pub(super) fn attacks_at(summary: &Summary, eps: Option<&str>) -> usize {
    let at_eps = |attack: &&AttackSummary| attack.eps.as_deref() == eps;
    summary.attacks.iter().filter(at_eps).count()
}

/// Returns the radius of an eps; infinite if there is none.
pub(super) fn radius(eps: Option<&str>) -> f64 {
    let eps = eps.and_then(|eps| eps.parse::<Eps>().ok());
    eps.map_or(f64::INFINITY, |eps| eps.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Row;
    use crate::results::example::{fooled, robust, run};

    #[test]
    fn the_headline_is_the_lowest_accuracy_at_the_smallest_eps() {
        let headline = |rows: &[Row]| {
            let headline = Headline::of(&Summary::of(&run(2), rows, None));
            headline.map(|h| (h.by, h.eps.unwrap(), h.robust.value))
        };
        assert_eq!(headline(&[]), None);
        let mut rows = vec![
            fooled(0, "pgd", "4/255"),
            robust(1, "pgd", "4/255"),
            robust(0, "fgsm", "4/255"),
            robust(1, "fgsm", "4/255"),
            fooled(0, "pgd", "8/255"),
            robust(1, "pgd", "8/255"),
        ];
        let expected = |by: &str, eps: &str, value| Some((by.to_owned(), eps.to_owned(), value));
        assert_eq!(headline(&rows), expected("pgd", "4/255", 0.5));
        rows[3] = fooled(1, "fgsm", "4/255");
        let by = "the strongest of 2 attacks on each picture";
        assert_eq!(headline(&rows), expected(by, "4/255", 0.0));
    }
}
