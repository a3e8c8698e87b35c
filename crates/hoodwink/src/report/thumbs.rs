//! Thumbnails of all pictures of a run: fooled, withstood, and wrong from the start.

use std::collections::BTreeMap;

use super::gallery::colour;
use super::page::Names;
use super::pictures::thumbnail;
use crate::error::Result;
use crate::files;
use crate::parallel::in_order;
use crate::results::{Counting, Outcome, Row, RunFolder, clean};

/// Number of thumbnails that open together.
const BLOCK: usize = 100;

/// Maximum size of the thumbnails in one page, in bytes.
const SHEET_BYTES: usize = 1100 << 10;

/// Maximum number of thumbnails in one page.
const SHEET: usize = 500;

/// Approximate size of the markup of each thumbnail, in bytes.
const AROUND: usize = 420;

/// One page of thumbnails.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) blocks: Vec<Block>,
    thumbs: usize,
    bytes: usize,
}

/// Thumbnails of one kind that open together.
pub(super) struct Block {
    /// `Fooled, 1 to 100 of 163`.
    pub(super) title: String,
    pub(super) thumbs: Vec<Thumb>,
}

/// One picture.
pub(super) struct Thumb {
    pub(super) index: u64,
    /// The exact file, relative to the run folder.
    pub(super) file: String,
    /// `None` if the file no longer exists.
    pub(super) address: Option<String>,
    pub(super) truth: String,
    /// The model's answer to the file.
    pub(super) label: String,
    pub(super) colour: &'static str,
}

/// The outcome for a sample.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Fooled,
    Withstood,
    WrongBefore,
    LeftOut,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Fooled,
        Self::Withstood,
        Self::WrongBefore,
        Self::LeftOut,
    ];

    fn title(self, targeted: bool) -> &'static str {
        match self {
            Self::Fooled if targeted => "Classified as the target",
            Self::Fooled => "Fooled",
            Self::Withstood if targeted => "Not classified as the target",
            Self::Withstood => "Withstood",
            Self::WrongBefore => "Wrong from the start",
            Self::LeftOut => "Target class, not counted",
        }
    }
}

/// Returns one row for each sample: the outcome at `eps` of all attacks, or of the one with this recipe, judged on the
/// saved files. A row that reached the goal precedes one that did not.
fn samples<'a>(
    folder: &RunFolder,
    rows: &'a [Row],
    eps: Option<&str>,
    recipe: Option<&str>,
) -> BTreeMap<u64, (Kind, &'a Row)> {
    let counting = Counting::of(folder.run());
    let kind = |row: &Row| match row.saved {
        _ if !counting.counts(row) => Kind::LeftOut,
        _ if !clean(row) => Kind::WrongBefore,
        Some(saved) if saved.success => Kind::Fooled,
        Some(_) => Kind::Withstood,
        None => Kind::WrongBefore,
    };
    let mut samples: BTreeMap<u64, (Kind, &Row)> = BTreeMap::new();
    let at_eps = rows.iter().filter(|row| row.eps_text() == eps);
    for row in at_eps.filter(|row| recipe.is_none_or(|recipe| row.recipe == recipe)) {
        // The attack that broke it has a row of its own, unless only one attack is shown.
        if row.outcome == Outcome::AlreadyBroken && recipe.is_none() {
            continue;
        }
        let kind = kind(row);
        let known = samples.entry(row.index).or_insert((kind, row));
        if kind < known.0 {
            *known = (kind, row);
        }
    }
    samples
}

/// Returns all pictures at `eps` (under the attack with this recipe, if one is given), split into pages.
pub(super) fn sheets(
    folder: &RunFolder,
    rows: &[Row],
    eps: Option<&str>,
    recipe: Option<&str>,
) -> Result<Vec<Sheet>> {
    let samples = samples(folder, rows, eps, recipe);
    let targeted = folder.run().threat.is_targeted();
    let names = Names::of_run(folder.run());
    let mut sheets = vec![Sheet::default()];
    for kind in Kind::ALL {
        let of_kind: Vec<&Row> = samples
            .values()
            .filter(|(found, _)| *found == kind)
            .map(|(_, row)| *row)
            .collect();
        let thumbs = in_order(
            of_kind.len(),
            // One thread per core.
            usize::MAX,
            |at| thumb(folder, &names, of_kind[at]),
            &mut |_| {},
        )?;
        let mut first = 1;
        let mut thumbs = thumbs.into_iter().peekable();
        while thumbs.peek().is_some() {
            let block: Vec<Thumb> = thumbs.by_ref().take(BLOCK).collect();
            let last = first + block.len() - 1;
            let title = match of_kind.len() {
                all if all <= BLOCK => format!("{}: {all}", kind.title(targeted)),
                all => format!("{}, {first} to {last} of {all}", kind.title(targeted)),
            };
            first = last + 1;
            place(&mut sheets, title, block);
        }
    }
    Ok(sheets)
}

/// Adds a block to the last page if it fits, else to a new one.
fn place(sheets: &mut Vec<Sheet>, title: String, thumbs: Vec<Thumb>) {
    let size = |thumb: &Thumb| AROUND + thumb.address.as_ref().map_or(0, String::len);
    let bytes: usize = thumbs.iter().map(size).sum();
    let has_room = sheets.last().is_some_and(|sheet| {
        sheet.thumbs == 0
            || (sheet.thumbs + thumbs.len() <= SHEET && sheet.bytes + bytes <= SHEET_BYTES)
    });
    if !has_room {
        sheets.push(Sheet::default());
    }
    if let Some(sheet) = sheets.last_mut() {
        sheet.thumbs += thumbs.len();
        sheet.bytes += bytes;
        sheet.blocks.push(Block { title, thumbs });
    }
}

fn thumb(folder: &RunFolder, names: &Names, row: &Row) -> Result<Thumb> {
    let (file, seen) = match (&row.picture, row.saved) {
        (Some(file), Some(saved)) => (file.clone(), saved.seen),
        _ => (RunFolder::original(row.index), row.clean),
    };
    let address = match folder.read_picture(&file) {
        Ok(picture) => Some(thumbnail(&picture)),
        Err(error) if files::is_missing(&error) => None,
        Err(error) => return Err(error),
    };
    Ok(Thumb {
        index: row.index,
        file,
        address,
        truth: names.of(row.label),
        label: names.of(seen.label),
        colour: colour(seen, row),
    })
}
