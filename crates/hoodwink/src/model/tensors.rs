//! Converts questions to tensors and tensors to answers.

use std::sync::Arc;

use onnx_grad::Tensor;

use crate::{
    Error, Result,
    engine::Executable,
    image::Image,
    oracle::{Differential, Linear, Objective},
};

/// With a smaller factor the gradient would vanish in 32-bit floats, and its direction matters more than its size.
const LEAST_SCALE: f64 = 1e-30;

/// Reads the outputs of the forward graph.
pub(super) fn logits(
    executable: &mut dyn Executable,
    input: [usize; 3],
    images: &[&Image],
) -> Result<Vec<Vec<f32>>> {
    let [logits] = executable
        .run(&[stack(images, input)?])?
        .try_into()
        .map_err(|_| unexpected())?;
    Ok(rows(&logits, images.len())?.map(<[f32]>::to_vec).collect())
}

/// Reads the outputs of the gradient graph.
pub(super) fn differentials(
    executable: &mut dyn Executable,
    input: [usize; 3],
    classes: usize,
    questions: &[(&Image, &Objective)],
) -> Result<Vec<Differential>> {
    let count = questions.len();
    let images: Vec<&Image> = questions.iter().map(|(image, _)| *image).collect();
    let mut inputs = vec![stack(&images, input)?];
    inputs.extend(heads(questions, classes)?);
    let answered = executable.run(&inputs)?;
    // Free them before the answers are copied.
    drop(inputs);
    let [logits, gradient] = answered.try_into().map_err(|_| unexpected())?;
    let answers = rows(&logits, count)?.zip(rows(&gradient, count)?);
    let questions = questions.iter().map(|(_, objective)| *objective);
    answers
        .zip(questions)
        .map(|((logits, gradient), objective)| {
            let scale = objective.scale(logits).max(LEAST_SCALE);
            let gradient = match scale == 1.0 {
                true => gradient.to_vec(),
                false => gradient
                    .iter()
                    .map(|&g| (f64::from(g) * scale) as f32)
                    .collect(),
            };
            Ok(Differential {
                loss: objective.value(logits)?,
                gradient: Image::new(input, gradient)?,
                logits: logits.to_vec(),
            })
        })
        .collect()
}

/// Returns objectives as the rows that the gradient graph takes: `linear`, `out`, `pull`, `hard`, `spread`, `floor`.
fn heads(questions: &[(&Image, &Objective)], classes: usize) -> Result<Vec<Tensor>> {
    let count = questions.len();
    let ranks = classes.min(4);
    let mut linear = vec![0.0; count * classes];
    let mut out = vec![0.0; count * classes];
    let (mut pull, mut hard, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    let mut spread = Vec::with_capacity(count * ranks);
    let rows = linear
        .chunks_exact_mut(classes)
        .zip(out.chunks_exact_mut(classes));
    for ((_, objective), (linear, out)) in questions.iter().zip(rows) {
        let head = objective.head(classes)?;
        match head.linear {
            Linear::At(terms) => {
                for (class, weight) in terms {
                    linear[class] += weight;
                }
            }
            Linear::Times(factor, weights) => {
                for (linear, weight) in linear.iter_mut().zip(weights) {
                    *linear = factor * weight;
                }
            }
        }
        if let Some(class) = head.out {
            out[class] = f32::MIN;
        }
        pull.push(head.pull);
        hard.push(head.hard);
        spread.extend(&head.spread[..ranks]);
        floor.push(head.floor);
    }
    Ok(vec![
        Tensor::f32([count, classes], linear)?,
        Tensor::f32([count, classes], out)?,
        Tensor::f32([count, 1], pull)?,
        Tensor::bool([count, 1], hard)?,
        Tensor::f32([count, ranks], spread)?,
        Tensor::f32([count, 1], floor)?,
    ])
}

/// Stacks images as `[N, C, H, W]`.
fn stack(images: &[&Image], [channels, height, width]: [usize; 3]) -> Result<Tensor> {
    let size = channels * height * width;
    // Written in place, because a vector would have to be copied.
    let mut values: Arc<[f32]> = std::iter::repeat_n(0.0, images.len() * size).collect();
    let places = Arc::make_mut(&mut values).chunks_exact_mut(size.max(1));
    for (image, place) in images.iter().zip(places) {
        if image.shape() != [channels, height, width] {
            return Err(Error::invalid(format!(
                "the model takes pictures of {channels} channels, {height}x{width}, but got {:?}; resize and \
                 crop the pictures to fit",
                image.shape()
            )));
        }
        place.copy_from_slice(image.pixels());
    }
    Ok(Tensor::f32(
        [images.len(), channels, height, width],
        values,
    )?)
}

/// Returns the values of each of `count` pictures.
fn rows(tensor: &Tensor, count: usize) -> Result<impl Iterator<Item = &[f32]>> {
    let values = tensor.as_f32().ok_or_else(unexpected)?;
    if count == 0 || values.is_empty() || values.len() % count != 0 {
        return Err(unexpected());
    }
    Ok(values.chunks_exact(values.len() / count))
}

fn unexpected() -> Error {
    Error::invalid("the engine's answer has another shape than the graph declares")
}
