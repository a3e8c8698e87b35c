//! Compares the pictures in JPEG files with another decoder's results, as a Markdown table.
//!
//! `cargo xtask measure jpeg` creates the folder and runs this: `FOLDER/KIND/NAME.jpg` with `NAME.png`.

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use hoodwink::image::Picture;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("name the folder of JPEGs")?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| JPEG | files | equal | within 1 | within 2 | largest difference |\n|---|---:|---:|---:|---:|---:|"
    )?;
    for kind in sorted(Path::new(&folder))? {
        let mut differences = Differences::default();
        let files = sorted(&kind)?;
        let files = files
            .iter()
            .filter(|file| file.extension().is_some_and(|ending| ending == "jpg"));
        for file in files {
            differences.add(&read(file)?, &read(&file.with_extension("png"))?)?;
        }
        let name = kind.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split_once(' ').map_or(&*name, |(_, name)| name);
        // The hyphen replaces a colon in the names of folders.
        let name = name.replace('-', ":");
        writeln!(out, "| {} |", differences.cells(&name).join(" | "))?;
    }
    Ok(())
}

fn sorted(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Outcome<Picture> {
    Ok(Picture::decode(
        &fs::read(path)?,
        &path.display().to_string(),
    )?)
}

/// The number of values by the size of their difference.
struct Differences {
    files: usize,
    by_level: [usize; 256],
}

impl Default for Differences {
    fn default() -> Self {
        Self {
            files: 0,
            by_level: [0; 256],
        }
    }
}

impl Differences {
    fn add(&mut self, ours: &Picture, theirs: &Picture) -> Outcome<()> {
        let shape = |picture: &Picture| [picture.channels(), picture.height(), picture.width()];
        if shape(ours) != shape(theirs) {
            return Err(format!("shapes {:?} and {:?} differ", shape(ours), shape(theirs)).into());
        }
        self.files += 1;
        for (&ours, &theirs) in ours.bytes().iter().zip(theirs.bytes()) {
            self.by_level[usize::from(ours.abs_diff(theirs))] += 1;
        }
        Ok(())
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let all: usize = self.by_level.iter().sum();
        let within = |most: usize| {
            let count: usize = self.by_level[..=most].iter().sum();
            // Rounded down, so that 100% means all.
            let share = (100_000.0 * count as f64 / all as f64).floor() / 1000.0;
            format!("{share:.3}%")
        };
        let largest = self.by_level.iter().rposition(|&count| count > 0);
        vec![
            name.to_owned(),
            self.files.to_string(),
            within(0),
            within(1),
            within(2),
            largest.unwrap_or_default().to_string(),
        ]
    }
}
