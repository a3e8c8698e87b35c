//! A universal perturbation: one that fools the model on most pictures that it is added to.
//!
//! # Formula
//!
//! Start with `v = 0`. For each mini-batch B of the pictures, in a new order in each epoch: `v <- project(v + step *
//! steepest(sum over B of the gradient of min(loss, beta) at clip(x + v)))`. The loss is the cross-entropy or, with a
//! target, `ln p_t`. A picture whose loss exceeds beta contributes nothing more. The steepest direction is that of the
//! norm: in L-inf the sign. The projection is onto the ball around 0. All gradients of a mini-batch are asked for at
//! once.
//!
//! Every picture is judged with a perturbation that was fitted to other pictures: each half of the pictures uses the
//! perturbation fitted to the other half.
//!
//! # Defaults
//!
//! 10 epochs over up to 1,000 pictures in mini-batches of 32, step size `0.1 * eps`, beta 9 (the paper's value for
//! ImageNet). The paper uses mini-batches of 128 from tens of thousands of pictures. The step size is this project's
//! choice.
//!
//! # Source
//!
//! Shafahi, Najibi, Xu, Dickerson, Davis and Goldstein, *Universal Adversarial Training*, arXiv 1811.11304, section 3
//! and algorithm 2. Original idea: Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, *Universal Adversarial Perturbations*,
//! arXiv 1610.08401.

use rand::seq::SliceRandom as _;

use crate::{
    Result,
    attacks::{
        Edit, Fitting, Values,
        parameters::{Kind, Parameter},
        registry::{Aim, Entry, Family, Search, any_values},
    },
    image::Image,
    oracle::{Gradients, Loss, Objective},
    threat::{Bounds, Norm, distances},
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "universal",
    summary: "one perturbation that fools the model on most pictures (Shafahi et al. 2018)",
    family: Family::Shared,
    aim: Aim::Many,
    norms: &[Norm::Linf, Norm::L2],
    targeted: true,
    begins_elsewhere: false,
    parameters: &[
        Parameter {
            name: "epochs",
            kind: Kind::POSITIVE,
            default: "10",
            meaning: "number of passes over the pictures",
            origin: "this project's choice",
        },
        Parameter {
            name: "pictures",
            kind: Kind::POSITIVE,
            default: "1000",
            meaning: "maximum number of pictures to fit",
            origin: "this project's choice",
        },
        Parameter {
            name: "batch",
            kind: Kind::POSITIVE,
            default: "32",
            meaning: "number of pictures per step",
            origin: "this project's choice; the paper uses 128",
        },
        Parameter {
            name: "step_size",
            kind: Kind::Length,
            default: "0.1*eps",
            meaning: "step size",
            origin: "this project's choice",
        },
        Parameter {
            name: "beta",
            kind: Kind::Number {
                least: 0.0,
                most: 1e9,
            },
            default: "9",
            meaning: "the loss above which a picture contributes nothing more",
            origin: "the paper",
        },
    ],
    cost: "epochs * pictures gradients for each radius and each half of the pictures; no further gradients per picture",
    source: include_str!("universal.rs"),
    check: any_values,
    search: Search::Many(|model, fitting, p| Box::pin(universal(model, fitting, p))),
};

async fn universal(model: Gradients<'_>, fitting: &Fitting, p: &Values) -> Result<Edit> {
    let Fitting {
        pictures,
        norm,
        eps,
        ..
    } = fitting;
    let step = p.length("step_size", *eps, 1)?;
    let beta = p.number("beta")? as f32;
    let batch = usize::try_from(p.count("batch")?).unwrap_or(usize::MAX);
    let mut rng = fitting.rng.clone();
    let shape = pictures
        .first()
        .map_or([1, 1, 1], |(image, _)| image.shape());
    let mut v = Image::zeros(shape);
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    for _ in 0..p.count("epochs")? {
        order.shuffle(&mut rng);
        for batch in order.chunks(batch) {
            let edit = Edit::Add(v.clone());
            let asked = batch.iter().map(|&at| {
                let (image, goal) = &pictures[at];
                let objective = Objective::Loss {
                    loss: match goal.target() {
                        None => Loss::CrossEntropy,
                        Some(_) => Loss::CrossEntropyTargeted,
                    },
                    label: goal.label(),
                    target: goal.target(),
                };
                (edit.apply(image), objective)
            });
            let found = model.gradients(asked.collect()).await?;
            let mut sum = vec![0.0_f32; v.pixels().len()];
            for at in found.iter().filter(|at| at.loss < beta) {
                for (sum, g) in sum.iter_mut().zip(at.gradient.pixels()) {
                    *sum += if g.is_finite() { *g } else { 0.0 };
                }
            }
            // In the middle of the box every direction is free.
            let middle = vec![0.5; sum.len()];
            let direction = norm.steepest(&sum, &middle, &Bounds::PIXELS);
            for (v, d) in v.pixels_mut().iter_mut().zip(direction) {
                *v = (f64::from(*v) + step * f64::from(d)) as f32;
            }
            limit(*norm, *eps, &mut v);
        }
    }
    Ok(Edit::Add(v))
}

/// Projects onto the ball around 0.
fn limit(norm: Norm, eps: f64, v: &mut Image) {
    let size = norm.of(&distances(&Image::zeros(v.shape()), v));
    for v in v.pixels_mut() {
        *v = match norm {
            Norm::Linf => f64::from(*v).clamp(-eps, eps),
            _ if size > eps => f64::from(*v) * eps / size,
            _ => f64::from(*v),
        } as f32;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::{
        attacks::{
            Attack,
            toys::{Toy, jobs},
        },
        oracle::{
            Halt,
            pool::{Parallelism, drive},
        },
        threat::Goal,
    };

    /// Fitted to forty pictures of one class and judged on forty others.
    #[test]
    fn it_fools_on_pictures_it_has_not_seen() {
        let toy = Toy::tanh();
        let all = jobs(toy, false, 400);
        let of_class = |class| {
            let jobs = all.iter().filter(move |job| job.goal.label() == class);
            jobs.map(|job| (job.original.clone(), job.goal))
                .collect::<Vec<_>>()
        };
        let pictures = (0..5).map(of_class).max_by_key(Vec::len).unwrap();
        let (seen, unseen) = pictures.split_at(pictures.len() / 2);
        for (norm, eps) in [(Norm::Linf, 0.12), (Norm::L2, 0.6)] {
            let mut edits = Vec::new();
            for recipe in [
                "universal(epochs=5, batch=8)",
                "universal(epochs=1, batch=100000, step_size=1e-9)",
            ] {
                let attack = Attack::parse(recipe).unwrap();
                let fitting = Fitting {
                    pictures: seen.to_vec(),
                    norm,
                    eps,
                    rng: rand_chacha::ChaCha8Rng::seed_from_u64(1),
                };
                let crew = Parallelism {
                    threads: 2,
                    batch: 1,
                };
                drive(
                    &[toy],
                    crew,
                    std::iter::once((attack, fitting)),
                    &Halt::new(),
                    |(attack, fitting), handle| {
                        Box::pin(async move { attack.fit(&handle, &fitting).await })
                    },
                    |edit| {
                        edits.push(edit);
                        Ok(())
                    },
                )
                .unwrap();
            }
            let rate = |edit: &Edit| {
                let fooled = |(image, goal): &&(Image, Goal)| {
                    goal.reached(&toy.classify(&edit.apply(image)))
                };
                unseen.iter().filter(fooled).count() as f64 / unseen.len() as f64
            };
            let Edit::Add(v) = &edits[0];
            let size = norm.of(&distances(&Image::zeros(v.shape()), v));
            assert!(size <= eps * 1.00001, "{norm}: {size}");
            let (fitted, unfitted) = (rate(&edits[0]), rate(&edits[1]));
            assert!(
                fitted > 0.5 && fitted > unfitted + 0.3,
                "{norm}: {fitted} {unfitted}"
            );
        }
    }
}
