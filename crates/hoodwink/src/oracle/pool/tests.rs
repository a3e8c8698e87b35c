use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::oracle::{Access, Gradients as _, Labels as _, Scores as _, Spent};

/// Logits `[x, -x]`; remembers how many images each execution had.
#[derive(Default)]
struct Line {
    batches: Mutex<Vec<usize>>,
}

struct LineWorker<'a>(&'a Line);

impl Model for Line {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(LineWorker(self)))
    }
}

impl Worker for LineWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        self.0.batches.lock().unwrap().push(images.len());
        Ok(images
            .iter()
            .map(|x| vec![x.pixels()[0], -x.pixels()[0]])
            .collect())
    }

    fn gradients(&mut self, images: &[&Image], objectives: &[Objective]) -> Result<Vec<Seen>> {
        assert_eq!(images.len(), objectives.len());
        let logits = self.logits(images)?;
        let seen = logits
            .into_iter()
            .zip(objectives)
            .map(|(logits, objective)| Seen {
                loss: logits[objective.label],
                gradient: Image::new([1, 1, 1], vec![1.0]).unwrap(),
                logits,
            });
        Ok(seen.collect())
    }
}

fn pixel(value: f32) -> Image {
    Image::new([1, 1, 1], vec![value]).unwrap()
}

static NEVER: Halt = Halt::new();

#[test]
fn every_job_is_answered_with_its_own_numbers() {
    for (threads, batch) in [(1, 1), (1, 8), (3, 4)] {
        let mut sums = Vec::new();
        drive(
            &Line::default(),
            Crew { threads, batch },
            0..50_u16,
            &NEVER,
            |job, handle| {
                Box::pin(async move {
                    let mut sum = 0.0;
                    // Job k asks k times, so images come and go at different moments.
                    for _ in 0..job {
                        sum += handle.logits(&pixel(f32::from(job))).await?[0];
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
        &line,
        Crew {
            threads: 1,
            batch: 4,
        },
        [1, 5, 5, 5, 4].into_iter(),
        &NEVER,
        |questions, handle| {
            Box::pin(async move {
                for _ in 0..questions {
                    handle.label(&pixel(0.0)).await?;
                }
                Ok(())
            })
        },
        |()| Ok(()),
    )
    .unwrap();
    assert_eq!(*line.batches.lock().unwrap(), [4, 4, 4, 4, 4]);
}

#[test]
fn a_crew_beyond_reason_is_no_larger_than_its_jobs() {
    const HUGE: Crew = Crew {
        threads: usize::MAX,
        batch: usize::MAX,
    };
    assert_eq!(
        HUGE.within(3),
        Crew {
            threads: 3,
            batch: 3
        }
    );
    let least = Crew {
        threads: 0,
        batch: 0,
    };
    assert_eq!(least.within(0), least.within(9));
    let most = HUGE.within(usize::MAX);
    assert!(most.threads < 10_000 && most.batch < 1_000, "{most:?}");
    let mut done = 0;
    drive(
        &Line::default(),
        HUGE,
        0..20,
        &NEVER,
        |_, handle| Box::pin(async move { handle.label(&pixel(0.0)).await }),
        |_| {
            done += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(done, 20);
}

#[test]
fn access_and_budget_are_enforced_by_the_handle() {
    drive(
        &Line::default(),
        Crew {
            threads: 1,
            batch: 1,
        },
        std::iter::once(()),
        &NEVER,
        |(), handle| {
            Box::pin(async move {
                let objective = Objective {
                    loss: Loss::CrossEntropy,
                    label: 0,
                    target: None,
                };
                let budget = Spent {
                    queries: 2,
                    gradients: 0,
                };
                let scores = handle.limited(Access::Scores, budget);
                assert!(matches!(
                    scores.gradient(&pixel(1.0), objective).await,
                    Err(Error::Invalid(_))
                ));
                scores.logits(&pixel(1.0)).await?;
                scores.label(&pixel(1.0)).await?;
                assert!(matches!(
                    scores.label(&pixel(1.0)).await,
                    Err(Error::Budget("queries"))
                ));
                assert_eq!(scores.spent(), budget);
                assert_eq!(handle.spent(), Spent::default());

                let seen = handle.gradient(&pixel(3.0), objective).await?;
                assert_eq!((seen.loss, seen.logits), (3.0, vec![3.0, -3.0]));
                assert_eq!(
                    handle.spent(),
                    Spent {
                        queries: 0,
                        gradients: 1
                    }
                );
                let labels = handle.limited(
                    Access::Labels,
                    Spent {
                        queries: 9,
                        gradients: 9,
                    },
                );
                assert!(matches!(
                    labels.logits(&pixel(1.0)).await,
                    Err(Error::Invalid(_))
                ));
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
    let run = |fail: bool| {
        drive(
            &Line::default(),
            Crew {
                threads: 1,
                batch: 2,
            },
            0..1000,
            &halt,
            |job, handle| {
                begun.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    handle.label(&pixel(0.0)).await?;
                    if job == 3 && fail {
                        return Err(Error::invalid("job 3"));
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
    assert!(matches!(run(true), Err(Error::Invalid(message)) if message == "job 3"));
    assert!(begun.swap(0, Ordering::Relaxed) < 100);
    assert!(run(false).is_ok());
    assert!(begun.load(Ordering::Relaxed) >= 4);
}
