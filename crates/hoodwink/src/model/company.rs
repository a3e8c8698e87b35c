//! Whether an answer depends on what else is asked at once, and how to ask so that it does not.
//!
//! Engines choose algorithms by the number of rows: one row is multiplied by a matrix in another way than two, and the
//! sums come out in another order. Some compute the last elements of a tensor in another way than the others, so that
//! even a row's place matters. So every program is asked the same questions in several companies before its first use,
//! and then only in a company that made no difference. The same question then has the same answer, to the bit.

use crate::Result;

/// In which company a program may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// In any: it makes no difference.
    Any,
    /// In any but none: a single question is asked twice.
    NotAlone,
    /// Alone: each question is an execution of its own.
    Alone,
}

/// Number of questions that [`Company::probe`] asks: the usual batch, since no more are asked at once afterwards.
pub(crate) const QUESTIONS: usize = 8;

/// Executions of the probe, as positions of questions: the first alone, the first two together in several places, in
/// numbers below and above the four floats that processors compute at once. Fourteen answers in all, since those of a
/// large network are dear.
const EXECUTIONS: [&[usize]; 4] = [&[0], &[0, 1], &[2, 0, 1], &[1, 5, 0, 6, 2, 4, 3, 7]];

impl Company {
    /// Asks the same questions in several companies; `bits` is what must not differ in an answer.
    pub(super) fn probe<Q: Copy, A>(
        questions: &[Q; QUESTIONS],
        mut ask: impl FnMut(&[Q]) -> Result<Vec<A>>,
        bits: impl Fn(&A) -> Vec<u32>,
    ) -> Result<Self> {
        let mut answers = Vec::new();
        for execution in EXECUTIONS {
            let asked: Vec<Q> = execution.iter().map(|&at| questions[at]).collect();
            let answered = ask(&asked)?;
            for (&question, answer) in execution.iter().zip(&answered) {
                answers.push((question, execution.len(), bits(answer)));
            }
        }
        let no_difference_from = |least: usize| {
            let answers = || answers.iter().filter(|(_, count, _)| *count >= least);
            answers().all(|(question, _, bits)| {
                answers()
                    .filter(|(other, ..)| other == question)
                    .all(|(.., others)| others == bits)
            })
        };
        Ok(match () {
            () if no_difference_from(1) => Self::Any,
            () if no_difference_from(2) => Self::NotAlone,
            () => Self::Alone,
        })
    }

    /// The answers to questions, asked in this company; never more at once than the probe asked, since beyond that an
    /// engine may choose differently again.
    pub(super) fn ask<Q: Copy, A>(
        self,
        questions: &[Q],
        mut ask: impl FnMut(&[Q]) -> Result<Vec<A>>,
    ) -> Result<Vec<A>> {
        let at_once = match self {
            Self::Any | Self::NotAlone => QUESTIONS,
            Self::Alone => 1,
        };
        let mut answers = Vec::with_capacity(questions.len());
        for questions in questions.chunks(at_once) {
            match (self, questions) {
                (Self::NotAlone, &[question]) => {
                    answers.extend(ask(&[question, question])?.into_iter().take(1));
                }
                _ => answers.extend(ask(questions)?),
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine whose answers may depend on the number of questions, a question's place, or the others.
    type Engine = fn(&[u32]) -> Result<Vec<u32>>;

    const ENGINES: [(Engine, Company); 7] = [
        (|asked| Ok(asked.to_vec()), Company::Any),
        (
            |asked| {
                Ok(asked
                    .iter()
                    .map(|q| q + u32::from(asked.len() == 1))
                    .collect())
            },
            Company::NotAlone,
        ),
        // The last elements beyond a multiple of four are computed in another way.
        (
            |asked| {
                let whole = asked.len() / 4 * 4;
                let answers = asked.iter().enumerate();
                Ok(answers.map(|(at, q)| q + u32::from(at < whole)).collect())
            },
            Company::Alone,
        ),
        (
            |asked| {
                Ok(asked
                    .iter()
                    .map(|q| q + u32::from(asked.len() >= 5))
                    .collect())
            },
            Company::Alone,
        ),
        (
            |asked| Ok(asked.iter().map(|q| q + 100 * asked[0]).collect()),
            Company::Alone,
        ),
        // A large batch is computed in another way.
        (
            |asked| {
                Ok(asked
                    .iter()
                    .map(|q| q + u32::from(asked.len() > 8))
                    .collect())
            },
            Company::Any,
        ),
        // Numbers that are no numbers are the same if their bits are.
        (
            |asked| Ok(vec![f32::NAN.to_bits(); asked.len()]),
            Company::Any,
        ),
    ];

    #[test]
    fn the_probe_finds_the_company_that_makes_no_difference() {
        for (at, (engine, expected)) in ENGINES.into_iter().enumerate() {
            let found = Company::probe(&std::array::from_fn(|at| at as u32), engine, |&a| vec![a]);
            assert_eq!(found.unwrap(), expected, "engine {at}");
        }
    }

    #[test]
    fn in_that_company_answers_are_the_same_in_any_batch() {
        let questions: Vec<u32> = (0..16).collect();
        for (at, (engine, company)) in ENGINES.into_iter().enumerate() {
            let in_batches_of = |count: usize| -> Vec<u32> {
                let batches = questions.chunks(count);
                let answers = batches.flat_map(|batch| company.ask(batch, engine).unwrap());
                answers.collect()
            };
            for count in 2..=16 {
                assert_eq!(
                    in_batches_of(count),
                    in_batches_of(1),
                    "engine {at}, {count}"
                );
            }
        }
    }
}
