//! Several models as one.

use std::sync::Arc;

use crate::{
    Error, Result,
    oracle::{Answer, Budget, Differential, Local, Objective, Oracle, Question, Want},
};

/// The quantity that an ensemble averages over its members (Liu, Chen, Liu and Song, arXiv 1611.02770, section 3; Dong
/// et al., arXiv 1710.06081, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// The logits: the objective is computed from their mean. A gradient costs an extra forward pass of each member.
    Logits,
    /// The members' objectives.
    Losses,
}

/// Several models as one: its logits are the mean of the members' logits.
pub struct Ensemble<'a> {
    members: Vec<Box<dyn Oracle + 'a>>,
    average: Average,
}

impl<'a> Ensemble<'a> {
    /// Joins these members, which must have the same classes.
    ///
    /// # Errors
    /// No members, or members with different numbers of classes.
    pub fn new(members: Vec<Box<dyn Oracle + 'a>>, average: Average) -> Result<Self> {
        let mut classes = members.iter().map(|member| member.classes());
        let first = classes.next();
        match first {
            None => Err(Error::invalid("an ensemble needs at least one member")),
            Some(first) if classes.any(|other| other != first) => Err(Error::invalid(
                "the members of an ensemble have different numbers of classes",
            )),
            Some(_) => Ok(Self { members, average }),
        }
    }

    /// Asks each member its list of questions. All lists are asked at once if the members share a pool.
    async fn ask_each(&self, questions: Vec<Vec<Question>>) -> Result<Vec<Vec<Answer>>> {
        let asked = self.members.iter().zip(questions);
        all(asked
            .map(|(member, questions)| member.ask(questions))
            .collect())
        .await
    }

    async fn answer(&self, questions: Vec<Question>) -> Result<Vec<Answer>> {
        let count = self.members.len();
        // The first questions to each member: the question itself, or only its logits.
        let first = questions.iter().map(|question| match self.average {
            Average::Losses => question.clone(),
            Average::Logits => Question::logits(&question.point),
        });
        let first: Vec<Question> = first.collect();
        let of_members = self.ask_each(vec![first; count]).await?;
        let logits = (0..questions.len()).map(|at| {
            let all = of_members.iter().map(|answers| match &answers[at] {
                Answer::Logits(logits) => logits,
                Answer::Gradient(found) => &found.logits,
            });
            mean(all.map(Vec::as_slice))
        });
        let logits: Vec<Vec<f32>> = logits.collect();
        if self.average == Average::Losses {
            return merged(&questions, logits, of_members, false);
        }
        // Then the gradient of a linear combination: the objective, linearised at the mean logits.
        let mut second = Vec::new();
        for (question, logits) in questions.iter().zip(&logits) {
            if let Want::Gradient(objective) = &question.want {
                let cotangent = objective.cotangent(logits)?;
                let weights: Arc<[f32]> = cotangent.iter().map(|&c| c as f32).collect();
                let objective = Objective::Linear(weights);
                second.push(Question::gradient(&question.point, objective));
            }
        }
        let of_members = match second.is_empty() {
            true => vec![Vec::new(); count],
            false => self.ask_each(vec![second; count]).await?,
        };
        merged(&questions, logits, of_members, true)
    }
}

/// Builds answers from mean logits and the members' gradients. The members answered all questions or, if
/// `only_gradients`, only those that ask for a gradient.
fn merged(
    questions: &[Question],
    logits: Vec<Vec<f32>>,
    of_members: Vec<Vec<Answer>>,
    only_gradients: bool,
) -> Result<Vec<Answer>> {
    let mut members: Vec<_> = of_members.into_iter().map(Vec::into_iter).collect();
    let mut answers = Vec::with_capacity(questions.len());
    for (question, logits) in questions.iter().zip(logits) {
        let Want::Gradient(objective) = &question.want else {
            if !only_gradients {
                for member in &mut members {
                    member.next();
                }
            }
            answers.push(Answer::Logits(logits));
            continue;
        };
        let found = members.iter_mut().map(|member| {
            let answer = member.next();
            answer.map_or_else(
                || {
                    Err(Error::invalid(
                        "a member of the ensemble left a question unanswered",
                    ))
                },
                Answer::into_differential,
            )
        });
        let found = found.collect::<Result<Vec<Differential>>>()?;
        let mut gradient = question.point.clone();
        let mean_of = mean(found.iter().map(|one| one.gradient.pixels()));
        gradient.pixels_mut().copy_from_slice(&mean_of);
        let losses: f32 = found.iter().map(|one| one.loss).sum::<f32>() / found.len() as f32;
        answers.push(Answer::Gradient(Differential {
            loss: match only_gradients {
                true => objective.value(&logits)?,
                false => losses,
            },
            logits,
            gradient,
        }));
    }
    Ok(answers)
}

/// Computes the mean of lists of the same length, in double precision.
fn mean<'v>(lists: impl Iterator<Item = &'v [f32]>) -> Vec<f32> {
    let (mut sums, mut count) = (Vec::new(), 0_u32);
    for list in lists {
        sums.resize(list.len(), 0.0);
        for (sum, value) in sums.iter_mut().zip(list) {
            *sum += f64::from(*value);
        }
        count += 1;
    }
    sums.into_iter()
        .map(|sum| (sum / f64::from(count)) as f32)
        .collect()
}

/// Polls the futures together and returns all their results.
async fn all<T>(mut futures: Vec<Local<'_, Result<T>>>) -> Result<Vec<T>> {
    let mut found: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, found) in futures.iter_mut().zip(&mut found) {
            if found.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(Ok(value)) => *found = Some(value),
                    std::task::Poll::Ready(Err(error)) => {
                        return std::task::Poll::Ready(Err(error));
                    }
                    std::task::Poll::Pending => {}
                }
            }
        }
        match found.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(Ok(found.iter_mut().filter_map(Option::take).collect())),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

impl Oracle for Ensemble<'_> {
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>> {
        Box::pin(self.answer(questions))
    }

    fn classes(&self) -> usize {
        self.members.first().map_or(0, |member| member.classes())
    }

    fn left(&self) -> Budget {
        let left = self.members.iter().map(|member| member.left());
        left.fold(Budget::default(), |least, left| Budget {
            queries: least.queries.min(left.queries),
            gradients: least.gradients.min(left.gradients),
        })
    }
}
