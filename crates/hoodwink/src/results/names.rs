//! The names of the attacks of a run, in paths and for people.
//!
//! A run may use one attack more than once, with different parameters. Recipes distinguish them but are long.

use std::collections::{BTreeMap, BTreeSet};

use super::{AttackRecord, Run};

impl Run {
    /// Returns the name of every attack in paths, in order: its own name, with `-2`, `-3` and so on for the second,
    /// third and further attacks of that name.
    pub fn keys(&self) -> Vec<String> {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        let names = self.attacks.iter().map(|attack| &*attack.name);
        names
            .map(|name| {
                let count = count.entry(name).or_default();
                *count += 1;
                match count {
                    1 => name.to_owned(),
                    _ => format!("{name}-{count}"),
                }
            })
            .collect()
    }

    /// Returns the name of every attack for people, in order: its own name and, if the run has several of that name,
    /// the parameters in which they differ, such as `pgd(loss=dlr)`.
    pub fn shown(&self) -> Vec<String> {
        let mut by_name: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
        for attack in &self.attacks {
            let of_name = by_name.entry(&attack.name).or_default();
            of_name.push(parameters(&attack.recipe));
        }
        let common: BTreeMap<&str, BTreeSet<&str>> = by_name
            .into_iter()
            .map(|(name, all)| (name, in_all(&all)))
            .collect();
        let short = |attack: &AttackRecord| {
            let mut own = parameters(&attack.recipe);
            own.retain(|parameter| !common[&*attack.name].contains(parameter));
            match own.is_empty() {
                true => attack.name.clone(),
                false => format!("{}({})", attack.name, own.join(", ")),
            }
        };
        let shown: Vec<String> = self.attacks.iter().map(short).collect();
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &shown {
            *count.entry(one).or_default() += 1;
        }
        // Recipes that are written differently but mean the same are distinguished by position.
        let keys = self.keys().into_iter();
        let told = keys.zip(&shown).map(|(key, one)| match count[&**one] {
            1 => one.clone(),
            _ => key,
        });
        told.collect()
    }

    /// Returns the name in paths of the attack with this recipe; `None` if the run has no such attack. See
    /// [`Run::keys`].
    pub fn key_of(&self, recipe: &str) -> Option<String> {
        Some(self.keys().swap_remove(self.position_of(recipe)?))
    }

    /// Returns the name for people of the attack with this recipe, or the recipe itself if the run has no such attack.
    /// See
    /// [`Run::shown`].
    pub fn shown_of(&self, recipe: &str) -> String {
        match self.position_of(recipe) {
            Some(at) => self.shown().swap_remove(at),
            None => recipe.to_owned(),
        }
    }

    /// Returns the position of the attack with this recipe.
    fn position_of(&self, recipe: &str) -> Option<usize> {
        self.attacks.iter().position(|one| one.recipe == recipe)
    }

    /// Returns the positions of all attacks, by recipe.
    pub(super) fn places(&self) -> BTreeMap<&str, usize> {
        let places = self.attacks.iter().enumerate();
        places.map(|(at, one)| (&*one.recipe, at)).collect()
    }
}

/// Returns the names in paths of attacks with these names; see [`Run::keys`].
pub fn keys<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let key = |name| {
        let count = count.entry(name).or_default();
        *count += 1;
        match count {
            1 => name.to_owned(),
            _ => format!("{name}-{count}"),
        }
    };
    names.map(key).collect()
}

/// Returns the parameters that all have in common.
fn in_all<'a>(all: &[Vec<&'a str>]) -> BTreeSet<&'a str> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for of in all {
        for parameter in BTreeSet::from_iter(of) {
            *count.entry(parameter).or_default() += 1;
        }
    }
    count.retain(|_, count| *count == all.len());
    count.into_keys().collect()
}

/// Parses the parameters of a recipe such as `pgd(steps=40, loss=ce)`; values may contain parentheses with commas.
fn parameters(recipe: &str) -> Vec<&str> {
    let inner = recipe.split_once('(').map_or("", |(_, inner)| inner);
    let inner = inner.strip_suffix(')').unwrap_or(inner);
    let mut depth = 0_usize;
    let parts = inner.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let trimmed = parts.map(str::trim);
    trimmed.filter(|parameter| !parameter.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::example::run;

    fn run_of(recipes: &[&str]) -> Run {
        let mut run = run(1);
        let attack = |recipe: &&str| AttackRecord {
            name: recipe.split('(').next().unwrap().to_owned(),
            recipe: (*recipe).to_owned(),
        };
        run.attacks = recipes.iter().map(attack).collect();
        run
    }

    #[test]
    fn attacks_are_called_what_tells_them_apart() {
        for (recipes, keys, shown) in [
            (
                &["pgd(steps=40)", "fgsm(loss=ce)"][..],
                &["pgd", "fgsm"][..],
                &["pgd", "fgsm"][..],
            ),
            (
                &[
                    "pgd(steps=40, loss=dlr)",
                    "fgsm()",
                    "pgd(steps=40, loss=ce)",
                ],
                &["pgd", "fgsm", "pgd-2"],
                &["pgd(loss=dlr)", "fgsm", "pgd(loss=ce)"],
            ),
            (
                &[
                    "pgd(a=1, start=near(x, 2), loss=ce)",
                    "pgd(a=1, start=near(x, 3), loss=ce)",
                    "pgd(a=1, loss=ce)",
                ],
                &["pgd", "pgd-2", "pgd-3"],
                &["pgd(start=near(x, 2))", "pgd(start=near(x, 3))", "pgd"],
            ),
            // These do not differ for a reader.
            (
                &["pgd(a=1, b=2)", "pgd(b=2, a=1)", "pgd)", "pgd(("],
                &["pgd", "pgd-2", "pgd)", "pgd-3"],
                &["pgd(a=1, b=2)", "pgd(b=2, a=1)", "pgd)", "pgd(()"],
            ),
        ] {
            let run = run_of(recipes);
            assert_eq!(run.keys(), keys);
            assert_eq!(run.shown(), shown);
            for (at, recipe) in recipes.iter().enumerate() {
                assert_eq!(run.key_of(recipe).as_deref(), Some(keys[at]));
                assert_eq!(run.shown_of(recipe), shown[at]);
            }
        }
        let run = run_of(&["pgd( a=1)", "pgd(a=1)"]);
        assert_eq!(run.shown(), ["pgd", "pgd-2"]);
        assert_eq!((run.key_of("x"), run.shown_of("x")), (None, "x".to_owned()));
    }
}
