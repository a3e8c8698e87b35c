//! Radii chosen where accuracy bends, so that a line through them hides nothing.

use super::Evaluation;
use crate::{
    Result,
    data::Dataset,
    oracle::{
        Halt,
        pool::{Model, Parallelism},
    },
    results::Row,
    threat::{Eps, Norm, Sweep},
};

/// Pictures that are looked at, at most, spread evenly over the data.
const PICTURES: usize = 48;

/// Radii that are chosen, at most: each is attacked on every picture that no smaller one broke.
const MOST: usize = 10;

/// The narrowest gap that is halved, as a share of the range.
const FINEST: f64 = 1.0 / 64.0;

/// The share of the pictures that may fall between two neighbouring radii.
const STEP: f64 = 0.05;

impl Evaluation {
    /// Chooses the radii of this evaluation in a range: both ends, and by halving wherever accuracy falls most between two
    /// neighbours, judged on some of the pictures. A picture that a smaller radius broke is not attacked at a larger one, and one
    /// that withstood a larger one not at a smaller one.
    ///
    /// The same evaluation, data and model give the same radii. The number of pictures that were attacked so far is told after
    /// each. If it is halted, the radii are those found so far. An open end is found by doubling.
    ///
    /// # Errors
    /// Those of [`Evaluation::run`].
    pub fn sweep(
        &mut self,
        sweep: &Sweep,
        model: &dyn Model,
        data: &Dataset,
        crew: Parallelism,
        halt: &Halt,
        mut tell: impl FnMut(usize),
    ) -> Result<()> {
        let count = data.len().min(PICTURES);
        let indices: Vec<usize> = (0..count).map(|at| at * data.len() / count).collect();
        let mut asked = 0;
        let mut attack = |eps: &Eps, indices: &[usize]| -> Result<Vec<(usize, bool, bool)>> {
            let pilot = Self {
                threat: self.threat.clone(),
                radii: vec![eps.clone()],
                swept: None,
                trials: self.trials.clone(),
                skips_broken: true,
                seed: self.seed,
            };
            let mut found = Vec::new();
            pilot.run(model, data, indices.iter().copied(), crew, halt, |one| {
                asked += 1;
                tell(asked);
                let right = one
                    .rows
                    .first()
                    .is_some_and(|row| row.clean.label == row.label);
                let fell = |row: &Row| row.float.is_some_and(|verdict| verdict.success);
                let index = one.rows.first().map_or(0, |row| row.index as usize);
                found.push((index, right, one.rows.iter().any(fell)));
                Ok(())
            })?;
            Ok(found)
        };
        let mut to = sweep.to_in(self.threat.norm);
        if sweep.to().is_none() {
            let farthest = farthest(self.threat.norm, data.get(0)?.picture.bytes().len());
            let mut standing = indices.clone();
            loop {
                let found = attack(&to, &standing)?.into_iter();
                let stands = found.filter(|(_, right, fell)| *right && !fell);
                standing = stands.map(|(index, ..)| index).collect();
                let few = standing.len() as f64 <= STEP * count as f64;
                if few || 2.0 * to.value() > farthest || halt.is_asked() {
                    break;
                }
                to = to.doubled();
            }
        }
        let mut curve = Curve::default();
        for (index, right, fell) in attack(&to, &indices)? {
            if right {
                let broken = if fell { 1 } else { usize::MAX };
                curve.pictures.push(Picture {
                    index,
                    stands: 0,
                    broken,
                });
            }
        }
        curve.radii = vec![sweep.from().clone(), to.clone()];
        if sweep.from().value() > 0.0 {
            let fallen: Vec<usize> = curve.between(0).collect();
            for (index, _, fell) in attack(sweep.from(), &fallen)? {
                curve.pictures.retain(|one| !(fell && one.index == index));
            }
        }
        let finest = FINEST * (to.value() - sweep.from().value());
        while curve.radii.len() < MOST && !halt.is_asked() {
            let Some(gap) = curve.steepest(finest, STEP * count as f64) else {
                break;
            };
            let eps = curve.radii[gap].halfway(&curve.radii[gap + 1]);
            let undecided: Vec<usize> = curve.between(gap).collect();
            let fallen: Vec<usize> = attack(&eps, &undecided)?
                .into_iter()
                .filter(|(_, _, fell)| *fell)
                .map(|(index, ..)| index)
                .collect();
            curve.insert(gap, eps, &fallen);
        }
        // Nothing is attacked at 0: there every picture is as it was.
        curve.radii.retain(|eps| eps.value() > 0.0);
        self.radii = curve.radii;
        self.swept = Some(sweep.clone());
        Ok(())
    }
}

/// The farthest that a picture of so many values can be moved.
fn farthest(norm: Norm, values: usize) -> f64 {
    match norm {
        Norm::Linf => 1.0,
        Norm::L2 => (values as f64).sqrt(),
        Norm::L1 | Norm::L0 => values as f64,
    }
}

/// What is known about accuracy at some radii, the smallest first.
#[derive(Debug, Default)]
struct Curve {
    radii: Vec<Eps>,
    /// Those that the model gets right at the first radius.
    pictures: Vec<Picture>,
}

/// Where one picture falls, as positions of radii.
#[derive(Debug)]
struct Picture {
    index: usize,
    /// The largest radius at which it stands.
    stands: usize,
    /// The smallest at which it falls; `usize::MAX` if it stands everywhere.
    broken: usize,
}

impl Curve {
    /// The pictures that fall between a radius and the next.
    fn between(&self, gap: usize) -> impl Iterator<Item = usize> + '_ {
        let there = move |one: &&Picture| one.stands == gap && one.broken == gap + 1;
        self.pictures.iter().filter(there).map(|one| one.index)
    }

    /// The gap in which most pictures fall; of equals the widest, then the first. `None` if fewer fall than matter, or where
    /// they do, the gap is too narrow.
    fn steepest(&self, finest: f64, matters: f64) -> Option<usize> {
        let width = |gap: usize| self.radii[gap + 1].value() - self.radii[gap].value();
        let gaps = 0..self.radii.len().saturating_sub(1);
        let falls = |gap: usize| self.between(gap).count();
        // Halving a range does not leave its exact part.
        let finest = finest * (1.0 + 1e-9);
        gaps.filter(|&gap| width(gap) > finest && falls(gap) as f64 > matters)
            .rev()
            .max_by(|&a, &b| falls(a).cmp(&falls(b)).then(width(a).total_cmp(&width(b))))
    }

    /// A radius in a gap, at which these of its pictures fell.
    fn insert(&mut self, gap: usize, eps: Eps, fallen: &[usize]) {
        self.radii.insert(gap + 1, eps);
        for one in &mut self.pictures {
            let was_there = one.stands == gap && one.broken == gap + 1;
            if one.stands > gap {
                one.stands += 1;
            }
            if one.broken > gap && one.broken < usize::MAX {
                one.broken += 1;
            }
            if was_there {
                match fallen.contains(&one.index) {
                    true => one.broken = gap + 1,
                    false => one.stands = gap + 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::Attack,
        evaluate::Trial,
        image::{Image, Picture as Pixels},
        oracle::{Access, Budget, Differential, Objective, pool::Worker},
        threat::Threat,
    };

    /// Right as long as the first value is above 0.5.
    struct Threshold;

    struct ThresholdWorker;

    impl Model for Threshold {
        fn worker(&self) -> Result<Box<dyn Worker + '_>> {
            Ok(Box::new(ThresholdWorker))
        }

        fn classes(&self) -> usize {
            2
        }
    }

    impl Worker for ThresholdWorker {
        fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
            let logits = |image: &&Image| vec![image.pixels()[0] - 0.5, 0.5 - image.pixels()[0]];
            Ok(images.iter().map(logits).collect())
        }

        fn differentials(
            &mut self,
            images: &[&Image],
            objectives: &[&Objective],
        ) -> Result<Vec<Differential>> {
            let logits = self.logits(images)?;
            let found = logits
                .into_iter()
                .zip(objectives)
                .map(|(logits, objective)| {
                    Ok(Differential {
                        loss: objective.value(&logits)?,
                        gradient: Image::new([1, 1, 1], vec![-1.0])?,
                        logits,
                    })
                });
            found.collect()
        }
    }

    fn evaluation() -> Evaluation {
        Evaluation {
            threat: Threat {
                norm: Norm::Linf,
                target: None,
                access: Access::Gradients,
                budget: Budget::default(),
            },
            radii: Vec::new(),
            swept: None,
            trials: vec![Trial {
                attack: Attack::parse("fgsm").unwrap(),
                key: "fgsm".into(),
            }],
            skips_broken: false,
            seed: 0,
        }
    }

    fn radii(range: &str, levels: &[u8]) -> Vec<String> {
        let pictures = levels
            .iter()
            .map(|&level| (Pixels::new(1, 1, 1, vec![level]).unwrap(), 0));
        let data = Dataset::from_pictures("levels", pictures.collect(), None).unwrap();
        let crew = Parallelism {
            threads: 2,
            batch: 4,
        };
        let mut evaluation = evaluation();
        let sweep: Sweep = range.parse().unwrap();
        let halt = Halt::new();
        evaluation
            .sweep(&sweep, &Threshold, &data, crew, &halt, |_| {})
            .unwrap();
        assert_eq!(evaluation.swept, Some(sweep));
        evaluation.radii.iter().map(Eps::to_string).collect()
    }

    #[test]
    fn radii_gather_where_accuracy_falls() {
        // All fall at 5/255 or so: around it the range is halved until it is narrow.
        let close = radii("0..64/255", &[132; 40]);
        assert_eq!(
            close,
            [
                "4/255", "5/255", "6/255", "8/255", "16/255", "32/255", "64/255"
            ]
        );
        // They fall evenly: so do the radii.
        let levels: Vec<u8> = (0..40).map(|n| 128 + 2 * n).collect();
        let even = radii("0..80/255", &levels);
        assert_eq!(even.len(), 9);
        assert!(even.contains(&"10/255".to_owned()), "{even:?}");
        // Nothing falls, or nothing is right: the ends are enough.
        assert_eq!(radii("0..8/255", &[255; 5]), ["8/255"]);
        assert_eq!(radii("0..8/255", &[0; 5]), ["8/255"]);
        // An open end is where none stands any more, or as far as anything can go.
        assert_eq!(radii("0..", &[132; 40]).last().unwrap(), "8/255");
        assert_eq!(radii("0..", &[0; 5]), ["1/255"]);
        // It begins where all have fallen, and where some have.
        assert_eq!(radii("16/255..64/255", &[132; 5]), ["16/255", "64/255"]);
        let some = radii("16/255..64/255", &[132, 132, 160, 160]);
        assert_eq!(some[0], "16/255");
        assert!(some.len() > 3, "{some:?}");
    }
}
