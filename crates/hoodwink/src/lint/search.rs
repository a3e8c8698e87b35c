//! Which preprocessing the model knows the labels best with.
//!
//! Many are tried, and few are worth many pictures: each round shows three times as many, to those that the rounds before
//! have not ruled out.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{
    Depth, Explained, Finding, Mistake,
    asking::Asking,
    knowledge::{Knowledge, SIGNIFICANCE, is_better, mean, percent, standard_errors},
    variants::{self, Variant, variants},
};
use crate::{Result, preprocessing::Preprocessing};

/// Pictures of the first round.
const FIRST: usize = 16;

/// By how many standard errors a preprocessing must be worse than the best to be tried no further.
const HOPELESS: f64 = 4.0;

/// By how many standard errors a preprocessing may be worse than the best and yet be taken for as good.
const AS_GOOD: f64 = 2.0;

/// A difference of log losses, in nats and as a share, that is worth telling even if it is no chance.
const WORTH_TELLING: (f64, f64) = (1e-3, 0.01);

/// A preprocessing with the answers that the model gave, of the first pictures.
struct Candidate {
    variant: Variant,
    answers: Vec<Vec<f32>>,
}

/// The preprocessing that explains the labels better than the one that was said, by more than chance. `answers` are those
/// with what was said, to the first pictures, and `labels` those of all; more pictures are shown for as long as `depth`
/// allows.
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
        // A few pictures more would tell no more.
        if next < count + count / 4 + 1 {
            return Ok(judge(&candidates, &now, labels, tried));
        }
        count = next;
    }
}

/// The candidates that may yet be the best.
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

/// The candidate that beats what was said; of several that chance might have put in another order the one that changes
/// least.
fn judge(
    candidates: &[Candidate],
    now: &Knowledge,
    labels: &[usize],
    tried: usize,
) -> Option<Explained> {
    // Of so many by chance one would come so far with the probability `SIGNIFICANCE`.
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

/// In what a preprocessing beats the one that was said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Better {
    /// Classes are told apart better.
    Knowledge,
    /// Classes are told apart as well, but the model is as sure as it should be.
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

    /// The losses that matter for it.
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
                    "with {with} {right:.1}% of {count} pictures are right, with this {right_now:.1}%"
                )
            }
            Self::Knowledge => format!(
                "with {with} the model knows the labels of {count} pictures better: log loss {:.3} instead of {:.3}, both at \
                 their best temperature, and {right:.1}% right instead of {right_now:.1}%{}",
                then.loss(),
                now.loss(),
                match is_told_apart {
                    true => String::new(),
                    false => format!(", which {count} pictures do not tell apart"),
                }
            ),
            Self::Confidence => format!(
                "with {with} the model is as sure of {count} pictures as it should be: log loss {:.3} instead of {:.3}; \
                 {right:.1}% are right, with this {right_now:.1}%",
                mean(&then.raw_losses),
                mean(&now.raw_losses)
            ),
        }
    }

    fn matters(self) -> &'static str {
        match self {
            Self::Knowledge => {
                "the model seems to have been trained on other inputs; all figures would be of a model that nobody uses"
            }
            Self::Confidence => {
                "the model seems to have been trained on inputs of another scale; its confidences mean nothing"
            }
        }
    }
}
