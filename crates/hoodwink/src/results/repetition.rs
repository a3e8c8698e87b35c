//! Compares a run with its repetition.

use std::collections::BTreeMap;

use super::{Row, RunFolder, table};
use crate::error::Result;

/// The row-by-row comparison of two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Number of compared rows: those that either run has.
    pub rows: usize,
    /// The differences, one sentence for each row.
    pub differences: Vec<String>,
}

/// Compares the rows of two runs bit by bit, and the pictures they name byte by byte. Rows that the earlier run lacks
/// are not compared, because it may be unfinished.
pub fn repeats(before: &RunFolder, after: &RunFolder) -> Result<Repetition> {
    let mut others: BTreeMap<_, Row> = after.rows()?.into_iter().map(keyed).collect();
    let mut repetition = Repetition {
        rows: 0,
        differences: Vec::new(),
    };
    let attacks = before.run().attacks.iter().map(|one| one.recipe.clone());
    let shown: BTreeMap<String, String> = attacks.zip(before.run().shown()).collect();
    for (key, row) in before.rows()?.into_iter().map(keyed) {
        repetition.rows += 1;
        let what = match others.remove(&key) {
            None => Some("is missing".to_owned()),
            Some(other) => difference(before, &row, after, &other)?,
        };
        let attack = shown.get(&row.recipe).unwrap_or(&row.attack);
        let eps = row
            .eps_text()
            .map_or(String::new(), |eps| format!(" at {eps}"));
        repetition
            .differences
            .extend(what.map(|what| format!("sample {}, {attack}{eps}: {what}", row.index)));
    }
    Ok(repetition)
}

fn keyed(row: Row) -> ((String, Option<String>, u64), Row) {
    let eps = row.eps_text().map(str::to_owned);
    ((row.recipe.clone(), eps, row.index), row)
}

fn difference(
    before: &RunFolder,
    row: &Row,
    after: &RunFolder,
    other: &Row,
) -> Result<Option<String>> {
    // Compares bytes rather than values, because NaN does not equal itself.
    if table::encode(std::slice::from_ref(row))? != table::encode(std::slice::from_ref(other))? {
        return Ok(Some(match row.outcome == other.outcome {
            true => "a different row with the same outcome".to_owned(),
            false => format!(
                "{} before, {} now",
                row.outcome.word(),
                other.outcome.word()
            ),
        }));
    }
    let original = RunFolder::original(row.index);
    for picture in row.picture.iter().chain([&original]) {
        if before.read(picture)? != after.read(picture)? {
            return Ok(Some(format!("{picture} is a different picture")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::example::{fooled, picture, robust, run};

    fn folder(parent: &std::path::Path, name: &str, rows: &[Row], level: u8) -> RunFolder {
        let mut run = run(4);
        run.attacks.truncate(1);
        run.threat.eps.remove(0);
        let folder = RunFolder::create(parent.join(name), &run).unwrap();
        for row in rows {
            let original = RunFolder::original(row.index);
            for path in row.picture.iter().chain([&original]) {
                folder.write_picture(path, &picture(level)).unwrap();
            }
            folder.keep(std::slice::from_ref(row)).unwrap();
        }
        folder
    }

    #[test]
    fn what_differs_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let nan = |index| Row {
            loss: vec![f32::NAN],
            ..fooled(index, "pgd", "8/255")
        };
        let rows = [nan(0), nan(1), nan(2)];
        let before = folder(parent.path(), "before", &rows, 7);
        let differences = |name: &str, rows: &[Row], level| {
            let after = folder(parent.path(), name, rows, level);
            let repetition = repeats(&before, &after).unwrap();
            assert_eq!(repetition.rows, 3);
            repetition.differences
        };
        assert!(differences("same", &rows, 7).is_empty());
        let more = [nan(0), nan(1), nan(2), nan(3)];
        assert!(differences("more", &more, 7).is_empty());
        let other = Row {
            queries: 3,
            ..nan(2)
        };
        let others = [robust(1, "pgd", "8/255"), other];
        assert_eq!(
            differences("others", &others, 7),
            [
                "sample 0, pgd at 8/255: is missing",
                "sample 1, pgd at 8/255: fooled before, robust now",
                "sample 2, pgd at 8/255: a different row with the same outcome",
            ]
        );
        let pictures = differences("pictures", &rows, 8);
        assert_eq!(pictures.len(), 3);
        assert!(
            pictures[0].ends_with("0.png is a different picture"),
            "{pictures:?}"
        );
    }
}
