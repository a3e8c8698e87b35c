use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::ThreadId,
    time::Duration,
};

use super::*;
use crate::oracle::{
    Access, Budget, Counted, Gradients, Labels, Loss, Oracle, Question, Scores, Spent,
};

/// Logits `[x, -x]`; records the number of images of each execution and the threads that answered.
#[derive(Default)]
struct Line {
    batches: Mutex<Vec<usize>>,
    threads: Mutex<std::collections::HashSet<ThreadId>>,
    nap: Duration,
    appetite: Option<Appetite>,
}

struct LineWorker<'a>(&'a Line);

impl Line {
    fn remember(&self, count: usize) {
        self.batches.lock().unwrap().push(count);
        self.threads.lock().unwrap().insert(thread::current().id());
        thread::sleep(self.nap);
    }
}

impl Model for Line {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(LineWorker(self)))
    }

    fn classes(&self) -> usize {
        2
    }
}

impl Worker for LineWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        self.0.remember(images.len());
        Ok(images
            .iter()
            .map(|x| vec![x.pixels()[0], -x.pixels()[0]])
            .collect())
    }

    fn differentials(
        &mut self,
        images: &[&Image],
        objectives: &[&Objective],
    ) -> Result<Vec<Differential>> {
        assert_eq!(images.len(), objectives.len());
        let logits = self.logits(images)?;
        let found = logits.into_iter().map(|logits| Differential {
            loss: logits[0],
            gradient: pixel(1.0),
            logits,
        });
        Ok(found.collect())
    }

    fn appetite(&mut self, _: bool) -> Result<Appetite> {
        Ok(self.0.appetite.unwrap_or(Appetite { least: 1, most: 8 }))
    }
}

fn pixel(value: f32) -> Image {
    Image::new([1, 1, 1], vec![value]).unwrap()
}

fn away() -> Objective {
    Objective::Loss {
        loss: Loss::CrossEntropy,
        label: 0,
        target: None,
    }
}

const ALONE: Parallelism = Parallelism {
    threads: 1,
    batch: 1,
};

static NEVER: Halt = Halt::new();

#[test]
fn every_job_is_answered_with_its_own_numbers() {
    for (threads, batch) in [(1, 1), (1, 8), (3, 4)] {
        let mut sums = Vec::new();
        drive(
            &[&Line::default()],
            Parallelism { threads, batch },
            0..50_u16,
            &NEVER,
            |job, handle| {
                Box::pin(async move {
                    let mut sum = 0.0;
                    // Job k asks k times, so that images come and go at different moments.
                    for _ in 0..job {
                        sum += Scores::of(&handle).logits(&pixel(f32::from(job))).await?[0];
                    }
                    Ok((job, sum))
                })
            },
            |result| {
                sums.push(result);
                Ok(())
            },
        )
        .unwrap();
        sums.sort_by_key(|&(job, _)| job);
        let expected: Vec<(u16, f32)> = (0..50).map(|k| (k, f32::from(k) * f32::from(k))).collect();
        assert_eq!(sums, expected);
    }
}

#[test]
fn free_slots_are_refilled_before_the_next_execution() {
    let line = Line::default();
    drive(
        &[&line],
        Parallelism {
            threads: 1,
            batch: 4,
        },
        [1, 5, 5, 5, 4].into_iter(),
        &NEVER,
        |questions, handle| {
            Box::pin(async move {
                for _ in 0..questions {
                    Labels::of(&handle).label(&pixel(0.0)).await?;
                }
                Ok(())
            })
        },
        |()| Ok(()),
    )
    .unwrap();
    assert_eq!(*line.batches.lock().unwrap(), [4, 4, 4, 4, 4]);
}

/// One job asks a hundred questions at once. Every worker answers some, none is answered twice, and the answers come in
/// the order of the questions.
#[test]
fn the_questions_of_one_job_are_shared() {
    let line = Line {
        nap: Duration::from_millis(2),
        ..Line::default()
    };
    drive(
        &[&line],
        Parallelism {
            threads: 3,
            batch: 8,
        },
        std::iter::once(()),
        &NEVER,
        |(), handle| {
            Box::pin(async move {
                let images: Vec<Image> = (0..100_u8).map(|k| pixel(f32::from(k))).collect();
                let answers = Scores::of(&handle).logits_of(&images).await?;
                for (image, answer) in images.iter().zip(answers) {
                    assert_eq!(answer[0], image.pixels()[0]);
                }
                Ok(())
            })
        },
        |()| Ok(()),
    )
    .unwrap();
    assert_eq!(line.batches.lock().unwrap().iter().sum::<usize>(), 100);
    assert!(line.threads.lock().unwrap().len() > 1);
}

/// One attack has two questions in flight.
#[test]
fn two_asks_at_once_are_both_answered() {
    for threads in [1, 2] {
        let mut sums = Vec::new();
        drive(
            &[&Line::default()],
            Parallelism { threads, batch: 2 },
            0..20_u8,
            &NEVER,
            |job, handle| {
                Box::pin(async move {
                    let images = [pixel(f32::from(job)), pixel(100.0)];
                    let model = Gradients::of(&handle);
                    let objective = away();
                    let first = async { model.gradient(&images[0], &objective).await };
                    let second = async { model.logits(&images[1]).await };
                    let (first, second) = join(first, second).await;
                    Ok(first?.logits[0] + second?[0])
                })
            },
            |sum| {
                sums.push(sum);
                Ok(())
            },
        )
        .unwrap();
        sums.sort_by(f32::total_cmp);
        let expected: Vec<f32> = (0..20_u8).map(|job| f32::from(job) + 100.0).collect();
        assert_eq!(sums, expected);
    }
}

/// Returns the results of both futures.
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(move |context| {
        if of_a.is_none()
            && let Poll::Ready(found) = a.as_mut().poll(context)
        {
            of_a = Some(found);
        }
        if of_b.is_none()
            && let Poll::Ready(found) = b.as_mut().poll(context)
        {
            of_b = Some(found);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (of_a, of_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn no_question_is_left_alone_where_one_costs_as_much_as_two() {
    let line = Line {
        appetite: Some(Appetite { least: 2, most: 4 }),
        nap: Duration::from_millis(1),
        ..Line::default()
    };
    drive(
        &[&line],
        Parallelism {
            threads: 2,
            batch: 8,
        },
        std::iter::once(()),
        &NEVER,
        |(), handle| {
            Box::pin(async move {
                for count in [3, 5, 7, 9] {
                    Labels::of(&handle).labels(&vec![pixel(0.0); count]).await?;
                }
                Ok(())
            })
        },
        |()| Ok(()),
    )
    .unwrap();
    let batches = line.batches.lock().unwrap();
    assert_eq!(batches.iter().sum::<usize>(), 24);
    let lone = batches.iter().filter(|&&count| count == 1).count();
    // Five and nine are one more than full executions.
    assert!(lone <= 2, "{batches:?}");
}

#[test]
fn several_models_are_asked_through_one_handle() {
    let (first, second) = (Line::default(), Line::default());
    drive(
        &[&first, &second],
        ALONE,
        0..3,
        &NEVER,
        |_, handle| {
            Box::pin(async move {
                let other = handle.of(1);
                Labels::of(&handle).label(&pixel(1.0)).await?;
                Labels::of(&other).label(&pixel(1.0)).await?;
                Labels::of(&other).label(&pixel(1.0)).await
            })
        },
        |_| Ok(()),
    )
    .unwrap();
    assert_eq!(first.batches.lock().unwrap().len(), 3);
    assert_eq!(second.batches.lock().unwrap().len(), 6);
}

#[test]
fn a_crew_beyond_reason_is_cut_down() {
    const HUGE: Parallelism = Parallelism {
        threads: usize::MAX,
        batch: usize::MAX,
    };
    assert_eq!(HUGE.within(3).batch, 3);
    let least = Parallelism {
        threads: 0,
        batch: 0,
    };
    assert_eq!(least.within(0), ALONE);
    assert_eq!(least.within(9), ALONE);
    let most = HUGE.within(usize::MAX);
    assert!(most.threads < 10_000 && most.batch < 1_000, "{most:?}");
    let mut done = 0;
    drive(
        &[&Line::default()],
        HUGE,
        0..20,
        &NEVER,
        |_, handle| Box::pin(async move { Labels::of(&handle).label(&pixel(0.0)).await }),
        |_| {
            done += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(done, 20);
}

#[test]
fn access_and_budget_are_enforced_and_counted() {
    drive(
        &[&Line::default()],
        ALONE,
        std::iter::once(()),
        &NEVER,
        |(), handle| {
            Box::pin(async move {
                let budget = Budget {
                    queries: 3,
                    gradients: 1,
                };
                let counted = Counted::new(&handle, Access::Scores, budget);
                let refused = Gradients::of(&counted).gradient(&pixel(1.0), &away()).await;
                assert!(matches!(refused, Err(Error::Invalid(_))));
                Scores::of(&counted).logits(&pixel(1.0)).await?;
                // All or none: two more queries fit, three do not.
                let three = Labels::of(&counted).labels(&vec![pixel(1.0); 3]).await;
                assert!(matches!(three, Err(Error::Budget("queries"))));
                assert_eq!(counted.left().queries, 2);
                Labels::of(&counted).labels(&vec![pixel(1.0); 2]).await?;
                let spent = Spent {
                    queries: 3,
                    gradients: 0,
                };
                assert_eq!(counted.spent(), spent);

                let counted = Counted::new(&handle, Access::Gradients, budget);
                let found = Gradients::of(&counted)
                    .gradient(&pixel(3.0), &away())
                    .await?;
                assert_eq!((found.loss, found.logits), (3.0, vec![3.0, -3.0]));
                assert_eq!(counted.spent().gradients, 1);
                let second = Gradients::of(&counted).gradient(&pixel(3.0), &away()).await;
                assert!(matches!(second, Err(Error::Budget("gradients"))));
                assert_eq!(handle.left(), Budget::default());
                assert!(handle.ask(Vec::new()).await?.is_empty());
                Ok(())
            })
        },
        |()| Ok(()),
    )
    .unwrap();
}

#[test]
fn an_error_ends_the_run_and_a_stop_finishes_what_is_in_hand() {
    let begun = AtomicUsize::new(0);
    let halt = Halt::new();
    let run = |fail: bool, threads: usize| {
        drive(
            &[&Line::default()],
            Parallelism { threads, batch: 2 },
            0..1000,
            &halt,
            |job, handle| {
                begun.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    Labels::of(&handle).label(&pixel(0.0)).await?;
                    if job == 3 && fail {
                        return Err(Error::invalid("job 3"));
                    }
                    // A worker that is descheduled with job 3 must still fail before the others have done everything.
                    if fail {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Ok(job)
                })
            },
            |job| {
                if !fail && job == 3 {
                    halt.finish();
                }
                Ok(())
            },
        )
    };
    for threads in [1, 3] {
        assert!(matches!(run(true, threads), Err(Error::Invalid(message)) if message == "job 3"));
        assert!(begun.swap(0, Ordering::Relaxed) < 1000);
    }
    assert!(run(false, 1).is_ok());
    assert!(begun.load(Ordering::Relaxed) >= 4);
}

/// Fails or panics at the question with this pixel.
struct Fragile {
    panics: bool,
}

impl Model for Fragile {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(FragileWorker(self.panics)))
    }

    fn classes(&self) -> usize {
        2
    }
}

struct FragileWorker(bool);

impl Worker for FragileWorker {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        thread::sleep(Duration::from_millis(1));
        if images.iter().any(|image| image.pixels()[0] == 7.0) {
            assert!(!self.0, "question 7");
            return Err(Error::invalid("question 7"));
        }
        Ok(vec![vec![0.0; 2]; images.len()])
    }

    fn differentials(&mut self, _: &[&Image], _: &[&Objective]) -> Result<Vec<Differential>> {
        Err(Error::invalid("no gradients"))
    }
}

#[test]
fn what_is_lost_with_a_worker_keeps_nobody_waiting() {
    for threads in [1, 2, 4] {
        let run = |panics| {
            drive(
                &[&Fragile { panics }],
                Parallelism { threads, batch: 3 },
                0..40_u8,
                &NEVER,
                |job, handle| {
                    Box::pin(async move {
                        let images = vec![pixel(f32::from(job)); 5];
                        Labels::of(&handle).labels(&images).await?;
                        Scores::of(&handle).logits(&images[0]).await
                    })
                },
                |_| Ok(()),
            )
        };
        let error = run(false).unwrap_err();
        assert_eq!(error.to_string(), "question 7", "{threads}");
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(true)));
        assert!(unwound.is_err(), "{threads}");
    }
}

#[test]
fn waiting_for_something_else_is_an_error() {
    let stuck = drive(
        &[&Line::default()],
        Parallelism {
            threads: 2,
            batch: 2,
        },
        0..3,
        &NEVER,
        |_, handle| {
            Box::pin(async move {
                Labels::of(&handle).labels(&[]).await?;
                std::future::pending::<Result<()>>().await
            })
        },
        |()| Ok(()),
    );
    assert!(matches!(stuck, Err(Error::Invalid(_))));
    let asked = Question::logits(&pixel(0.0));
    assert!(!asked.is_for_gradient());
}

#[test]
fn a_job_is_not_charged_for_waiting() {
    let nap = Duration::from_millis(20);
    let slow = Line {
        nap,
        appetite: Some(Appetite { least: 1, most: 2 }),
        ..Line::default()
    };
    let crew = Parallelism {
        threads: 1,
        batch: 8,
    };
    let mut worked = Vec::new();
    let begun = Instant::now();
    drive(
        &[&slow],
        crew,
        0..8_u16,
        &NEVER,
        |job, handle| {
            Box::pin(async move {
                Scores::of(&handle).logits(&pixel(f32::from(job))).await?;
                let asked = handle.worked();
                // Its own steps count while it takes them.
                thread::sleep(nap / 4);
                Ok((asked, handle.worked() - asked))
            })
        },
        |each| {
            worked.push(each);
            Ok(())
        },
    )
    .unwrap();
    let wall = begun.elapsed();
    let all: Duration = worked.iter().map(|(asked, own)| *asked + *own).sum();
    assert_eq!(worked.len(), 8);
    assert!(all <= wall, "{all:?} of {wall:?}");
    // Four executions of two questions each, shared by the eight.
    assert!(all >= 4 * nap + 8 * nap / 4, "{all:?}");
    assert!(worked.iter().all(|(_, own)| *own >= nap / 4), "{worked:?}");
}
