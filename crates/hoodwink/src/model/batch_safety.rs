//! Whether an answer depends on the rest of its batch, and how to query the model so that it does not.
//!
//! Engines choose algorithms by the number of rows: one row is multiplied by a matrix in another way than two, and the
//! sums are added in another order. Some engines compute the last elements of a tensor differently, so even the
//! position of a row matters. So before a program is first used, the same questions are asked in several batches. From
//! then on it is used only in ways that made no difference, so the same question always has the same answer, to the
//! bit.

use crate::{Result, oracle::pool::Appetite};

/// How a program's answers depend on the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSafety {
    /// They do not depend on it.
    Any,
    /// They are the same in any batch of two or more: a single question is asked twice.
    NotAlone,
    /// They depend on it: each question is an execution of its own.
    Alone,
}

/// The executions of a probe as positions of questions, the largest first: the first question alone, and the first two
/// together in several places, in batches smaller and larger than the four floats that a SIMD register holds.
type Executions = &'static [&'static [usize]];

/// For a small network, where an execution costs as much as a few answers.
const MANY_EXECUTIONS: Executions = &[
    &[1, 5, 0, 6, 2, 11, 3, 7, 9, 13, 8, 15, 10, 12, 4, 14],
    &[1, 5, 0, 6, 2, 4, 3, 7, 8],
    &[2, 0, 1],
    &[0, 1],
    &[0],
];

const EXECUTIONS: Executions = &[&[1, 5, 0, 6, 2, 4, 3, 7], &[2, 0, 1], &[0, 1], &[0]];

/// For a large network, where answers are expensive and batches gain little.
const FEW_EXECUTIONS: Executions = &[&[1, 3, 0, 2], &[2, 0, 1], &[0, 1], &[0]];

/// For large pictures, of which a batch takes much memory.
const FEWEST_EXECUTIONS: Executions = &[&[1, 0], &[0, 1], &[1], &[0]];

/// The minimum number of values of a large picture: 1,183 by 1,183 pixels in colour.
const LARGE_PICTURE: usize = 1 << 22;

/// For networks of one question per execution, which need no probe.
const ONE_EXECUTION: Executions = &[&[0]];

/// The minimum number of multiply-adds per answer of a large network.
const LARGE: u64 = 100_000_000;

/// The maximum number of multiply-adds per answer of a small network.
const SMALL: u64 = 8_000_000;

/// The maximum number of questions in an execution: the size of the largest execution of the probe, because the engine
/// may choose differently for larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtOnce(Executions);

impl AtOnce {
    /// Chooses the limit for a network with this many multiply-adds per answer, for pictures of `values` values.
    /// `likes_large_alone` says whether the engine runs large networks as fast on single pictures.
    pub(super) fn of(multiply_adds: u64, values: usize, likes_large_alone: bool) -> Self {
        Self(match (multiply_adds, values) {
            (LARGE.., _) if likes_large_alone => ONE_EXECUTION,
            (_, LARGE_PICTURE..) => FEWEST_EXECUTIONS,
            (LARGE.., _) => FEW_EXECUTIONS,
            (..=SMALL, _) => MANY_EXECUTIONS,
            _ => EXECUTIONS,
        })
    }

    /// Returns the limit of a network that always takes `rows` rows, at least two.
    pub(super) fn of_frozen(rows: usize) -> Self {
        Self(match rows {
            16.. => MANY_EXECUTIONS,
            8.. => EXECUTIONS,
            4.. => FEW_EXECUTIONS,
            _ => FEWEST_EXECUTIONS,
        })
    }

    /// Returns the number of questions.
    pub(crate) fn questions(self) -> usize {
        self.0[0].len()
    }

    /// Returns the executions of the probe.
    pub(super) fn executions(self) -> Executions {
        self.0
    }
}

impl BatchSafety {
    /// Concludes from the executions of a probe. `answered` holds, for each answer of each execution, the values to
    /// compare.
    pub(super) fn of<A: PartialEq>(executions: Executions, answered: &[Vec<A>]) -> Self {
        let mut answers = Vec::new();
        for (execution, answered) in executions.iter().zip(answered) {
            for (&question, bits) in execution.iter().zip(answered) {
                answers.push((question, execution.len(), bits));
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
        match () {
            () if no_difference_from(1) => Self::Any,
            () if no_difference_from(2) => Self::NotAlone,
            () => Self::Alone,
        }
    }

    /// Returns how many questions to ask at once.
    pub(super) fn appetite(self, most: AtOnce) -> Appetite {
        match self {
            Self::Any => Appetite {
                least: 1,
                most: most.questions(),
            },
            Self::NotAlone => Appetite {
                least: 2,
                most: most.questions(),
            },
            Self::Alone => Appetite { least: 1, most: 1 },
        }
    }

    /// Answers questions in batches that do not change the answers.
    pub(super) fn ask<Q: Copy, A>(
        self,
        most: AtOnce,
        questions: &[Q],
        mut ask: impl FnMut(&[Q]) -> Result<Vec<A>>,
    ) -> Result<Vec<A>> {
        let at_once = match self {
            Self::Any | Self::NotAlone => most.questions(),
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

    const ENGINES: [(Engine, BatchSafety); 7] = [
        (|asked| Ok(asked.to_vec()), BatchSafety::Any),
        (
            |asked| {
                Ok(asked
                    .iter()
                    .map(|q| q + u32::from(asked.len() == 1))
                    .collect())
            },
            BatchSafety::NotAlone,
        ),
        // The last elements beyond a multiple of four are computed in another way.
        (
            |asked| {
                let whole = asked.len() / 4 * 4;
                let answers = asked.iter().enumerate();
                Ok(answers.map(|(at, q)| q + u32::from(at < whole)).collect())
            },
            BatchSafety::Alone,
        ),
        (
            |asked| {
                Ok(asked
                    .iter()
                    .map(|q| q + u32::from(asked.len() >= 5))
                    .collect())
            },
            BatchSafety::Alone,
        ),
        (
            |asked| Ok(asked.iter().map(|q| q + 100 * asked[0]).collect()),
            BatchSafety::Alone,
        ),
        // A large batch is computed in another way.
        (
            |asked| {
                Ok(asked
                    .iter()
                    .map(|q| q + u32::from(asked.len() > 8))
                    .collect())
            },
            BatchSafety::Any,
        ),
        // NaNs are equal if their bits are.
        (
            |asked| Ok(vec![f32::NAN.to_bits(); asked.len()]),
            BatchSafety::Any,
        ),
    ];

    fn probe(most: AtOnce, engine: Engine) -> BatchSafety {
        let executions = most.executions();
        let answered: Vec<Vec<Vec<u32>>> = executions
            .iter()
            .map(|execution| {
                let questions: Vec<u32> = execution.iter().map(|&at| at as u32).collect();
                let answers = engine(&questions).unwrap();
                answers.into_iter().map(|answer| vec![answer]).collect()
            })
            .collect();
        BatchSafety::of(executions, &answered)
    }

    #[test]
    fn the_probe_finds_what_makes_no_difference() {
        for (at, (engine, expected)) in ENGINES.into_iter().enumerate() {
            let found = probe(AtOnce::of(SMALL + 1, 0, false), engine);
            assert_eq!(found, expected, "engine {at}");
        }
    }

    #[test]
    fn asked_so_answers_are_the_same_in_any_batch() {
        let questions: Vec<u32> = (0..16).collect();
        for most in [(0, 0), (SMALL + 1, 0), (LARGE, 0), (0, LARGE_PICTURE)] {
            let most = AtOnce::of(most.0, most.1, false);
            for (at, (engine, _)) in ENGINES.into_iter().enumerate() {
                let safety = probe(most, engine);
                let in_batches_of = |count: usize| -> Vec<u32> {
                    let batches = questions.chunks(count);
                    let answers =
                        batches.flat_map(|batch| safety.ask(most, batch, engine).unwrap());
                    answers.collect()
                };
                for count in 2..=16 {
                    let said = format!("engine {at}, {count}, {most:?}");
                    assert_eq!(in_batches_of(count), in_batches_of(1), "{said}");
                }
            }
        }
    }
}
