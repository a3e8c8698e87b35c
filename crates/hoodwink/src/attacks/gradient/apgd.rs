//! Auto-PGD: projected gradient steps with momentum. The step size is halved when the loss stops growing.
//!
//! # Formula
//!
//! With `z = project(x_k + step * steepest(gradient))`, `x_{k+1} = project(x_k + a (z - x_k) + (1 - a) (x_k -
//! x_{k-1}))`, where a = 0.75 except in the first step. The step size starts at 2 eps. It is checked after 22% of the
//! steps, then after intervals that shrink by 3% of the steps, down to 6%. It is halved if fewer than `rho` of the
//! steps since the last check have raised the loss, or if neither the step size nor the best loss has changed since
//! then. The walk then continues from the best point. In L2 the projection scales the perturbation and then clips it to
//! the box, as published. The walk starts on the surface of the ball.
//!
//! In L1 the step is `eps * sign(g) / count` at the steepest values. At first these are a fifth of all values; later
//! their share is the share of values in which the best point differs from the original, divided by 1.5. Every 4% of
//! the steps the step size is divided by 1.5, down to a tenth, or reset to eps if the best point has become sparser by
//! 5%. With `large_eps`, 30% of the steps use a ball of three times the radius and 30% one of twice the radius; each
//! stage starts from the best point of the last.
//!
//! `apgd-ce` increases the cross-entropy and `apgd-dlr` the difference of logits ratio. `apgd-t` increases the targeted
//! difference of logits ratio, towards each of the original's `targets` most likely wrong classes in turn. The attack
//! ends at the first point that fools the model both as it is and as the 8-bit picture that is saved for it.
//!
//! # Defaults
//!
//! 100 steps, 1 restart, rho 0.75, 9 targets, `large_eps` in L1: the values of AutoAttack's standard suite in L-inf and
//! L2. One detail follows the paper instead of AutoAttack's code: the first check compares the first step with the loss
//! at the start, where the code compares it with zero.
//!
//! # Source
//!
//! Croce and Hein, *Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks*, arXiv
//! 2003.01690, algorithm 1 and section 4; in L1: Croce and Hein, *Mind the Box*, arXiv 2103.01208, section 4.

use rand::Rng;

use crate::{
    Result,
    attacks::{
        Best, Case, LossName, Values,
        parameters::{Kind, Parameter},
        random::fork,
        registry::{Aim, Entry, Family, Search, any_values},
    },
    image::Image,
    normal::normal,
    oracle::{Gradients, Loss, Objective},
    threat::{Conditions, Norm, Region},
};

const STEPS: Parameter = Parameter {
    name: "steps",
    kind: Kind::POSITIVE,
    default: "100",
    meaning: "number of steps of a restart",
    origin: "AutoAttack's",
};
const RESTARTS: Parameter = Parameter {
    name: "restarts",
    kind: Kind::POSITIVE,
    default: "1",
    meaning: "number of restarts, including the first start",
    origin: "AutoAttack in L-inf and L2; it uses 5 in L1",
};
const RHO: Parameter = Parameter {
    name: "rho",
    kind: Kind::Number {
        least: 0.0,
        most: 1.0,
    },
    default: "0.75",
    meaning: "share of the steps that must raise the loss to keep the step size",
    origin: "the paper",
};
const LARGE_EPS: Parameter = Parameter {
    name: "large_eps",
    kind: Kind::Flag,
    default: "true",
    meaning: "whether L1 walks start in balls of three and two times the radius",
    origin: "AutoAttack's",
};
const TARGETS: Parameter = Parameter {
    name: "targets",
    kind: Kind::Count {
        least: 1,
        most: 1_000_000,
    },
    default: "9",
    meaning: "number of most likely wrong classes to target, if there are as many",
    origin: "AutoAttack in L-inf and L2; it uses 5 in L1",
};

pub(in crate::attacks) const CE: Entry = Entry {
    name: "apgd-ce",
    summary: "adaptive gradient steps on the cross-entropy (Croce and Hein 2020)",
    family: Family::Gradient,
    aim: Aim::Radius,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    targeted: true,
    begins_elsewhere: false,
    parameters: &[STEPS, RESTARTS, RHO, LARGE_EPS],
    cost: "per restart, steps gradients and 1 forward pass (3 in L1 with large_eps), plus 1 for each point that reaches the goal; fewer if \
           such a point ends it",
    source: include_str!("apgd.rs"),
    check: any_values,
    search: Search::Gradients(|model, case, p, best| {
        Box::pin(untargeted(LossName::Ce, model, case, p, best))
    }),
};

pub(in crate::attacks) const DLR: Entry = Entry {
    name: "apgd-dlr",
    summary: "adaptive gradient steps on the difference of logits ratio (Croce and Hein 2020)",
    check: |_, conditions| {
        let Conditions {
            targeted, classes, ..
        } = *conditions;
        LossName::Dlr.resolve(targeted, classes).map(drop)
    },
    search: Search::Gradients(|model, case, p, best| {
        Box::pin(untargeted(LossName::Dlr, model, case, p, best))
    }),
    ..CE
};

pub(in crate::attacks) const T: Entry = Entry {
    name: "apgd-t",
    summary: "adaptive gradient steps towards each of the most likely wrong classes (Croce and Hein 2020)",
    targeted: false,
    parameters: &[STEPS, RESTARTS, TARGETS, RHO, LARGE_EPS],
    cost: "1 forward pass, then per target and restart steps gradients and 1 forward pass (3 in L1 with large_eps); fewer if a point fools",
    check: |_, conditions| LossName::Dlr.resolve(true, conditions.classes).map(drop),
    search: Search::Gradients(|model, case, p, best| {
        Box::pin(towards_rivals(model, case, p, best))
    }),
    ..CE
};

async fn untargeted(
    loss: LossName,
    model: Gradients<'_>,
    case: &Case,
    p: &Values,
    best: &mut Best,
) -> Result<()> {
    let objective = case.objective(loss, model.classes())?;
    let apgd = Apgd::of(p)?;
    for restart in 0..p.count("restarts")? {
        let mut rng = fork(&case.rng, restart);
        if apgd.run(model, case, &objective, &mut rng, best).await? {
            break;
        }
    }
    Ok(())
}

async fn towards_rivals(
    model: Gradients<'_>,
    case: &Case,
    p: &Values,
    best: &mut Best,
) -> Result<()> {
    let apgd = Apgd::of(p)?;
    let restarts = p.count("restarts")?;
    let label = case.goal.label();
    let logits = model.logits(case.original()).await?;
    let mut rivals: Vec<usize> = (0..logits.len()).filter(|&class| class != label).collect();
    rivals.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let targets = rivals.into_iter().zip(0..p.count("targets")?);
    for (target, rank) in targets {
        let objective = Objective::Loss {
            loss: Loss::DlrTargeted,
            label,
            target: Some(target),
        };
        for restart in 0..restarts {
            let mut rng = fork(&case.rng, rank * restarts + restart);
            if apgd.run(model, case, &objective, &mut rng, best).await? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The settings of the walk.
struct Apgd {
    steps: u64,
    rho: f64,
    large_eps: bool,
}

/// The weight of the new step; the last move has the rest.
const MOMENTUM: f32 = 0.75;

impl Apgd {
    fn of(p: &Values) -> Result<Self> {
        Ok(Self {
            steps: p.count("steps")?,
            rho: p.number("rho")?,
            large_eps: p.flag("large_eps")?,
        })
    }

    /// Runs one restart. Returns whether it reached the goal.
    async fn run(
        &self,
        model: Gradients<'_>,
        case: &Case,
        objective: &Objective,
        rng: &mut impl Rng,
        best: &mut Best,
    ) -> Result<bool> {
        let region = &case.region;
        if region.norm != Norm::L1 || !self.large_eps {
            let start = start(region, rng);
            self.walk(model, region, objective, self.steps, start, true, best)
                .await?;
        } else {
            let part = self
                .steps
                .saturating_mul(3)
                .div_ceil(10)
                .min(self.steps / 3 + 1);
            let stages = [
                (3.0, part),
                (2.0, part),
                (1.0, self.steps.saturating_sub(2 * part).max(1)),
            ];
            let mut x = noisy(region, rng);
            for (times, steps) in stages {
                let stage = region.within(Some(times * case.eps()));
                stage.project(&mut x);
                // Points in the wider balls don't count as results.
                let counts = times == 1.0;
                x = self
                    .walk(model, &stage, objective, steps, Start::At(x), counts, best)
                    .await?;
            }
        }
        best.end_restart();
        Ok(best.is_reached())
    }

    /// Walks in one ball and returns the point with the largest loss. Points are offered as results only if `counts`.
    #[expect(clippy::too_many_arguments, reason = "the arguments are independent")]
    async fn walk(
        &self,
        model: Gradients<'_>,
        region: &Region,
        objective: &Objective,
        steps: u64,
        start: Start,
        counts: bool,
        best: &mut Best,
    ) -> Result<Image> {
        let mut pace = Pace::new(region, &start, steps, self.rho);
        let mut x = start.point();
        let mut before = x.clone();
        let mut largest = Largest::none(&x);
        for step in 0..=steps {
            // The last point needs no gradient.
            let (logits, loss, gradient) = if step < steps {
                let mut at = model.gradient(&x, objective).await?;
                best.look(at.gradient.pixels_mut());
                (at.logits, at.loss, Some(at.gradient))
            } else {
                let logits = model.logits(&x).await?;
                let loss = objective.value(&logits)?;
                (logits, loss, None)
            };
            if counts && best.offer(model.as_labels(), &x, loss, &logits).await? {
                return Ok(x);
            }
            let Some(mut gradient) = gradient else {
                largest.take(&x, loss, None);
                break;
            };
            largest.take(&x, loss, Some(&gradient));
            if pace.look(region, loss, &largest) {
                x.clone_from(&largest.point);
                gradient.clone_from(&largest.gradient);
            }
            let share = if step > 0 { MOMENTUM } else { 1.0 };
            let next = pace.step(region, &x, &before, &gradient, share);
            before = std::mem::replace(&mut x, next);
        }
        Ok(largest.point)
    }
}

/// The start of a walk.
enum Start {
    /// A random point.
    Random(Image),
    /// The best point of another walk.
    At(Image),
}

impl Start {
    fn point(&self) -> Image {
        match self {
            Self::Random(x) | Self::At(x) => x.clone(),
        }
    }
}

/// Returns a random point on the surface of the ball, clipped to the box.
fn start(region: &Region, rng: &mut impl Rng) -> Start {
    use rand::RngExt as _;
    let eps = region.radius.unwrap_or(0.0);
    let mut x = region.center.clone();
    let values = x.pixels().len();
    let direction: Vec<f64> = match region.norm {
        Norm::Linf => (0..values).map(|_| rng.random_range(-1.0..=1.0)).collect(),
        _ => (0..values).map(|_| normal(rng)).collect(),
    };
    let length = match region.norm {
        Norm::Linf => direction.iter().fold(0.0, |most: f64, d| most.max(d.abs())),
        // Projected as a whole.
        Norm::L1 => eps,
        _ => direction.iter().map(|d| d * d).sum::<f64>().sqrt(),
    };
    let scale = eps / length.max(f64::MIN_POSITIVE);
    for (x, d) in x.pixels_mut().iter_mut().zip(direction) {
        *x = (f64::from(*x) + d * scale) as f32;
    }
    region.project(&mut x);
    Start::Random(x)
}

/// Adds standard normal noise to the original.
fn noisy(region: &Region, rng: &mut impl Rng) -> Image {
    let mut x = region.center.clone();
    for x in x.pixels_mut() {
        *x += normal(rng) as f32;
    }
    x
}

/// The point with the largest loss so far, with its gradient.
struct Largest {
    point: Image,
    gradient: Image,
    loss: f32,
}

impl Largest {
    fn none(start: &Image) -> Self {
        Self {
            point: start.clone(),
            gradient: Image::zeros(start.shape()),
            loss: f32::NEG_INFINITY,
        }
    }

    fn take(&mut self, x: &Image, loss: f32, gradient: Option<&Image>) {
        if loss > self.loss {
            self.loss = loss;
            self.point.clone_from(x);
            if let Some(gradient) = gradient {
                self.gradient.clone_from(gradient);
            }
        }
    }
}

/// The step size and the schedule of its checks.
struct Pace {
    step: f64,
    eps: f64,
    rho: f64,
    /// Steps until the next check, how much this interval shrinks, and its minimum.
    interval: u64,
    shrink: u64,
    shortest: u64,
    /// Counters since the last check.
    taken: u64,
    raised: u64,
    last_loss: Option<f32>,
    best_at_last_look: f32,
    halved_at_last_look: bool,
    /// In L1: the share of values that move, and how many differed at the last check.
    share: f64,
    differing: f64,
}

impl Pace {
    fn new(region: &Region, start: &Start, steps: u64, rho: f64) -> Self {
        let eps = region.radius.unwrap_or(0.0);
        let part = |hundredths: u64| (steps.saturating_mul(hundredths) / 100).max(1);
        let values = region.center.pixels().len() as f64;
        let is_l1 = region.norm == Norm::L1;
        let (share, differing) = match start {
            Start::Random(_) => (0.2, values),
            Start::At(x) => {
                let differing = region.distances(x).l0;
                (differing / values / 1.5, differing)
            }
        };
        Self {
            step: if is_l1 { eps } else { 2.0 * eps },
            eps,
            rho,
            interval: if is_l1 { part(4) } else { part(22) },
            shrink: part(3),
            shortest: part(6),
            taken: 0,
            raised: 0,
            last_loss: None,
            best_at_last_look: f32::NEG_INFINITY,
            halved_at_last_look: true,
            share,
            differing,
        }
    }

    /// Records the loss at a new point. Returns whether the walk continues from the best point.
    fn look(&mut self, region: &Region, loss: f32, largest: &Largest) -> bool {
        let Some(last) = self.last_loss.replace(loss) else {
            self.best_at_last_look = loss;
            return false;
        };
        self.taken += 1;
        self.raised += u64::from(loss > last);
        if self.taken < self.interval {
            return false;
        }
        let goes_back = match region.norm {
            Norm::L1 => self.look_in_l1(region, largest),
            _ => {
                let seldom = self.raised as f64 <= self.rho * self.taken as f64;
                let stuck = !self.halved_at_last_look && self.best_at_last_look >= largest.loss;
                let halves = seldom || stuck;
                if halves {
                    self.step /= 2.0;
                }
                self.halved_at_last_look = halves;
                self.best_at_last_look = largest.loss;
                self.interval = self.interval.saturating_sub(self.shrink).max(self.shortest);
                halves
            }
        };
        (self.taken, self.raised) = (0, 0);
        goes_back
    }

    fn look_in_l1(&mut self, region: &Region, largest: &Largest) -> bool {
        let differing = region.distances(&largest.point).l0;
        let sparser = differing < 0.95 * self.differing;
        self.share = differing / region.center.pixels().len() as f64 / 1.5;
        self.step = match sparser {
            true => self.eps,
            false => (self.step / 1.5).max(self.eps / 10.0),
        };
        self.differing = differing;
        sparser
    }

    /// Returns the next point.
    fn step(
        &self,
        region: &Region,
        x: &Image,
        before: &Image,
        gradient: &Image,
        share: f32,
    ) -> Image {
        if region.norm == Norm::L1 {
            return self.step_in_l1(region, x, gradient);
        }
        let mut z = x.clone();
        let direction = (region.norm).steepest(gradient.pixels(), x.pixels(), &region.bounds);
        for (z, d) in z.pixels_mut().iter_mut().zip(direction) {
            *z += (self.step * f64::from(d)) as f32;
        }
        limit(region, &mut z);
        let moves = x.pixels().iter().zip(before.pixels());
        for (z, (x, before)) in z.pixels_mut().iter_mut().zip(moves) {
            *z = x + (*z - x) * share + (x - before) * (1.0 - share);
        }
        limit(region, &mut z);
        z
    }

    fn step_in_l1(&self, region: &Region, x: &Image, gradient: &Image) -> Image {
        let gradient = gradient.pixels();
        let values = gradient.len();
        let moved = ((self.share * values as f64) as usize).clamp(1, values);
        let mut order: Vec<usize> = (0..values).collect();
        let steeper = |&a: &usize, &b: &usize| {
            gradient[b]
                .abs()
                .total_cmp(&gradient[a].abs())
                .then(a.cmp(&b))
        };
        order.select_nth_unstable_by(moved - 1, steeper);
        let moved: Vec<usize> = order[..moved]
            .iter()
            .copied()
            .filter(|&at| gradient[at] != 0.0)
            .collect();
        let size = (self.step / moved.len().max(1) as f64) as f32;
        let mut next = x.clone();
        let pixels = next.pixels_mut();
        for at in moved {
            pixels[at] += size.copysign(gradient[at]);
        }
        region.project(&mut next);
        next
    }
}

/// Projects onto ball and box as the attack is published: in L2 the perturbation is scaled, then clipped.
fn limit(region: &Region, x: &mut Image) {
    if region.norm != Norm::L2 {
        return region.project(x);
    }
    let eps = region.radius.unwrap_or(0.0);
    let length = region.distance(x);
    let scale = if length > eps { eps / length } else { 1.0 };
    for (x, &center) in x.pixels_mut().iter_mut().zip(region.center.pixels()) {
        let center = f64::from(center);
        *x = (center + (f64::from(*x) - center) * scale) as f32;
    }
    region.bounds.clamp(x.pixels_mut());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::{
            Attack,
            toys::{Setup, Toy, jobs, run},
        },
        oracle::Spent,
    };

    /// 22, then 19, 16, 13, 10, 7, 6 and 6 steps: the published checkpoints of 100 steps (arXiv 2003.01690, section 3).
    #[test]
    fn the_step_is_looked_at_where_the_paper_says() {
        let region = Region::new(Image::zeros([1, 2, 2]), Norm::Linf, Some(0.1));
        let start = Start::Random(Image::zeros([1, 2, 2]));
        let mut pace = Pace::new(&region, &start, 100, 0.75);
        let mut largest = Largest::none(&region.center);
        largest.loss = 1.0;
        let mut looked = Vec::new();
        pace.look(&region, 0.0, &largest);
        for step in 1..=100 {
            // A loss that falls halves the step size at every check.
            if pace.look(&region, -(step as f32), &largest) {
                looked.push(step);
            }
        }
        assert_eq!(looked, [22, 41, 57, 70, 80, 87, 93, 99]);
        assert!((pace.step - 0.2 / 256.0).abs() < 1e-12, "{}", pace.step);
    }

    /// If the loss grows at every step, nothing is halved.
    #[test]
    fn a_step_that_serves_stays_as_it_is() {
        let region = Region::new(Image::zeros([1, 2, 2]), Norm::L2, Some(0.1));
        let start = Start::Random(Image::zeros([1, 2, 2]));
        let mut pace = Pace::new(&region, &start, 100, 0.75);
        let mut largest = Largest::none(&region.center);
        for step in 0..=100 {
            largest.loss = step as f32;
            assert!(!pace.look(&region, largest.loss, &largest));
        }
        assert_eq!(pace.step, 0.2);
    }

    #[test]
    fn it_costs_what_it_says() {
        let toy = Toy::tanh();
        let jobs = jobs(toy, false, 6);
        for (recipe, stages) in [
            ("apgd-ce(steps=10, restarts=2)", 2),
            ("apgd-dlr(steps=10)", 1),
            ("apgd-t(steps=10, targets=3)", 3),
        ] {
            let attack = Attack::parse(recipe).unwrap();
            let setup = Setup::within(Norm::L2, 0.01);
            for (candidate, spent) in run(toy, &attack, &jobs, &setup) {
                assert!(!candidate.reached, "{recipe}");
                let looks = u64::from(recipe.starts_with("apgd-t"));
                let expected = Spent {
                    gradients: 10 * stages,
                    queries: stages + looks,
                };
                assert_eq!(spent, expected, "{recipe}");
            }
        }
    }

    /// It fools wherever plain descent does, in every norm.
    #[test]
    fn it_is_no_weaker_than_plain_descent() {
        let toy = Toy::tanh();
        let jobs = jobs(toy, false, 30);
        for (norm, eps) in [(Norm::Linf, 0.03), (Norm::L2, 0.16), (Norm::L1, 0.7)] {
            let setup = Setup::within(norm, eps);
            let fooled = |recipe: &str| {
                let attack = Attack::parse(recipe).unwrap();
                let found = run(toy, &attack, &jobs, &setup);
                found.iter().filter(|(one, _)| one.reached).count()
            };
            let [pgd, ce, rivals] = ["pgd(steps=100)", "apgd-ce", "apgd-t"].map(fooled);
            assert!(
                ce + 1 >= pgd && rivals >= pgd,
                "{norm}: {pgd} {ce} {rivals}"
            );
            assert!(pgd > 3 && pgd < 30, "{norm}: {pgd}");
        }
    }
}
