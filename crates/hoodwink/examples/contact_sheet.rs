//! Writes a contact sheet of procedural scenes, with one row per class.
//!
//! `cargo run --release --example contact_sheet -- scenes.png 64 12`
//! (file, side of a picture in pixels, pictures per class)

use hoodwink::Error;
use hoodwink::data::scenes::{CLASSES, Scenes};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "scenes.png".to_owned());
    let side: usize = args.next().map_or(Ok(64), |text| text.parse())?;
    let columns: usize = args.next().map_or(Ok(12), |text| text.parse())?;

    let scenes = Scenes::new(side, 0)?;
    let mut sheet = image::RgbImage::new((columns * side) as u32, (CLASSES.len() * side) as u32);
    for index in 0..columns * CLASSES.len() {
        let scene = scenes.scene(index as u64);
        let (left, top) = (index / CLASSES.len() * side, scene.spec.class() * side);
        for (at, rgb) in scene.picture.bytes().chunks_exact(3).enumerate() {
            let (x, y) = (left + at % side, top + at / side);
            sheet.put_pixel(x as u32, y as u32, image::Rgb([rgb[0], rgb[1], rgb[2]]));
        }
    }
    sheet
        .save(&path)
        .map_err(|e| Error::invalid(format!("{path}: {e}")))?;
    Ok(())
}
