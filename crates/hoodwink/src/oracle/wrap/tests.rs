//! Wrappers around small models, and what they cost.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    Result,
    attacks::toys::{Rows, Toy, linear_weights},
    image::Image,
    oracle::{
        Access, Budget, Counted, Gradients, Halt, Local, Loss, Objective, Oracle, Scores, Spent,
        pool::{Handle, Model, Parallelism, drive},
    },
};

/// Returns the result of a task that uses handles to these models.
fn with<T: Send>(
    models: &[&dyn Model],
    task: impl Fn(Handle) -> Local<'static, Result<T>> + Sync,
) -> T {
    let mut found = Vec::new();
    let crew = Parallelism {
        threads: 2,
        batch: 1,
    };
    drive(
        models,
        crew,
        std::iter::once(()),
        &Halt::new(),
        |(), handle| task(handle),
        |one| {
            found.push(one);
            Ok(())
        },
    )
    .unwrap();
    found.remove(0)
}

fn margin() -> Objective {
    Objective::Loss {
        loss: Loss::CrossEntropy,
        label: 0,
        target: None,
    }
}

fn point() -> Image {
    Toy::tanh().samples(1).remove(0).0
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
    }
}

/// The mean of the logits equals that of a linear model with the mean weights, and so do the gradients.
#[test]
fn an_ensemble_of_linear_models_is_the_linear_model_of_their_mean() {
    let a = linear_weights();
    let b: Rows = a.iter().rev().cloned().collect();
    let first = Toy::linear();
    let other = Toy::of_weights(&b);
    let mean: Rows = a
        .iter()
        .zip(&b)
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect())
        .collect();
    let mean = Toy::of_weights(&mean);
    let ask = |handle: Handle, count: usize, average: Average| -> Local<'static, Result<_>> {
        Box::pin(async move {
            let handles: Vec<Handle> = (0..count).map(|at| handle.of(at)).collect();
            let counted: Vec<Counted<'_>> = handles
                .iter()
                .map(|handle| Counted::new(handle, Access::Gradients, Budget::default()))
                .collect();
            let members = counted
                .iter()
                .map(|one| Box::new(Shared(one)) as Box<dyn Oracle>);
            let ensemble = Ensemble::new(members.collect(), average)?;
            let found = Gradients::of(&ensemble)
                .gradient(&point(), &margin())
                .await?;
            let logits = Scores::of(&ensemble).logits(&point()).await?;
            assert_eq!(logits, found.logits);
            let spent: Vec<Spent> = counted.iter().map(Counted::spent).collect();
            Ok((found, spent))
        })
    };
    let (of_mean, _) = with(&[&mean], |handle| ask(handle, 1, Average::Losses));
    let (found, spent) = with(&[first, &other], |handle| ask(handle, 2, Average::Logits));
    close(&found.logits, &of_mean.logits);
    close(found.gradient.pixels(), of_mean.gradient.pixels());
    assert!((found.loss - of_mean.loss).abs() < 1e-5);
    // A forward pass for the mean, one for the logits alone, and one gradient.
    let expected = Spent {
        queries: 2,
        gradients: 1,
    };
    assert_eq!(spent, [expected; 2]);

    let (found, spent) = with(&[first, &other], |handle| ask(handle, 2, Average::Losses));
    let each = [first, &other].map(|toy| with(&[toy], |handle| ask(handle, 1, Average::Losses)).0);
    assert!((found.loss - (each[0].loss + each[1].loss) / 2.0).abs() < 1e-5);
    let gradients = each[0]
        .gradient
        .pixels()
        .iter()
        .zip(each[1].gradient.pixels());
    let mean: Vec<f32> = gradients.map(|(a, b)| (a + b) / 2.0).collect();
    close(found.gradient.pixels(), &mean);
    assert_eq!((spent[0].queries, spent[0].gradients), (1, 1));
}

/// A wrapper may own or borrow what it wraps.
struct Shared<'a>(&'a Counted<'a>);

impl Oracle for Shared<'_> {
    fn ask(
        &self,
        questions: Vec<crate::oracle::Question>,
    ) -> Local<'_, Result<Vec<crate::oracle::Answer>>> {
        self.0.ask(questions)
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn left(&self) -> Budget {
        self.0.left()
    }
}

#[test]
fn members_that_do_not_fit_are_refused() {
    assert!(Ensemble::new(Vec::new(), Average::Logits).is_err());
    let (two, five) = (Toy::ramp(), Toy::linear());
    with(&[two, five], |handle| {
        Box::pin(async move {
            let members = [handle.of(0), handle.of(1)].map(|one| Box::new(one) as Box<dyn Oracle>);
            assert!(Ensemble::new(members.into(), Average::Losses).is_err());
            Ok(())
        })
    });
}

#[test]
fn an_expectation_is_the_mean_over_versions_and_pays_for_each() {
    let toy = Toy::linear();
    let ask = |text: &'static str, versions: u64| {
        with(&[toy], move |handle| {
            Box::pin(async move {
                let budget = Budget {
                    queries: 100,
                    gradients: 100,
                };
                let counted = Counted::new(&handle, Access::Gradients, budget);
                let transformations = match text {
                    "" => Vec::new(),
                    text => vec![text.parse()?],
                };
                let rng = ChaCha8Rng::seed_from_u64(3);
                let eot = Eot::new(&counted, transformations, versions, rng)?;
                let linear = Objective::Linear([1.0, 0.0, 0.0, 0.0, -1.0].into());
                let found = Gradients::of(&eot).gradient(&point(), &linear).await?;
                let logits = Scores::of(&eot).logits(&point()).await?;
                assert_eq!(counted.spent().gradients, versions);
                assert_eq!(counted.spent().queries, versions);
                assert_eq!(eot.left().queries, (100 - versions) / versions);
                Ok((found, logits))
            })
        })
    };
    let (plain, logits) = ask("", 1);
    let (same, _) = ask("", 3);
    close(same.gradient.pixels(), plain.gradient.pixels());
    close(&same.logits, &logits);
    // Noise has mean 0 and does not change the gradient of a linear model.
    let (noisy, _) = ask("noise(std=0.05)", 50);
    close(noisy.gradient.pixels(), plain.gradient.pixels());
    assert_ne!(noisy.logits, plain.logits);
    for (a, b) in noisy.logits.iter().zip(&plain.logits) {
        assert!((a - b).abs() < 0.2, "{a} {b}");
    }
    // A picture that is always flipped gets a gradient that is flipped back.
    let (flipped, _) = ask("flip(probability=1)", 1);
    let [channels, height, width] = point().shape();
    for row in 0..channels * height {
        for column in 0..width {
            let at = |image: &Image, column: usize| image.pixels()[row * width + column];
            // The gradient of a linear model does not depend on the point.
            let expected = at(&plain.gradient, width - 1 - column);
            assert!((at(&flipped.gradient, column) - expected).abs() < 1e-6);
        }
    }
    assert!(Eot::new(&NoModel, Vec::new(), 0, ChaCha8Rng::seed_from_u64(0)).is_err());
}

struct NoModel;

impl Oracle for NoModel {
    fn ask(
        &self,
        _: Vec<crate::oracle::Question>,
    ) -> Local<'_, Result<Vec<crate::oracle::Answer>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn classes(&self) -> usize {
        0
    }

    fn left(&self) -> Budget {
        Budget::default()
    }
}

/// A rounding defence has a zero gradient nearly everywhere; treated as the identity, it passes the model's gradient
/// on.
#[test]
fn a_defence_is_taken_for_the_identity_on_the_way_back() {
    let toy = Toy::tanh();
    let rounded = |x: &Image| {
        let mut x = x.clone();
        for x in x.pixels_mut() {
            *x = (*x * 4.0).round() / 4.0;
        }
        x
    };
    let (behind, of_rounded) = with(&[toy], move |handle| {
        Box::pin(async move {
            let defended = Bpda::new(&handle, rounded);
            let behind = Gradients::of(&defended)
                .gradient(&point(), &margin())
                .await?;
            let plain = Gradients::of(&handle);
            let of_rounded = plain.gradient(&rounded(&point()), &margin()).await?;
            assert_eq!(defended.classes(), 5);
            Ok((behind, of_rounded))
        })
    });
    assert_eq!(behind, of_rounded);
    assert!(behind.gradient.pixels().iter().any(|&g| g != 0.0));
}

/// The same question twice in a row is paid for once. Gradients and lists of questions are always asked.
#[test]
fn what_was_just_answered_is_not_asked_again() {
    let toy = Toy::tanh();
    with(&[toy], |handle| {
        Box::pin(async move {
            let counted = Counted::new(&handle, Access::Gradients, Budget::default());
            let memo = Memo::new(&counted);
            let model = Gradients::of(&memo);
            let first = model.logits(&point()).await?;
            assert_eq!(model.logits(&point()).await?, first);
            assert_eq!(counted.spent().queries, 1);
            for _ in 0..2 {
                model.gradient(&point(), &margin()).await?;
                model.as_scores().logits_of(&[point(), point()]).await?;
            }
            let spent = Spent {
                queries: 5,
                gradients: 2,
            };
            assert_eq!(counted.spent(), spent);
            // Other images take its place.
            for shade in 0..5_u8 {
                let image = Image::new([3, 4, 4], vec![f32::from(shade) / 9.0; 48])?;
                model.logits(&image).await?;
            }
            model.logits(&point()).await?;
            assert_eq!(counted.spent().queries, 11);
            Ok(())
        })
    });
}
