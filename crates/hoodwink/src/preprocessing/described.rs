//! Preprocessing from files of timm and Hugging Face, and from names.

use std::path::Path;

use serde_json::Value;

use super::{
    Preprocessing, hugging_face,
    named::{named, names},
    timm,
};
use crate::{
    Error, Result,
    data::{Crop, Interpolation, Resize},
    files, legible,
    nearest::did_you_mean,
};

/// The maximum size of a description, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The whole preparation of a picture: on loading, and in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// The steps in the graph.
    pub preprocessing: Preprocessing,
    /// The size to scale to.
    pub resize: Option<Resize>,
    /// The filter for scaling.
    pub interpolation: Interpolation,
    /// The centre crop.
    pub crop: Option<Crop>,
}

/// Presets: name, short side, crop, interpolation, mean and standard deviation.
type Preset = (
    &'static str,
    usize,
    usize,
    Interpolation,
    [f32; 3],
    [f32; 3],
);

pub(super) const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
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
    /// Reads preprocessing by name, or from timm's `config.json` or Hugging Face's `preprocessor_config.json`. If the
    /// latter does not name its image processor, the `config.json` beside it does.
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
                crop: Some(Crop::square(crop)),
            });
        }
        let path = Path::new(source);
        if !path.exists() {
            let names = names().chain(PRESETS.iter().map(|preset| preset.0));
            let names: Vec<&str> = names.collect();
            return Err(Error::invalid(format!(
                "{source:?} is neither a file nor a known preprocessing{} (known: {})",
                did_you_mean(source, names.iter().copied()),
                names.join(", ")
            )));
        }
        let text = files::read_text(path, MAX_BYTES)?;
        let beside = path.with_file_name("config.json");
        let beside = files::read_text(&beside, MAX_BYTES).ok();
        // The error may quote a value as long as the file.
        Self::parse(&text, beside.as_deref())
            .map_err(|what| Error::invalid(format!("{source}: {}", legible::line(&what))))
    }

    /// Parses the text of a file, with that of the model's configuration beside it. Errors are sentences without a
    /// subject.
    pub(super) fn parse(text: &str, config: Option<&str>) -> Result<Self, String> {
        let file: Value =
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        // Newer files put the image processor under this key.
        let file = match file.get("image_processor") {
            Some(part) if part.is_object() => part,
            _ => &file,
        };
        let timm_config = file.get("pretrained_cfg").unwrap_or(file);
        if timm_config.get("input_size").is_some() {
            return timm::read(timm_config);
        }
        if hugging_face::is_one(file) {
            let config: Option<Value> = config.and_then(|text| serde_json::from_str(text).ok());
            let model = config.as_ref().and_then(|config| config.get("model_type"));
            return hugging_face::read(file, model.and_then(Value::as_str));
        }
        Err(match file.get("model_type").is_some() {
            true => "describes a model, not its preprocessing; choose the preprocessor_config.json beside it".into(),
            false => "is neither timm's config.json (pretrained_cfg) nor a preprocessor_config.json".into(),
        })
    }
}

fn normalised(mean: Vec<f32>, std: Vec<f32>) -> Preprocessing {
    Preprocessing {
        mean,
        std,
        ..Preprocessing::default()
    }
}

pub(super) fn side(value: &Value, key: &str) -> Result<usize, String> {
    let side = value.as_u64().and_then(|side| usize::try_from(side).ok());
    side.filter(|&side| (1..=1 << 16).contains(&side))
        .ok_or_else(|| format!("has {value} for {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::HalfPixel, preprocessing::Channels};

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
            let found = Described::parse(&text, None).unwrap();
            assert_eq!(found.resize, Some(Resize::ShortSide(short_side)), "{name}");
            assert_eq!(found.crop, Some(Crop::square(crop)), "{name}");
            assert_eq!(found.interpolation, Interpolation::Bicubic, "{name}");
        }
    }

    #[test]
    fn files_that_name_no_processor_are_read_where_all_agree() {
        let normalised =
            r#""do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]"#;
        let exact = |height, width| Resize::Exact { height, width };
        let cropped = |height, width| Crop {
            half_pixel: HalfPixel::Down,
            height,
            width,
        };
        for (rest, resize, crop, bgr) in [
            (
                r#""do_resize": true, "resample": 3, "size": 224"#,
                Some(exact(224, 224)),
                None,
                false,
            ),
            (
                r#""do_resize": true, "resample": 3, "size": {"height": 96, "width": 160}"#,
                Some(exact(96, 160)),
                None,
                false,
            ),
            (
                r#""do_resize": true, "resample": 3, "size": {"shortest_edge": 256}, "do_center_crop": true, "crop_size": 224"#,
                Some(Resize::ShortSide(256)),
                Some(cropped(224, 224)),
                false,
            ),
            (
                r#""do_resize": false, "do_center_crop": true, "crop_size": {"height": 9, "width": 7}, "do_pad": false"#,
                None,
                Some(cropped(9, 7)),
                false,
            ),
            (
                r#""do_resize": false, "do_flip_channel_order": true"#,
                None,
                None,
                true,
            ),
        ] {
            for text in [
                format!("{{{normalised}, {rest}}}"),
                format!("{{\"image_processor\": {{{normalised}, {rest}}}, \"tokenizer\": {{}}}}"),
            ] {
                let found = Described::parse(&text, None).unwrap();
                assert_eq!((found.resize, found.crop), (resize, crop), "{text}");
                assert_eq!(found.preprocessing.mean, [0.5; 3], "{text}");
                assert_eq!(found.preprocessing.channels == Channels::Bgr, bgr, "{text}");
            }
        }
    }

    #[test]
    fn the_processor_of_the_model_beside_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preprocessor_config.json");
        let file = r#"{"do_resize": true, "resample": 3, "size": 224, "do_center_crop": true, "crop_size": 224}"#;
        std::fs::write(&path, file).unwrap();
        let read = || Described::read(path.to_str().unwrap());
        assert!(read().unwrap_err().to_string().contains("config.json"));
        for (model, resize) in [
            ("clip", Resize::ShortSide(224)),
            ("levit", Resize::ShortSide(256)),
            (
                "deit",
                Resize::Exact {
                    height: 224,
                    width: 224,
                },
            ),
        ] {
            let config = format!(r#"{{"model_type": "{model}"}}"#);
            std::fs::write(folder.path().join("config.json"), config).unwrap();
            assert_eq!(read().unwrap().resize, Some(resize), "{model}");
        }
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"model_type": "detr"}"#,
        )
        .unwrap();
        assert!(read().unwrap_err().to_string().contains("\"detr\""));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, says) in [
            ("[1", "is not JSON"),
            ("{}", "neither timm's"),
            (r#"{"input_size": [3, 224]}"#, "input_size"),
            (
                r#"{"input_size": [3, 224, 224], "crop_mode": "border"}"#,
                "border",
            ),
            (r#"{"input_size": [3, 224, 224], "mean": ["a"]}"#, "mean"),
            (r#"{"input_size": [3, 224, 160]}"#, "rectangles"),
            (
                r#"{"input_size": [3, 224, 224], "interpolation": "random"}"#,
                "random",
            ),
            (
                r#"{"input_size": [3, 224, 224], "crop_pct": 1.5}"#,
                "crop_pct 1.5",
            ),
            (
                r#"{"model_type": "vit", "hidden_size": 768}"#,
                "preprocessor_config.json",
            ),
            // No processor is named: what depends on it is refused.
            (r#"{"do_resize": true, "resample": 2, "size": 0}"#, "size"),
            (
                r#"{"do_resize": true, "resample": 2, "size": 224, "do_center_crop": true, "crop_size": 224}"#,
                "what the size 224 means",
            ),
            (
                r#"{"do_resize": true, "resample": 2, "size": {"shortest_edge": 224}}"#,
                "what shortest_edge means",
            ),
            (
                r#"{"do_resize": true, "resample": 2, "size": 224, "crop_pct": 0.9}"#,
                "what crop_pct means",
            ),
            (r#"{"do_resize": true, "size": 224}"#, "lacks resample"),
            (r#"{"do_rescale": true, "size": 224}"#, "lacks do_resize"),
            (
                r#"{"do_rescale": true, "image_mean": 0.5}"#,
                "lacks do_normalize",
            ),
            (
                r#"{"do_resize": false, "do_normalize": true}"#,
                "image_mean",
            ),
            (
                r#"{"do_resize": false, "do_normalize": true, "image_mean": 0.5, "image_std": 0}"#,
                "image_std",
            ),
            (
                r#"{"do_resize": true, "size": 1, "resample": 6}"#,
                "resample",
            ),
            (
                r#"{"do_resize": false, "rescale_factor": -0.5}"#,
                "rescale_factor",
            ),
            (
                r#"{"do_resize": false, "include_top": true}"#,
                "what include_top means",
            ),
            // A processor is named.
            (
                r#"{"image_processor_type": "DetrImageProcessor"}"#,
                "DetrImageProcessor",
            ),
            (
                r#"{"image_processor_type": "PerceiverImageProcessor"}"#,
                "PerceiverImageProcessor",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "do_pad": true}"#,
                "do_pad",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 224}}"#,
                "height and width",
            ),
            (
                r#"{"image_processor_type": "ConvNextImageProcessor", "size": {"height": 224, "width": 224}}"#,
                "shortest_edge",
            ),
            (
                r#"{"image_processor_type": "CLIPImageProcessor", "size": {"longest_edge": 224}}"#,
                "longest_edge",
            ),
            (
                r#"{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224, "longest_edge": 500}}"#,
                "longest_edge",
            ),
            (
                r#"{"image_processor_type": "CLIPImageProcessor", "crop_size": {"shortest_edge": 224}}"#,
                "crop_size",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "do_resize": "yes"}"#,
                "do_resize",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "image_mean": [0.5, 0.5]}"#,
                "image_mean",
            ),
        ] {
            let error = Described::parse(text, None).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = Described::read("torchvison").unwrap_err().to_string();
        assert!(error.contains("torchvision-v2"), "{error}");
    }
}
