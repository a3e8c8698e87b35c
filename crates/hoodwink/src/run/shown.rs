//! What the report shows beyond the rows, computed once a run is complete: the model's answers to perturbations alone,
//! for the pictures that are shown, and the gradient at the original of the picture whose key stages are shown.

use crate::{
    Result,
    attacks::{Attack, LossName},
    image::{Image, Picture},
    judge::seen,
    oracle::{
        Access, Objective,
        pool::{Model, Worker},
    },
    report::{self, Perturbation},
    results::{NoiseSeen, Row, RunFolder},
};

/// Share of a gradient's values shown without clipping. Without clipping, a few largest values would hide all others.
const SHOWN: f64 = 0.98;

/// Writes the answers into the folder, unless they exist.
pub(super) fn ask(folder: &RunFolder, model: &dyn Model) -> Result<()> {
    if folder.noise()?.is_some() {
        return Ok(());
    }
    let (rows, staged) = report::shown(folder)?;
    if rows.is_empty() {
        return folder.write_noise(&[]);
    }
    let mut worker = model.worker()?;
    let answers = rows
        .iter()
        .filter_map(|row| noise(folder, row, &mut *worker).transpose());
    let answers = answers.collect::<Result<Vec<_>>>()?;
    if let Some(row) = staged
        && let Some(gradient) = gradient(folder, &row, model.classes(), &mut *worker)?
    {
        folder.write_gradient(row.index, &gradient)?;
    }
    folder.write_noise(&answers)
}

/// Asks for one answer at a time: none depends on the others, and memory may be short.
fn noise(folder: &RunFolder, row: &Row, worker: &mut dyn Worker) -> Result<Option<NoiseSeen>> {
    let Some(picture) = &row.picture else {
        return Ok(None);
    };
    let original = folder.read_picture(&RunFolder::original(row.index))?;
    let adversarial = folder.read_picture(picture)?;
    let Perturbation { picture, .. } = report::perturbation(&original, &adversarial)?;
    let logits = worker.logits(&[&picture.to_image()])?;
    let first = logits.first();
    Ok(first.map(|logits| NoiseSeen::of(row, seen(logits))))
}

/// Returns the gradient of the row's attack at the original; `None` if the attack uses no gradients or the gradient is
/// zero.
fn gradient(
    folder: &RunFolder,
    row: &Row,
    classes: usize,
    worker: &mut dyn Worker,
) -> Result<Option<Picture>> {
    let Ok(attack) = Attack::parse(&row.recipe) else {
        return Ok(None);
    };
    if attack.access() != Access::Gradients {
        return Ok(None);
    }
    let loss = attack.loss().unwrap_or(LossName::Ce);
    let objective = Objective::Loss {
        loss: loss.resolve(row.target.is_some(), classes)?,
        label: row.label as usize,
        target: row.target.map(|target| target as usize),
    };
    let original = folder.read_picture(&RunFolder::original(row.index))?;
    let found = worker.differentials(&[&original.to_image()], &[&objective])?;
    let found = found.first();
    Ok(found.and_then(|found| as_picture(&found.gradient)))
}

/// Shows a gradient as a picture: mid-grey is zero, white positive, black negative. `None` if it is zero everywhere.
fn as_picture(gradient: &Image) -> Option<Picture> {
    let mut sizes: Vec<f32> = gradient.pixels().iter().map(|g| g.abs()).collect();
    sizes.retain(|size| size.is_finite());
    sizes.sort_by(f32::total_cmp);
    let at = (SHOWN * sizes.len() as f64) as usize;
    let largest = *sizes.last()?;
    let size = sizes
        .get(at)
        .copied()
        .filter(|size| *size > 0.0)
        .unwrap_or(largest);
    if size <= 0.0 {
        return None;
    }
    let level = |g: &f32| 0.5 + 0.5 * (g / size).clamp(-1.0, 1.0);
    let finite = |level: f32| if level.is_finite() { level } else { 0.5 };
    let pixels = gradient.pixels().iter().map(level).map(finite).collect();
    Some(Image::new(gradient.shape(), pixels).ok()?.to_picture())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_is_white_where_it_rises_and_black_where_it_falls() {
        let image = |pixels: &[f32]| Image::new([1, 1, pixels.len()], pixels.to_vec()).unwrap();
        let shown = as_picture(&image(&[2.0, -2.0, 0.0, f32::NAN, 1.0])).unwrap();
        assert_eq!(shown.bytes(), [255, 0, 128, 128, 191]);
        assert!(as_picture(&image(&[0.0, 0.0])).is_none());
        assert!(as_picture(&image(&[f32::NAN])).is_none());
    }
}
