//! Times many questions about one picture, answered by one worker and by two.
//!
//! ```sh
//! cargo run --release --example questions -- MODEL [rten|ort] [QUESTIONS]
//! ```
//!
//! Prints medians of seven rounds in which both take turns. Compilation does not count.

use std::{io::Write as _, path::Path, time::Instant};

use hoodwink::{
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{
        Halt, Scores,
        pool::{Model, Parallelism, drive},
    },
    preprocessing::Preprocessing,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(model) = arguments.first() else {
        return Err("name a model".into());
    };
    let choice = match arguments.get(1).map(String::as_str) {
        Some("ort") => Choice::Ort,
        _ => Choice::Rten,
    };
    let questions: usize = arguments.get(2).map_or(Ok(1000), |count| count.parse())?;
    let engine = engine::open(choice)?;
    let model = Classifier::open(Path::new(model), &Preprocessing::default(), engine)?;
    let [channels, height, width] = model.input();
    let values = channels * height * width;
    let image = |at: usize| {
        let value = |k: usize| ((k * 31 + at * 17) % 256) as f32 / 255.0;
        Image::new(model.input(), (0..values).map(value).collect())
    };
    let images = (0..questions).map(image).collect::<Result<Vec<_>, _>>()?;
    let mut seconds = [Vec::new(), Vec::new()];
    // The first round compiles.
    for round in 0..8 {
        for (threads, seconds) in [1, 2].into_iter().zip(&mut seconds) {
            let took = ask(&model, &images, threads)?;
            if round > 0 {
                seconds.push(took);
            }
        }
    }
    let [one, two] = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    writeln!(
        std::io::stdout(),
        "{questions} questions about one picture: one worker {one:.3} s, two {two:.3} s, {:.2} times as fast",
        one / two
    )?;
    Ok(())
}

fn ask(model: &dyn Model, images: &[Image], threads: usize) -> Outcome<f64> {
    let begun = Instant::now();
    drive(
        &[model],
        Parallelism { threads, batch: 1 },
        std::iter::once(()),
        &Halt::new(),
        |(), handle| {
            Box::pin(async move { Ok(Scores::of(&handle).logits_of(images).await?.len()) })
        },
        |_| Ok(()),
    )?;
    Ok(begun.elapsed().as_secs_f64())
}
