//! timm's `config.json`, read as `resolve_data_config` and `create_transform` of timm 1.0 read it.

use serde_json::Value;

use super::{
    Described, Preprocessing,
    described::{IMAGENET, side},
    hugging_face::numbers,
};
use crate::data::{Crop, HalfPixel, Interpolation, Resize};

/// Reads `pretrained_cfg`. Errors are sentences without a subject.
///
/// The sides are scaled to `floor(side / crop_pct)`, and the input's size is cropped from the centre. The size that a
/// model was tested with (`test_input_size`) is ignored, as in timm.
pub(super) fn read(config: &Value) -> Result<Described, String> {
    let sizes = config["input_size"].as_array().map(Vec::as_slice);
    let Some([_, height, width]) = sizes else {
        return Err("has an input_size that is not [channels, height, width]".into());
    };
    let (height, width) = (side(height, "input_size")?, side(width, "input_size")?);
    let share = match config.get("crop_pct") {
        None | Some(Value::Null) => 0.875,
        Some(value) => value.as_f64().unwrap_or(f64::NAN),
    };
    if !(share > 0.0 && share <= 1.0) {
        return Err(format!("has the crop_pct {}", config["crop_pct"]));
    }
    let scaled = |side: usize| (side as f64 / share).floor() as usize;
    let text = |key: &str, by_default: &'static str| match config.get(key) {
        None | Some(Value::Null) => Ok(by_default),
        Some(Value::String(word)) if word.is_empty() => Ok(by_default),
        Some(Value::String(word)) => Ok(word.as_str()),
        Some(other) => Err(format!("has {other} for {key}")),
    };
    let resize = match text("crop_mode", "center")? {
        "center" if height == width => Resize::ShortSide(scaled(height)),
        "center" => {
            return Err(format!(
                "has the input_size {height}x{width} with the crop_mode center; rectangles need the crop_mode squash"
            ));
        }
        "squash" => Resize::Exact {
            height: scaled(height),
            width: scaled(width),
        },
        other => {
            return Err(format!(
                "has the unknown crop_mode {other:?}; expected center or squash"
            ));
        }
    };
    let filter = text("interpolation", "bicubic")?;
    let interpolation: Interpolation =
        (filter.parse()).map_err(|error| format!("has the interpolation {filter:?} ({error})"))?;
    let statistics = |key: &str, by_default: [f32; 3]| match config.get(key) {
        None | Some(Value::Null) => Ok(by_default.to_vec()),
        Some(values) => {
            let values = numbers(values, key)?;
            Ok::<_, String>(values.into_iter().map(|value| value as f32).collect())
        }
    };
    Ok(Described {
        preprocessing: Preprocessing {
            mean: statistics("mean", IMAGENET.0)?,
            std: statistics("std", IMAGENET.1)?,
            ..Preprocessing::default()
        },
        resize: Some(resize),
        interpolation,
        crop: Some(Crop {
            height,
            width,
            half_pixel: HalfPixel::ToEven,
        }),
    })
}
