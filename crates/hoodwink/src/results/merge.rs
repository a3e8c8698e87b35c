//! Merges the shards of a run.

use std::{collections::BTreeSet, path::Path};

use super::noise::MAX_ANSWERS;
use super::{Row, Run, RunFolder, Timing};
use crate::counted;
use crate::error::{Error, Result};

/// Merges the shards of one run into the folder at `path`. The result has the same bytes as a single run, except for
/// `timing.json`, which holds sums, and `shown.json`, which holds only the shards' answers because there is no model to
/// ask.
///
/// The shards must be complete, agree in all settings, and be all of them, each once. An interrupted merge is resumed.
/// `done` is called with the number of pictures in the folder and their total.
pub fn merge(
    shards: &[RunFolder],
    path: &Path,
    mut done: impl FnMut(usize, usize),
) -> Result<RunFolder> {
    let run = whole(shards)?;
    let merged = RunFolder::create(path, &run)?;
    let missing = merged.missing_parts()?;
    let of_part = |&part: &u64| merged.samples_of_part(part).count();
    let mut left: usize = missing.iter().map(of_part).sum();
    let all = merged.samples().count();
    for part in missing {
        let mut rows: Vec<Row> = Vec::new();
        let of_part = |shard: &&RunFolder| shard.parts().contains(&part);
        for shard in shards.iter().filter(of_part) {
            let of_shard = shard.read_part(part)?;
            copy_pictures(shard, &merged, &of_shard)?;
            rows.extend(of_shard);
        }
        // A stable sort keeps the rows of one sample in the order of the trials.
        rows.sort_by_key(|row| row.index);
        merged.write_part(part, &rows)?;
        left -= merged.samples_of_part(part).count();
        done(all - left, all);
    }
    if let Some(command) = shards
        .first()
        .map(RunFolder::command)
        .transpose()?
        .flatten()
    {
        merged.write_command(&command)?;
    }
    let mut noise = Vec::new();
    for shard in shards {
        noise.extend(shard.noise()?.into_iter().flatten());
    }
    noise.sort_by_key(|answer| answer.index);
    noise.truncate(MAX_ANSWERS);
    merged.write_noise(&noise)?;
    let mut sum = Timing::default();
    for timing in shards.iter().map(RunFolder::timing) {
        let timing = timing?.unwrap_or_default();
        sum.seconds += timing.seconds;
        (sum.threads, sum.batch) = (timing.threads, timing.batch);
        sum.library = timing.library;
        for (attack, seconds) in timing.by_attack {
            *sum.by_attack.entry(attack).or_default() += seconds;
        }
    }
    merged.write_timing(&sum)?;
    Ok(merged)
}

/// Returns the run that the shards are parts of.
fn whole(shards: &[RunFolder]) -> Result<Run> {
    let whole = |shard: &RunFolder| Run {
        partition: None,
        ..shard.run().clone()
    };
    let name = |shard: &RunFolder| shard.path().display().to_string();
    let Some(first) = shards.first() else {
        return Err(Error::invalid("there is nothing to merge"));
    };
    let mut run = whole(first);
    // All parts were checked on the same data, if at all.
    let mut found = shards.iter().map(|shard| &shard.run().findings);
    run.findings = found.find_map(Clone::clone);
    let mut numbers = BTreeSet::new();
    let mut count = 1;
    for shard in shards {
        let Some(partition) = shard.run().partition else {
            return Err(Error::invalid(format!(
                "{} is a whole run; only the partitions of one run can be merged",
                name(shard)
            )));
        };
        let differences = whole(shard).differences_from(&run)?;
        if !differences.is_empty() {
            let said = format!(
                "{} and {} are not parts of one run",
                name(first),
                name(shard)
            );
            return Err(Error::several(said, differences));
        }
        if first.run().partition.map(|of| of.count()) != Some(partition.count()) {
            return Err(Error::invalid(format!(
                "{} has a different number of partitions from {}",
                name(shard),
                name(first)
            )));
        }
        let missing = shard.missing_samples()?;
        if missing > 0 || !shard.missing_parts()?.is_empty() {
            return Err(Error::invalid(format!(
                "{} is unfinished: {}; run its command again first",
                name(shard),
                counted::missing(missing as usize, shard.samples().count())
            )));
        }
        if !numbers.insert(partition.number()) {
            return Err(Error::invalid(format!(
                "partition {partition} is named twice, the second time as {}",
                name(shard)
            )));
        }
        count = partition.count();
    }
    let missing = count - numbers.len();
    if missing > 0 {
        // There may be too many to list.
        let first = (1..=count).filter(|number| !numbers.contains(number));
        let first: Vec<String> = first.take(10).map(|it| format!("{it}/{count}")).collect();
        let more = match missing - first.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return Err(Error::invalid(format!(
            "partitions are missing: {}{more}",
            first.join(", ")
        )));
    }
    Ok(run)
}

/// Copies the files that the rows name, if they are pictures of the run's size.
fn copy_pictures(from: &RunFolder, to: &RunFolder, rows: &[Row]) -> Result<()> {
    let originals: BTreeSet<u64> = rows.iter().map(|row| row.index).collect();
    let originals = originals.into_iter().map(RunFolder::original);
    let adversarial = rows.iter().filter_map(|row| row.picture.clone());
    for picture in originals.chain(adversarial) {
        let bytes = from.read(&picture)?;
        from.picture_of(&picture, &bytes)?;
        to.write(&picture, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Picture;
    use crate::results::NoiseSeen;
    use crate::results::example::{all_fooled, fooled, picture, run};

    const SAMPLES: usize = 150;

    /// A complete run of one attack at one eps, or a shard of it.
    fn folder(path: &Path, partition: Option<&str>, seed: u64) -> RunFolder {
        let mut run = run(SAMPLES);
        run.partition = partition.map(|text| text.parse().unwrap());
        run.settings.seed = seed;
        let folder = RunFolder::create(path, &run).unwrap();
        for part in folder.parts() {
            let mut rows = all_fooled(folder.samples_of_part(part));
            rows.sort_by_key(|row| row.index);
            for row in &rows {
                let original = RunFolder::original(row.index);
                folder.write_picture(&original, &picture(7)).unwrap();
                let adversarial = row.picture.as_deref().unwrap();
                folder.write_picture(adversarial, &picture(9)).unwrap();
            }
            folder.write_part(part, &rows).unwrap();
        }
        folder.write_command("hoodwink attack").unwrap();
        let seen = |index| {
            let row = fooled(index, "pgd", "8/255");
            NoiseSeen::of(&row, row.clean)
        };
        let answers: Vec<NoiseSeen> = folder.samples().map(seen).collect();
        folder.write_noise(&answers).unwrap();
        folder
    }

    #[test]
    fn shards_become_the_files_of_one_run() {
        let parent = tempfile::tempdir().unwrap();
        let whole = folder(&parent.path().join("whole"), None, 0);
        // With seven shards, none ends where a part does; with two hundred, fifty have no samples.
        for count in [1, 2, 7, 200] {
            let shard = |number: usize| {
                let path = parent.path().join(format!("{number} of {count}"));
                folder(&path, Some(&format!("{number}/{count}")), 0)
            };
            let mut shards: Vec<RunFolder> = (1..=count).map(shard).collect();
            shards.reverse();
            let path = parent.path().join(format!("merged {count}"));
            let mut told = Vec::new();
            let merged = merge(&shards, &path, |done, all| told.push((done, all))).unwrap();
            assert_eq!(merged.rows().unwrap(), whole.rows().unwrap());
            assert_eq!(told.len(), merged.parts().count());
            assert_eq!(told.last(), Some(&(SAMPLES, SAMPLES)));
            let mut files: Vec<String> = merged
                .parts()
                .map(|part| format!("samples/part-{part:05}.parquet"))
                .collect();
            files.extend(["run.toml", "command.txt", "shown.json"].map(String::from));
            files.extend((0..SAMPLES as u64).map(RunFolder::original));
            for file in files {
                assert_eq!(
                    merged.read(&file).unwrap(),
                    whole.read(&file).unwrap(),
                    "{file}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str, partition, seed| folder(&parent.path().join(name), partition, seed);
        let (first, second) = (at("a", Some("1/2"), 0), at("b", Some("2/2"), 0));
        let unfinished = RunFolder::create(parent.path().join("c"), second.run()).unwrap();
        for (shards, says) in [
            (vec![], "nothing to merge"),
            (vec![first.clone()], "partitions are missing: 2/2"),
            (
                vec![at("g", Some("1/18446744073709551615"), 0)],
                " and 18446744073709551604 more",
            ),
            (vec![first.clone(), first.clone()], "named twice"),
            (
                vec![first.clone(), unfinished],
                "75 of 75 pictures are missing",
            ),
            (vec![first.clone(), at("d", None, 0)], "is a whole run"),
            (
                vec![first.clone(), at("e", Some("2/2"), 7)],
                "settings.seed: 0 there, 7 now",
            ),
            (
                vec![first.clone(), at("f", Some("2/3"), 0)],
                "a different number of partitions",
            ),
        ] {
            let refusal = merge(&shards, &parent.path().join("out"), |_, _| {}).unwrap_err();
            assert!(refusal.to_string().contains(says), "{refusal}");
        }
        assert!(!parent.path().join("out").exists());
        merge(&[first, second], &parent.path().join("out"), |_, _| {}).unwrap();
    }

    #[test]
    fn only_pictures_of_the_run_are_copied() {
        let parent = tempfile::tempdir().unwrap();
        let shard = folder(&parent.path().join("a"), Some("1/1"), 0);
        std::fs::write(shard.path().join("pictures/more.png"), "not named").unwrap();
        let out = parent.path().join("out");
        let named = RunFolder::original(3);
        for (bytes, says) in [
            (picture(7).encode_png(), ""),
            (b"SECRETKEY".to_vec(), "3.png is not a PNG"),
            (
                Picture::new(1, 1, 1, vec![0]).unwrap().encode_png(),
                "3.png is not a PNG of 8x8",
            ),
        ] {
            shard.write(&named, &bytes).unwrap();
            match merge(std::slice::from_ref(&shard), &out, |_, _| {}) {
                Ok(merged) => assert!(says.is_empty() && merged.read(&named).unwrap() == bytes),
                Err(error) => assert!(
                    !says.is_empty() && error.to_string().contains(says),
                    "{error}"
                ),
            }
            assert!(!out.join("pictures/more.png").exists());
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}
