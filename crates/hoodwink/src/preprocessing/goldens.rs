//! Compares descriptions with what timm and transformers do to pictures (goldens/preprocessing.py).

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Channels, Described, Preprocessing};
use crate::{
    data::{Transform, hex},
    engine,
    image::{Image, Picture},
};

#[derive(Deserialize)]
struct Entry {
    name: String,
    file: String,
    config: Option<String>,
    /// The results for 0 and 255, per channel in the model's order.
    lines: [[f32; 2]; 3],
    pictures: Vec<Prepared>,
}

#[derive(Deserialize)]
struct Prepared {
    before: [usize; 2],
    after: [usize; 2],
    sha256: String,
}

fn entries(file: &str) -> Vec<Entry> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}

/// Draws the same picture as goldens/preprocessing.py.
fn picture(height: usize, width: usize) -> Picture {
    let value = |y: usize, x: usize, c: usize| {
        x * (5 + c) + y * (3 + 2 * c) + (x * y) % (17 + c) * 7 + (x ^ y) * c
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let bytes = places.flat_map(|(y, x)| [0, 1, 2].map(|c| (value(y, x, c) % 256) as u8));
    Picture::new(3, height, width, bytes.collect()).unwrap()
}

/// Returns planes in the model's order.
fn planes(picture: &Picture, channels: Channels) -> Vec<u8> {
    let order = match channels {
        Channels::Rgb => [0, 1, 2],
        Channels::Bgr => [2, 1, 0],
    };
    let pixels = picture.bytes().chunks_exact(3);
    (order.into_iter())
        .flat_map(|channel| pixels.clone().map(move |pixel| pixel[channel]))
        .collect()
}

fn line(preprocessing: &Preprocessing) -> [[f32; 2]; 3] {
    let engine = engine::open(engine::Choice::Rten).unwrap();
    let fed = [0.0, 1.0].map(|level| {
        let image = Image::new([3, 1, 1], vec![level; 3]).unwrap();
        let fed = preprocessing.run(engine.as_ref(), &image).unwrap();
        fed.pixels().to_vec()
    });
    [0, 1, 2].map(|channel| [fed[0][channel], fed[1][channel]])
}

#[test]
fn descriptions_mean_what_their_own_code_does() {
    let (mut configurations, mut pictures) = (0, 0);
    for entry in ["transformers.json", "timm.json"]
        .into_iter()
        .flat_map(entries)
    {
        let name = &entry.name;
        let found = Described::parse(&entry.file, entry.config.as_deref());
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (found, expected) in line(&found.preprocessing)
            .iter()
            .flatten()
            .zip(entry.lines.iter().flatten())
        {
            let scale = expected.abs().max(1.0);
            assert!(
                (found - expected).abs() < 1e-5 * scale,
                "{name}: {found} for {expected}"
            );
        }
        let transform = Transform {
            channels: Some(3),
            resize: found.resize,
            interpolation: found.interpolation,
            crop: found.crop,
        };
        for Prepared {
            before,
            after,
            sha256,
        } in &entry.pictures
        {
            let prepared = transform.apply(picture(before[0], before[1])).unwrap();
            assert_eq!(
                [prepared.height(), prepared.width()],
                *after,
                "{name} {before:?}"
            );
            let digest = Sha256::digest(planes(&prepared, found.preprocessing.channels));
            assert_eq!(hex(&digest), *sha256, "{name} {before:?}: {found:?}");
            pictures += 1;
        }
        configurations += 1;
    }
    assert!(
        configurations == 59 && pictures == 4 * 59,
        "{configurations}, {pictures}"
    );
}
