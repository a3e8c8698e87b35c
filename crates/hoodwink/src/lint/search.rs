//! Searches for the preprocessing under which the model's scores match the labels best.
//!
//! Many candidates are tried, and few deserve many pictures: each round uses three times as many pictures for the
//! candidates that the earlier rounds have not ruled out.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{
    Depth, Explained, Finding, Mistake,
    asking::Asking,
    knowledge::{Knowledge, SIGNIFICANCE, is_better, mean, percent, standard_errors},
    variants::{self, Variant, variants},
};
use crate::{Result, preprocessing::Preprocessing};

/// The number of pictures in the first round.
const FIRST: usize = 16;

/// A candidate that is worse than the best by this many standard errors is dropped.
const HOPELESS: f64 = 4.0;

/// A candidate that is worse than the best by less than this many standard errors counts as equally good.
const AS_GOOD: f64 = 2.0;

/// The minimum difference of log losses to report, in nats and as a share, even if it is significant.
const WORTH_TELLING: (f64, f64) = (1e-3, 0.01);

/// A preprocessing with the model's answers to the first pictures.
struct Candidate {
    variant: Variant,
    answers: Vec<Vec<f32>>,
}

/// Returns the preprocessing that explains the labels significantly better than `said`, if there is one. `answers` are
/// the model's answers under `said` to the first pictures, and `labels` are the labels of all pictures. More pictures
/// are used as long as `depth` allows.
pub(super) fn search(
    said: &Preprocessing,
    asking: &mut Asking<'_>,
    answers: &mut Vec<Vec<f32>>,
    labels: &[usize],
    depth: &Depth,
) -> Result<Option<Explained>> {
    let mut candidates: Vec<Candidate> = variants(said, asking.shape())
        .into_iter()
        .map(|variant| Candidate {
            variant,
            answers: Vec::new(),
        })
        .collect();
    let tried = candidates.len();
    let limit = asking.len().min(depth.searched);
    let mut affordable = depth.multiply_adds / asking.multiply_adds().max(1);
    let mut count = FIRST.min(limit);
    loop {
        let known = candidates.first().map_or(0, |one| one.answers.len());
        let more = count - known;
        affordable = affordable.saturating_sub((more * (candidates.len() + 1)) as u64);
        let shown: Vec<&Preprocessing> = candidates
            .iter()
            .map(|candidate| &candidate.variant.preprocessing)
            .collect();
        let answered = asking.ask(said, &shown, known..count)?;
        for (candidate, answers) in candidates.iter_mut().zip(answered) {
            candidate.answers.extend(answers);
        }
        if answers.len() < count {
            let answered = asking.ask(said, &[said], answers.len()..count)?;
            answers.extend(answered.into_iter().flatten());
        }
        let labels = &labels[..count];
        let now = Knowledge::of(&answers[..count], labels);
        candidates = promising(candidates, &now, labels);
        if candidates.is_empty() {
            return Ok(None);
        }
        let each = affordable / (candidates.len() as u64 + 1);
        let next = (3 * count)
            .min(limit)
            .min(count.saturating_add(each as usize));
        // A few more pictures would not change the result.
        if next < count + count / 4 + 1 {
            return Ok(judge(&candidates, &now, labels, tried));
        }
        count = next;
    }
}

/// Keeps the candidates that may still be the best.
fn promising(candidates: Vec<Candidate>, now: &Knowledge, labels: &[usize]) -> Vec<Candidate> {
    let known: Vec<Knowledge> = candidates
        .iter()
        .map(|candidate| Knowledge::of(&candidate.answers, labels))
        .collect();
    let best = known
        .iter()
        .fold(now, |best, one| match one.loss() < best.loss() {
            true => one,
            false => best,
        });
    let fits = |one: &Knowledge| standard_errors(&one.losses, &best.losses) < HOPELESS;
    candidates
        .into_iter()
        .zip(&known)
        .filter_map(|(candidate, known)| fits(known).then_some(candidate))
        .collect()
}

/// Returns the candidate that beats the given preprocessing. Of several that are equally good within chance, returns
/// the one with the fewest changes.
fn judge(
    candidates: &[Candidate],
    now: &Knowledge,
    labels: &[usize],
    tried: usize,
) -> Option<Explained> {
    // With this bar, the best of all these candidates passes by chance with the probability `SIGNIFICANCE`.
    let bar = Normal::standard().inverse_cdf(1.0 - SIGNIFICANCE / tried as f64);
    let mut winners: Vec<(&Variant, Knowledge, Better)> = Vec::new();
    for candidate in candidates {
        let known = Knowledge::of(&candidate.answers, labels);
        if let Some(better) = Better::of(&known, now, bar) {
            winners.push((&candidate.variant, known, better));
        }
    }
    let kind = winners.iter().map(|(.., better)| *better).min()?;
    winners.retain(|(.., better)| *better == kind);
    let best = winners
        .iter()
        .map(|(_, known, _)| kind.losses(known))
        .min_by(|a, b| mean(a).total_cmp(&mean(b)))?
        .to_vec();
    let (variant, known, _) = winners
        .into_iter()
        .filter(|(_, known, _)| standard_errors(kind.losses(known), &best) < AS_GOOD)
        .min_by(|(a, a_known, _), (b, b_known, _)| {
            let loss = |known| mean(kind.losses(known));
            let by_loss = loss(a_known).total_cmp(&loss(b_known));
            a.changes().cmp(&b.changes()).then(by_loss)
        })?;
    Some(Explained {
        percent: percent(&known.rights),
        preprocessing: Some(variant.preprocessing.clone()),
        finding: Finding {
            mistake: Mistake::Preprocessing,
            saw: kind.saw(variant, now, &known),
            matters: kind.matters(),
            remedy: variants::settings(&variant.preprocessing),
            preprocessing: Some(variant.preprocessing.clone()),
        },
    })
}

/// How a preprocessing beats the given one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Better {
    /// The scores separate the classes better.
    Knowledge,
    /// The scores separate the classes equally well, and the confidence fits the accuracy.
    Confidence,
}

impl Better {
    fn of(then: &Knowledge, now: &Knowledge, bar: f64) -> Option<Self> {
        if is_better(&then.rights, &now.rights) {
            return None;
        }
        let (least, share) = WORTH_TELLING;
        let gain = now.loss() - then.loss();
        let errors = standard_errors(&now.losses, &then.losses);
        if is_better(&now.rights, &then.rights)
            || errors > bar && gain > least.max(share * now.loss())
        {
            return Some(Self::Knowledge);
        }
        let is_surer = standard_errors(&now.raw_losses, &then.raw_losses) > bar;
        let halves = then.log_temperature.abs() + 2.0_f64.ln() < now.log_temperature.abs();
        (errors > -1.0 && is_surer && halves).then_some(Self::Confidence)
    }

    /// Returns the losses to compare.
    fn losses(self, known: &Knowledge) -> &[f64] {
        match self {
            Self::Knowledge => &known.losses,
            Self::Confidence => &known.raw_losses,
        }
    }

    fn saw(self, variant: &Variant, now: &Knowledge, then: &Knowledge) -> String {
        let with = variant.differences.join(" and ");
        let (right, right_now) = (percent(&then.rights), percent(&now.rights));
        let count = now.rights.len();
        let is_told_apart = is_better(&now.rights, &then.rights);
        match self {
            Self::Knowledge if is_told_apart && right - right_now > 2.0 => {
                format!(
                    "with other preprocessing ({with}), the model is right on {right:.1}% of {count} pictures instead of {right_now:.1}%"
                )
            }
            Self::Knowledge => format!(
                "with other preprocessing ({with}), the model separates the classes of {count} pictures better: log loss {:.3} \
                 instead of {:.3}, each at its best temperature, and {right:.1}% right instead of {right_now:.1}%{}",
                then.loss(),
                now.loss(),
                match is_told_apart {
                    true => String::new(),
                    false => format!(" (not distinguishable on {count} pictures)"),
                }
            ),
            Self::Confidence => format!(
                "with other preprocessing ({with}), the model's confidence fits its accuracy on {count} pictures: log loss {:.3} \
                 instead of {:.3}; {right:.1}% right instead of {right_now:.1}%",
                mean(&then.raw_losses),
                mean(&now.raw_losses)
            ),
        }
    }

    fn matters(self) -> &'static str {
        match self {
            Self::Knowledge => {
                "the model was probably trained with that preprocessing; with this one, all results describe a model that nobody uses"
            }
            Self::Confidence => {
                "the model was probably trained on inputs of another scale; with this one, its confidence means nothing"
            }
        }
    }
}
