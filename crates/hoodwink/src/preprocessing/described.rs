//! Preprocessing as others describe it: files of timm and Hugging Face, and presets by name.

use std::path::Path;

use serde_json::Value;

use super::{
    InputRange, Preprocessing,
    named::{named, names},
};
use crate::{
    Error, Result,
    data::{Interpolation, Resize},
    files, legible,
    nearest::did_you_mean,
};

/// The largest description that is read.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// What is done to a picture before the first layer, and before that, when it is loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// Part of the graph.
    pub preprocessing: Preprocessing,
    /// The size to scale to.
    pub resize: Option<Resize>,
    /// How it is scaled.
    pub interpolation: Interpolation,
    /// Side of the square cut from the centre.
    pub crop: Option<usize>,
}

/// Presets: name, short side, crop, interpolation, mean and deviation.
type Preset = (
    &'static str,
    usize,
    usize,
    Interpolation,
    [f32; 3],
    [f32; 3],
);

const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const CLIP: ([f32; 3], [f32; 3]) = (
    [0.481_454_66, 0.457_827_5, 0.408_210_73],
    [0.268_629_54, 0.261_302_6, 0.275_777_1],
);

const PRESETS: [Preset; 4] = [
    (
        "torchvision",
        256,
        224,
        Interpolation::Bilinear,
        IMAGENET.0,
        IMAGENET.1,
    ),
    (
        "torchvision-v2",
        232,
        224,
        Interpolation::Bilinear,
        IMAGENET.0,
        IMAGENET.1,
    ),
    (
        "torchvision-inception",
        342,
        299,
        Interpolation::Bilinear,
        IMAGENET.0,
        IMAGENET.1,
    ),
    ("clip", 224, 224, Interpolation::Bicubic, CLIP.0, CLIP.1),
];

impl Described {
    /// Preprocessing by its name, or a file: timm's `config.json` or Hugging Face's `preprocessor_config.json`.
    pub fn read(source: &str) -> Result<Self> {
        if let Some(named) = named(source) {
            return Ok(named);
        }
        if let Some(&(_, side, crop, interpolation, mean, std)) =
            PRESETS.iter().find(|preset| preset.0 == source)
        {
            return Ok(Self {
                preprocessing: normalised(mean.to_vec(), std.to_vec()),
                resize: Some(Resize::ShortSide(side)),
                interpolation,
                crop: Some(crop),
            });
        }
        let path = Path::new(source);
        if !path.exists() {
            let names = names().chain(PRESETS.iter().map(|preset| preset.0));
            let names: Vec<&str> = names.collect();
            return Err(Error::invalid(format!(
                "{source:?} is no file, and no preset{} (there are {})",
                did_you_mean(source, names.iter().copied()),
                names.join(", ")
            )));
        }
        let text = files::read_text(path, MAX_BYTES)?;
        // What is wrong may be as long as the file.
        Self::parse(&text)
            .map_err(|what| Error::invalid(format!("{source}: {}", legible::name(&what))))
    }

    /// From the text of a file; errors are sentences without a subject.
    fn parse(text: &str) -> Result<Self, String> {
        let file: Value =
            serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        if file.get("image_mean").is_some()
            || file.get("image_processor_type").is_some()
            || file.get("do_resize").is_some()
        {
            return hugging_face(&file);
        }
        let config = file.get("pretrained_cfg").unwrap_or(&file);
        match config.get("input_size").is_some() {
            true => timm(config),
            false => Err(
                "is neither timm's config.json (pretrained_cfg) nor a preprocessor_config.json"
                    .into(),
            ),
        }
    }
}

fn normalised(mean: Vec<f32>, std: Vec<f32>) -> Preprocessing {
    Preprocessing {
        mean,
        std,
        ..Preprocessing::default()
    }
}

fn floats(config: &Value, key: &str) -> Result<Vec<f32>, String> {
    let values = config
        .get(key)
        .and_then(Value::as_array)
        .ok_or_else(|| format!("lacks {key}"))?;
    values
        .iter()
        .map(|value| {
            value
                .as_f64()
                .map(|value| value as f32)
                .ok_or_else(|| format!("has {value} in {key}"))
        })
        .collect()
}

fn side(value: &Value, key: &str) -> Result<usize, String> {
    let side = value.as_u64().and_then(|side| usize::try_from(side).ok());
    side.filter(|&side| (1..=1 << 16).contains(&side))
        .ok_or_else(|| format!("has {value} for {key}"))
}

/// The short side is scaled to `floor(side / crop_pct)`, and `side` is cut from the centre.
fn timm(config: &Value) -> Result<Described, String> {
    let sizes = config["input_size"].as_array().map(Vec::as_slice);
    let Some([_, height, width]) = sizes else {
        return Err("has an input_size that is not [channels, height, width]".into());
    };
    let (height, width) = (side(height, "input_size")?, side(width, "input_size")?);
    if height != width {
        return Err(format!(
            "wants pictures of {height}x{width}; squares are cut"
        ));
    }
    let share = config
        .get("crop_pct")
        .and_then(Value::as_f64)
        .unwrap_or(0.875);
    if !(share > 0.0 && share <= 1.0) {
        return Err(format!("has the crop_pct {share}"));
    }
    let scaled = (height as f64 / share).floor() as usize;
    let resize = match config
        .get("crop_mode")
        .and_then(Value::as_str)
        .unwrap_or("center")
    {
        "center" => Resize::ShortSide(scaled),
        "squash" => Resize::Exact {
            height: scaled,
            width: scaled,
        },
        other => {
            return Err(format!(
                "has the crop_mode {other:?}; center and squash are known"
            ));
        }
    };
    let interpolation = match config
        .get("interpolation")
        .and_then(Value::as_str)
        .unwrap_or("bilinear")
    {
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        "lanczos" => Interpolation::Lanczos,
        other => {
            return Err(format!(
                "has the interpolation {other:?}; bilinear, bicubic and lanczos are known"
            ));
        }
    };
    Ok(Described {
        preprocessing: normalised(floats(config, "mean")?, floats(config, "std")?),
        resize: Some(resize),
        interpolation,
        crop: Some(height),
    })
}

fn hugging_face(config: &Value) -> Result<Described, String> {
    let does = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let mut described = Described {
        interpolation: match config.get("resample").and_then(Value::as_u64).unwrap_or(2) {
            1 => Interpolation::Lanczos,
            2 => Interpolation::Bilinear,
            3 => Interpolation::Bicubic,
            other => {
                return Err(format!(
                    "has the resample {other}; 1, 2 and 3 (Lanczos, bilinear, bicubic) are known"
                ));
            }
        },
        ..Described::default()
    };
    let mut crop = match does("do_center_crop") {
        true => Some(square(&config["crop_size"], "crop_size")?),
        false => None,
    };
    if does("do_resize") {
        let size = &config["size"];
        // ConvNeXt's processor scales small sizes to more, and cuts the size from the centre.
        let share = config.get("crop_pct").and_then(Value::as_f64);
        described.resize = Some(match (size.get("shortest_edge"), size.get("height")) {
            (Some(short), _) => {
                let short = side(short, "shortest_edge")?;
                match share.filter(|share| short < 384 && *share > 0.0) {
                    Some(share) => {
                        crop = Some(short);
                        Resize::ShortSide((short as f64 / share) as usize)
                    }
                    None => Resize::ShortSide(short),
                }
            }
            (None, Some(height)) => Resize::Exact {
                height: side(height, "height")?,
                width: side(&size["width"], "width")?,
            },
            // A number is both sides, except where a crop follows.
            _ => {
                let both = side(size, "size")?;
                match crop {
                    Some(_) => Resize::ShortSide(both),
                    None => Resize::Exact {
                        height: both,
                        width: both,
                    },
                }
            }
        });
    }
    described.crop = crop;
    // Without a word pixels are scaled to 0 to 1.
    let rescales = config
        .get("do_rescale")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let factor = config
        .get("rescale_factor")
        .and_then(Value::as_f64)
        .unwrap_or(1.0 / 255.0);
    if rescales && (factor * 255.0 - 1.0).abs() > 1e-3 {
        return Err(format!("has the rescale_factor {factor}; 1/255 is known"));
    }
    if does("do_normalize") {
        if !rescales {
            return Err("normalises without rescaling to 0 to 1".into());
        }
        described.preprocessing =
            normalised(floats(config, "image_mean")?, floats(config, "image_std")?);
    } else if !rescales {
        described.preprocessing.input_range = InputRange::ZeroTo255;
    }
    Ok(described)
}

/// A size that must be a square.
fn square(size: &Value, key: &str) -> Result<usize, String> {
    match (size.get("height"), size.get("width")) {
        (Some(height), Some(width)) if height == width => side(height, key),
        (None, None) => side(size, key),
        _ => Err(format!("has the {key} {size}; squares are cut")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: [f32; 3] = [0.5; 3];

    #[test]
    fn files_of_others_are_understood() {
        let exact = |side| Resize::Exact {
            height: side,
            width: side,
        };
        for (text, resize, crop, interpolation, mean) in [
            (
                r#"{"architecture": "vit", "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bicubic",
                    "crop_pct": 0.9, "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#,
                Resize::ShortSide(248),
                Some(224),
                Interpolation::Bicubic,
                HALF,
            ),
            (
                r#"{"input_size": [3, 288, 288], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic",
                    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}"#,
                exact(288),
                Some(288),
                Interpolation::Bicubic,
                IMAGENET.0,
            ),
            (
                r#"{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
                    "resample": 2, "size": {"height": 224, "width": 224}}"#,
                exact(224),
                None,
                Interpolation::Bilinear,
                HALF,
            ),
            (
                r#"{"do_resize": true, "size": {"shortest_edge": 256}, "do_center_crop": true, "crop_size": {"height": 224,
                    "width": 224}, "resample": 3, "do_normalize": true, "image_mean": [0.485, 0.456, 0.406],
                    "image_std": [0.229, 0.224, 0.225], "do_rescale": true, "rescale_factor": 0.00392156862745098}"#,
                Resize::ShortSide(256),
                Some(224),
                Interpolation::Bicubic,
                IMAGENET.0,
            ),
            (
                r#"{"image_processor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "do_resize": true,
                    "size": {"shortest_edge": 224}, "resample": 3, "do_normalize": true,
                    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}"#,
                Resize::ShortSide(256),
                Some(224),
                Interpolation::Bicubic,
                IMAGENET.0,
            ),
        ] {
            let found = Described::parse(text).unwrap();
            assert_eq!(
                (found.resize, found.crop, found.interpolation),
                (Some(resize), crop, interpolation),
                "{text}"
            );
            assert_eq!(found.preprocessing.mean, mean, "{text}");
        }
    }

    /// Numbers of published configurations: `input_size`, `crop_pct` and what only a larger test size would change; then the
    /// short side and the crop of `create_transform(**resolve_data_config(..))` of timm 1.0.31.
    const TIMM: [(&str, usize, f64, &str, usize, usize); 6] = [
        (
            "resnet50.a1_in1k",
            224,
            0.95,
            r#""test_input_size": [3, 288, 288], "test_crop_pct": 1.0,"#,
            235,
            224,
        ),
        ("mobilenetv3_large_100.ra_in1k", 224, 0.875, "", 256, 224),
        (
            "swin_tiny_patch4_window7_224.ms_in1k",
            224,
            0.9,
            r#""fixed_input_size": true,"#,
            248,
            224,
        ),
        ("inception_v3.tv_in1k", 299, 0.875, "", 341, 299),
        ("xception41.tf_in1k", 299, 0.903, "", 331, 299),
        (
            "convnext_tiny.fb_in1k",
            224,
            0.875,
            r#""test_input_size": [3, 288, 288], "test_crop_pct": 1.0,"#,
            256,
            224,
        ),
    ];

    #[test]
    fn configurations_of_timm_mean_what_timm_does() {
        for (name, size, share, rest, short_side, crop) in TIMM {
            let text = format!(
                r#"{{"pretrained_cfg": {{"input_size": [3, {size}, {size}], {rest} "crop_pct": {share},
                    "interpolation": "bicubic", "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}}}"#
            );
            let found = Described::parse(&text).unwrap();
            assert_eq!(found.resize, Some(Resize::ShortSide(short_side)), "{name}");
            assert_eq!(found.crop, Some(crop), "{name}");
            assert_eq!(found.interpolation, Interpolation::Bicubic, "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, says) in [
            ("[1", "is no JSON"),
            ("{}", "neither timm's"),
            (r#"{"input_size": [3, 224]}"#, "input_size"),
            (
                r#"{"input_size": [3, 224, 224], "crop_mode": "border"}"#,
                "border",
            ),
            (r#"{"input_size": [3, 224, 224], "mean": ["a"]}"#, "mean"),
            (r#"{"do_resize": true, "size": 0}"#, "size"),
            (
                r#"{"do_resize": false, "do_normalize": true}"#,
                "image_mean",
            ),
            (
                r#"{"do_resize": false, "rescale_factor": 0.5}"#,
                "rescale_factor",
            ),
            (
                r#"{"do_resize": true, "size": 1, "resample": 0}"#,
                "resample",
            ),
        ] {
            let error = Described::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = Described::read("torchvison").unwrap_err().to_string();
        assert!(error.contains("torchvision-v2"), "{error}");
    }
}
