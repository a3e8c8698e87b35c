//! Decides which pictures count in the figures of a run, and which of them are still right.

use super::{Outcome, Row, Run, Verdict};
use crate::threat::{Norm, TargetChoice};

/// The interpretation of the rows of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting {
    norm: Option<Norm>,
    /// The target class, if all pictures have the same one.
    target: Option<u32>,
}

impl Counting {
    pub(crate) fn of(run: &Run) -> Self {
        let goal = run.threat.goal.strip_prefix("targeted: ");
        Self {
            norm: run.threat.norm.parse().ok(),
            target: match goal.map(str::parse) {
                Some(Ok(TargetChoice::Class(class))) => u32::try_from(class).ok(),
                _ => None,
            },
        }
    }

    /// Returns the rows that count. A picture of the target class is left out: there is nothing to attack, so the
    /// attack can neither succeed nor fail.
    pub(crate) fn counted(self, rows: &[Row]) -> Vec<&Row> {
        rows.iter().filter(|row| self.counts(row)).collect()
    }

    /// Returns whether a row counts; see [`Counting::counted`].
    pub(crate) fn counts(self, row: &Row) -> bool {
        self.target != Some(row.label)
    }

    /// Returns whether the model is right about the original and still right about the candidate of `verdict`. A
    /// picture that an earlier attack broke does not survive.
    ///
    /// A targeted attack that ends in a third class has failed, but the model is still wrong.
    pub(crate) fn survives(self, row: &Row, verdict: Option<Verdict>) -> bool {
        clean(row)
            && row.outcome != Outcome::AlreadyBroken
            && verdict.is_none_or(|verdict| self.withstands(row, verdict))
    }

    /// Returns whether an attacked picture keeps its class, or exceeds the allowed distance.
    pub(crate) fn withstands(self, row: &Row, verdict: Verdict) -> bool {
        match row.target {
            None => !verdict.success,
            Some(_) => verdict.seen.label == row.label || !self.is_within(row, &verdict),
        }
    }

    /// An attack for the smallest distance may end beyond the radius of its row.
    fn is_within(self, row: &Row, verdict: &Verdict) -> bool {
        match (&row.eps, self.norm) {
            (Some(eps), Some(norm)) => norm.within(&verdict.norms, eps.value()),
            _ => true,
        }
    }
}

/// Returns whether the model is right about the original.
pub(crate) fn clean(row: &Row) -> bool {
    row.clean.label == row.label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::example::{already_wrong, fooled, run};

    #[test]
    fn pictures_of_the_class_aimed_at_do_not_count() {
        let mut run = run(3);
        let rows = [fooled(0, "pgd", "8/255"), already_wrong(1, "pgd", "8/255")];
        for (goal, expected) in [
            ("untargeted", 2),
            ("targeted: 0", 0),
            ("targeted: 1", 2),
            ("targeted: most-likely", 2),
        ] {
            run.threat.goal = goal.into();
            let counted = Counting::of(&run).counted(&rows).len();
            assert_eq!(counted, expected, "{goal}");
        }
    }

    #[test]
    fn what_lies_beyond_the_radius_is_not_lost() {
        let mut run = run(1);
        run.threat.goal = "targeted: 2".into();
        let counting = Counting::of(&run);
        let mut row = fooled(0, "pgd", "8/255");
        row.target = Some(2);
        row.float.as_mut().unwrap().success = false;
        assert!(!counting.survives(&row, row.float));
        row.float.as_mut().unwrap().norms.linf = 9.0 / 255.0;
        assert!(counting.survives(&row, row.float));
    }
}
