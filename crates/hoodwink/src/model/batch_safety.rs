//! Whether an answer depends on what else is asked at once, and how to ask so that it does not.
//!
//! Engines choose algorithms by the number of rows: one row is multiplied by a matrix in another way than two, and the
//! sums come out in another order. Some compute the last elements of a tensor in another way than the others, so that
//! even a row's place matters. So every program is asked the same questions in several batches before its first use, and
//! then only in such as made no difference. The same question then has the same answer, to the bit.

use crate::{Result, oracle::pool::Appetite};

/// How a program's answers depend on what is asked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSafety {
    /// In any: it makes no difference.
    Any,
    /// In any but none: a single question is asked twice.
    NotAlone,
    /// Alone: each question is an execution of its own.
    Alone,
}

/// The executions of a probe, the largest first, as positions of questions: the first question alone, the first two
/// together in several places, in numbers below and above the four floats that processors compute at once.
type Executions = &'static [&'static [usize]];

/// Those of a small network, of which an execution costs as much as a few of its answers.
const MANY_EXECUTIONS: Executions = &[
    &[1, 5, 0, 6, 2, 11, 3, 7, 9, 13, 8, 15, 10, 12, 4, 14],
    &[1, 5, 0, 6, 2, 4, 3, 7, 8],
    &[2, 0, 1],
    &[0, 1],
    &[0],
];

const EXECUTIONS: Executions = &[&[1, 5, 0, 6, 2, 4, 3, 7], &[2, 0, 1], &[0, 1], &[0]];

/// Those of a large network, whose answers are dear, and gain little by being asked together.
const FEW_EXECUTIONS: Executions = &[&[1, 3, 0, 2], &[2, 0, 1], &[0, 1], &[0]];

/// Those of large pictures, of which many at once take much memory.
const FEWEST_EXECUTIONS: Executions = &[&[1, 0], &[0, 1], &[1], &[0]];

/// From how many values on a picture is large: those of 1,183 by 1,183 pixels in colour.
const LARGE_PICTURE: usize = 1 << 22;

/// A single question each time: nothing to find out.
const ONE_EXECUTION: Executions = &[&[0]];

/// From how many multiply-adds for an answer on a network is large.
const LARGE: u64 = 100_000_000;

/// Up to how many it is small.
const SMALL: u64 = 8_000_000;

/// The most questions that are asked at once: those of the largest execution of the probe, since beyond them an engine may
/// choose differently again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtOnce(Executions);

impl AtOnce {
    /// For a network with so many multiply-adds for each answer, about pictures of so many values, on an engine that likes
    /// large networks one picture at a time or not.
    pub(super) fn of(multiply_adds: u64, values: usize, likes_large_alone: bool) -> Self {
        Self(match (multiply_adds, values) {
            (LARGE.., _) if likes_large_alone => ONE_EXECUTION,
            (_, LARGE_PICTURE..) => FEWEST_EXECUTIONS,
            (LARGE.., _) => FEW_EXECUTIONS,
            (..=SMALL, _) => MANY_EXECUTIONS,
            _ => EXECUTIONS,
        })
    }

    /// For a network that always takes so many rows, two or more.
    pub(super) fn of_frozen(rows: usize) -> Self {
        Self(match rows {
            16.. => MANY_EXECUTIONS,
            8.. => EXECUTIONS,
            4.. => FEW_EXECUTIONS,
            _ => FEWEST_EXECUTIONS,
        })
    }

    /// How many they are.
    pub(crate) fn questions(self) -> usize {
        self.0[0].len()
    }

    /// What the probe asks, execution by execution.
    pub(super) fn executions(self) -> Executions {
        self.0
    }
}

impl BatchSafety {
    /// What was found out by the executions of a probe: `answered` holds what must not differ, of each answer of each
    /// execution.
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

    /// How many questions are asked at once.
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

    /// The answers to questions, asked so that it makes no difference.
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
        // Numbers that are no numbers are the same if their bits are.
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
