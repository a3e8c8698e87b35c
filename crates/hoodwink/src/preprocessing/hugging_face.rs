//! Hugging Face's `preprocessor_config.json`, read as the image processors of transformers 4.49 read it.
//!
//! The meaning of a key and its default depend on the class of the processor: one number for `size` is a square to one
//! and a short side to another.

use serde_json::Value;

use super::{Channels, Described, InputRange, Preprocessing, described::IMAGENET};
use crate::data::{Crop, HalfPixel, Interpolation, Resize};

/// Mean and standard deviation of each channel.
type Statistics = ([f32; 3], [f32; 3]);

const HALVES: Statistics = ([0.5; 3], [0.5; 3]);
const CLIP: Statistics = (
    [0.481_454_66, 0.457_827_5, 0.408_210_73],
    [0.268_629_54, 0.261_302_6, 0.275_777_1],
);

/// How a processor derives the scaled size from `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scaling {
    /// The size itself.
    Plain,
    /// The short side is scaled to 256/224 of the size.
    Levit,
    /// Below 384, the short side is scaled to 1/`crop_pct` of the size, and the size is cropped. From 384 on, the size
    /// is the side of a square.
    ConvNext,
    /// The short side is scaled to 1/`crop_pct` of the size.
    PoolFormer,
}

/// The forms of `size` that a processor accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    /// Height and width; one number stands for both.
    Exact,
    /// The short side, also as one number.
    Short,
    /// Either form; one number is the side of a square.
    EitherSquare,
    /// Either form; one number is a short side.
    EitherShort,
}

/// A class of processors, with its defaults.
#[derive(Debug)]
struct Processor {
    /// The name of the class, before `ImageProcessor`.
    name: &'static str,
    /// The `model_type` of models that use it.
    models: &'static [&'static str],
    sizes: Sizes,
    scaling: Scaling,
    size: Resize,
    filter: Interpolation,
    /// Whether it crops by default, and to which side; `None` if it never crops.
    crop: Option<(bool, usize)>,
    /// `None` if it never normalises.
    statistics: Option<Statistics>,
}

const fn exact(side: usize) -> Resize {
    Resize::Exact {
        height: side,
        width: side,
    }
}

/// Returns a processor that only scales, to an exact size.
const fn plain(
    name: &'static str,
    models: &'static [&'static str],
    side: usize,
    filter: Interpolation,
    statistics: Statistics,
) -> Processor {
    Processor {
        name,
        models,
        sizes: Sizes::Exact,
        scaling: Scaling::Plain,
        size: exact(side),
        filter,
        crop: None,
        statistics: Some(statistics),
    }
}

/// Returns a processor that scales the short side and crops to 224.
const fn cropping(
    name: &'static str,
    models: &'static [&'static str],
    short: usize,
    filter: Interpolation,
    statistics: Statistics,
) -> Processor {
    Processor {
        name,
        models,
        sizes: Sizes::EitherShort,
        scaling: Scaling::Plain,
        size: Resize::ShortSide(short),
        filter,
        crop: Some((true, 224)),
        statistics: Some(statistics),
    }
}

use Interpolation::{Bicubic, Bilinear, Nearest};

const PROCESSORS: [Processor; 17] = [
    plain(
        "ViT",
        &[
            "vit",
            "vit_msn",
            "vit_mae",
            "ijepa",
            "swin",
            "swinv2",
            "swiftformer",
            "dinat",
            "nat",
        ],
        224,
        Bilinear,
        HALVES,
    ),
    plain("Pvt", &["pvt", "pvt_v2"], 224, Bilinear, IMAGENET),
    plain("Segformer", &["segformer"], 512, Bilinear, IMAGENET),
    plain("Siglip", &["siglip"], 224, Bicubic, HALVES),
    Processor {
        crop: Some((true, 224)),
        ..plain("DeiT", &["deit"], 256, Bicubic, HALVES)
    },
    Processor {
        crop: Some((true, 224)),
        ..plain("Beit", &["beit", "data2vec-vision"], 256, Bicubic, HALVES)
    },
    Processor {
        crop: Some((false, 289)),
        ..plain("EfficientNet", &["efficientnet"], 346, Nearest, HALVES)
    },
    Processor {
        sizes: Sizes::EitherSquare,
        crop: Some((true, 224)),
        ..plain(
            "EfficientFormer",
            &["efficientformer"],
            224,
            Bicubic,
            IMAGENET,
        )
    },
    cropping("CLIP", &["clip"], 224, Bicubic, CLIP),
    cropping(
        "Bit",
        &[
            "bit",
            "dinov2",
            "dinov2_with_registers",
            "focalnet",
            "hiera",
        ],
        224,
        Bicubic,
        CLIP,
    ),
    cropping("ViTHybrid", &["vit_hybrid"], 224, Bicubic, HALVES),
    cropping("MobileNetV1", &["mobilenet_v1"], 256, Bilinear, HALVES),
    cropping("MobileNetV2", &["mobilenet_v2"], 256, Bilinear, HALVES),
    Processor {
        crop: Some((true, 256)),
        statistics: None,
        ..cropping(
            "MobileViT",
            &["mobilevit", "mobilevitv2"],
            224,
            Bilinear,
            HALVES,
        )
    },
    Processor {
        scaling: Scaling::Levit,
        ..cropping("Levit", &["levit"], 224, Bicubic, IMAGENET)
    },
    Processor {
        scaling: Scaling::PoolFormer,
        ..cropping("PoolFormer", &["poolformer"], 224, Bicubic, IMAGENET)
    },
    Processor {
        sizes: Sizes::Short,
        scaling: Scaling::ConvNext,
        crop: None,
        ..cropping(
            "ConvNext",
            &["convnext", "convnextv2", "resnet", "regnet", "cvt", "van"],
            384,
            Bilinear,
            HALVES,
        )
    },
];

/// Keys that are understood, or that do not affect pixels.
const KEYS: [&str; 34] = [
    "crop_pct",
    "crop_size",
    "data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "do_center_crop",
    "do_convert_rgb",
    "do_flip_channel_order",
    "do_normalize",
    "do_reduce_labels",
    "do_rescale",
    "do_resize",
    "feature_extractor_type",
    "image_mean",
    "image_processor_type",
    "image_std",
    "include_top",
    "input_data_format",
    "model_input_names",
    "name_or_path",
    "num_channels",
    "processor_class",
    "reduce_labels",
    "resample",
    "rescale_factor",
    "rescale_offset",
    "return_tensors",
    "size",
    "tokenizer_class",
    "transformers_version",
    "use_fast",
    "use_square_size",
    "_valid_processor_keys",
];

/// Whether a file looks like a processor's.
pub(super) fn is_one(file: &Value) -> bool {
    [
        "image_processor_type",
        "feature_extractor_type",
        "image_mean",
        "do_resize",
        "do_rescale",
        "do_normalize",
    ]
    .iter()
    .any(|key| file.get(key).is_some())
}

/// Reads a file. `model_type` comes from the model's own configuration, if there is one. Errors are sentences without a
/// subject.
pub(super) fn read(file: &Value, model_type: Option<&str>) -> Result<Described, String> {
    let keys = file.as_object().into_iter().flatten();
    for (key, value) in keys {
        let is_off = value.is_null() || *value == Value::Bool(false);
        if !is_off && !KEYS.contains(&key.as_str()) {
            return Err(format!("has the unknown key {key:?}"));
        }
    }
    let settings = Settings {
        file,
        known: Processor::of(file, model_type)?,
    };
    let mut described = Described {
        preprocessing: settings.preprocessing()?,
        ..Described::default()
    };
    if settings.does("do_center_crop", settings.crops_by_default())? && settings.may_crop() {
        described.crop = Some(settings.crop_size()?);
    }
    if settings.does("do_resize", true)? {
        described.interpolation = settings.filter()?;
        settings.scale(&mut described)?;
    }
    Ok(described)
}

impl Processor {
    /// Returns the class that a file names, or that of the model, or `None` if neither is given.
    fn of(file: &Value, model_type: Option<&str>) -> Result<Option<&'static Self>, String> {
        let named = ["image_processor_type", "feature_extractor_type"]
            .iter()
            .find_map(|key| file.get(key)?.as_str());
        let names = || {
            let names: Vec<&str> = PROCESSORS.iter().map(|one| one.name).collect();
            names.join(", ")
        };
        match (named, model_type) {
            (Some(class), _) => {
                let name = class.strip_suffix("Fast").unwrap_or(class);
                let name = name
                    .strip_suffix("ImageProcessor")
                    .or(name.strip_suffix("FeatureExtractor"));
                let known = PROCESSORS.iter().find(|one| Some(one.name) == name);
                known.map(Some).ok_or_else(|| {
                    format!(
                        "is for the unknown image processor {class} (known: {})",
                        names()
                    )
                })
            }
            (None, Some(model)) => {
                let known = PROCESSORS.iter().find(|one| one.models.contains(&model));
                known.map(Some).ok_or_else(|| {
                    format!(
                        "has no image_processor_type, and that of a model of type {model:?} is unknown (known \
                         image processors: {})",
                        names()
                    )
                })
            }
            (None, None) => Ok(None),
        }
    }
}

/// A file and the class of its processor. If the class is unknown, only settings with the same meaning for all classes
/// are read.
struct Settings<'a> {
    file: &'a Value,
    known: Option<&'static Processor>,
}

impl Settings<'_> {
    /// Returns the value of a key, or `None` if it is missing.
    fn get(&self, key: &str) -> Option<&Value> {
        self.file.get(key)
    }

    /// Returns the value of a key, or `None` if it is missing or null.
    fn given(&self, key: &str) -> Option<&Value> {
        self.get(key).filter(|value| !value.is_null())
    }

    fn unclear(&self, what: &str) -> String {
        format!(
            "has no image_processor_type, which decides {what}; add it, or put the model's config.json beside the file"
        )
    }

    /// Whether a step is done.
    fn does(&self, key: &str, by_default: bool) -> Result<bool, String> {
        match self.get(key) {
            Some(Value::Bool(does)) => Ok(*does),
            Some(Value::Null) => Ok(false),
            Some(other) => Err(format!("has {other} for {key}")),
            None if self.known.is_some() => Ok(by_default),
            None => {
                let of_it = [
                    ("do_resize", "size"),
                    ("do_center_crop", "crop_size"),
                    ("do_normalize", "image_mean"),
                ];
                match of_it
                    .iter()
                    .any(|(own, other)| *own == key && self.given(other).is_some())
                {
                    true => Err(format!("lacks {key}")),
                    false => Ok(false),
                }
            }
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.given(key) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|number| number.is_finite());
        number
            .map(Some)
            .ok_or_else(|| format!("has {value} for {key}"))
    }

    fn is(&self, name: &str) -> bool {
        self.known.is_some_and(|known| known.name == name)
    }

    /// Some processors ignore the crop settings.
    fn may_crop(&self) -> bool {
        self.known.is_none_or(|known| known.crop.is_some())
    }

    fn crops_by_default(&self) -> bool {
        let crop = self.known.and_then(|known| known.crop);
        crop.is_some_and(|(does, _)| does)
    }

    fn crop_size(&self) -> Result<Crop, String> {
        let by_default = self.known.and_then(|known| known.crop);
        let size = match (self.given("crop_size"), by_default) {
            (None, Some((_, side))) => exact(side),
            (None, None) => return Err("lacks crop_size".into()),
            (Some(size), _) => sides(size, "crop_size", Sizes::Exact)?,
        };
        match size {
            Resize::Exact { height, width } => Ok(Crop {
                height,
                width,
                half_pixel: HalfPixel::Down,
            }),
            Resize::ShortSide(_) => Err(format!("has the crop_size {}", self.file["crop_size"])),
        }
    }

    fn filter(&self) -> Result<Interpolation, String> {
        match (self.get("resample"), self.known) {
            (None, Some(known)) => Ok(known.filter),
            (None, None) => Err("lacks resample".into()),
            (Some(Value::Null), _) => Ok(Interpolation::Bilinear),
            (Some(value), _) => {
                let filter = value.as_u64().and_then(Interpolation::of_pillow);
                filter.ok_or_else(|| format!("has {value} for resample; expected 0 to 5"))
            }
        }
    }

    /// Sets the scaled size, and the crop if `crop_pct` implies one.
    fn scale(&self, described: &mut Described) -> Result<(), String> {
        let share = match self.get("crop_pct") {
            Some(Value::Null) if self.is("PoolFormer") => None,
            _ => Some(self.number("crop_pct")?),
        };
        let share = match (share, self.known.map(|known| known.scaling)) {
            (Some(Some(share)), _) if !(0.01..=100.0).contains(&share) => {
                return Err(format!("has the crop_pct {share}"));
            }
            (Some(None), Some(Scaling::PoolFormer)) => Some(0.9),
            (share, _) => share.flatten(),
        };
        let scaling = match self.known {
            Some(known) => known.scaling,
            None if share.is_some() => return Err(self.unclear("what crop_pct means")),
            None => Scaling::Plain,
        };
        let size = self.size(described.crop.is_some())?;
        let of = |side: usize, share: f64| (side as f64 / share) as usize;
        described.resize = Some(match (scaling, size, share) {
            (Scaling::ConvNext, Resize::ShortSide(side @ ..384), share) => {
                described.crop = Some(Crop {
                    half_pixel: HalfPixel::Down,
                    ..Crop::square(side)
                });
                Resize::ShortSide(of(side, share.unwrap_or(224.0 / 256.0)))
            }
            (Scaling::ConvNext, Resize::ShortSide(side), _) => exact(side),
            (Scaling::Levit, Resize::ShortSide(side), _) => {
                Resize::ShortSide((256.0 / 224.0 * side as f64) as usize)
            }
            (Scaling::PoolFormer, Resize::ShortSide(side), Some(share)) => {
                Resize::ShortSide(of(side, share))
            }
            (Scaling::PoolFormer, Resize::Exact { height, width }, Some(share)) => {
                match height == width {
                    true => Resize::ShortSide(of(height, share)),
                    false => Resize::Exact {
                        height: of(height, share),
                        width: of(width, share),
                    },
                }
            }
            (_, size, _) => size,
        });
        Ok(())
    }

    fn size(&self, crops: bool) -> Result<Resize, String> {
        let Some(known) = self.known else {
            let size = self.given("size").ok_or("lacks size")?;
            return match sides(size, "size", Sizes::EitherSquare)? {
                // One number is always a square if nothing is cropped.
                Resize::Exact { .. } if size.is_number() && crops => {
                    Err(self.unclear(&format!("what the size {size} means")))
                }
                // Some processors make a square of it, or scale to a larger size.
                Resize::ShortSide(_) if !crops => Err(self.unclear("what shortest_edge means")),
                size => Ok(size),
            };
        };
        let size = match self.given("size") {
            Some(size) => sides(size, "size", known.sizes)?,
            None => known.size,
        };
        let squares = known.name == "CLIP" && self.does("use_square_size", false)?;
        Ok(match size {
            Resize::ShortSide(side) if squares => exact(side),
            size => size,
        })
    }

    /// Returns the steps from pixels in 0 to 1. With the rescaling `a x + b` of bytes, the processor computes (255 a x
    /// + b - mean) / std of x.
    fn preprocessing(&self) -> Result<Preprocessing, String> {
        let flips = self.is("MobileViT");
        let flips = match self.known {
            Some(_) if !flips => false,
            _ => self.does("do_flip_channel_order", flips)?,
        };
        let rescales = self.does("do_rescale", true)?
            // Older files lack the key, and all processors did it.
            || self.get("do_rescale").is_none();
        let factor = match self.number("rescale_factor")? {
            Some(factor) if factor <= 0.0 => {
                return Err(format!("has the rescale_factor {factor}"));
            }
            Some(factor) if rescales => 255.0 * factor,
            None if rescales => 1.0,
            _ => 255.0,
        };
        // 1/255 in files is rounded to this accuracy.
        let factor = if (factor - 1.0).abs() < 1e-6 {
            1.0
        } else {
            factor
        };
        let is_efficient_net = self.is("EfficientNet");
        for key in ["rescale_offset", "include_top", "use_square_size"] {
            if self.known.is_none() && self.does(key, false)? {
                return Err(self.unclear(&format!("what {key} means")));
            }
        }
        let offset = match rescales && is_efficient_net && self.does("rescale_offset", false)? {
            true => -1.0,
            false => 0.0,
        };
        let (mut mean, mut std) = self.statistics()?;
        if is_efficient_net && self.does("include_top", true)? {
            // It is divided by a second time.
            let (_, again) = self.values()?;
            std = match std.is_empty() {
                true => again,
                false => std
                    .iter()
                    .zip(&again)
                    .map(|(std, again)| std * again)
                    .collect(),
            };
        }
        let mut preprocessing = Preprocessing {
            channels: if flips { Channels::Bgr } else { Channels::Rgb },
            ..Preprocessing::default()
        };
        if mean.is_empty() && std.is_empty() && offset == 0.0 && factor == 255.0 {
            preprocessing.input_range = InputRange::ZeroTo255;
            return Ok(preprocessing);
        }
        if offset != 0.0 && mean.is_empty() {
            mean = vec![0.0];
        }
        if factor != 1.0 && std.is_empty() {
            std = vec![1.0];
        }
        let narrow = |value: f64| value as f32;
        preprocessing.mean = mean
            .iter()
            .map(|mean| narrow((mean - offset) / factor))
            .collect();
        preprocessing.std = std.iter().map(|std| narrow(std / factor)).collect();
        Ok(preprocessing)
    }

    /// Returns the mean and standard deviation that are applied, or empty lists.
    fn statistics(&self) -> Result<(Vec<f64>, Vec<f64>), String> {
        let never = self.known.is_some_and(|known| known.statistics.is_none());
        if never || !self.does("do_normalize", true)? {
            return Ok((Vec::new(), Vec::new()));
        }
        self.values()
    }

    /// Returns mean and standard deviation, applied or not.
    fn values(&self) -> Result<(Vec<f64>, Vec<f64>), String> {
        let by_default = self.known.and_then(|known| known.statistics);
        let of = |key: &str, by_default: Option<[f32; 3]>| {
            let by_default = by_default.map(|values| values.map(f64::from).to_vec());
            match self.given(key) {
                None => by_default.ok_or_else(|| format!("lacks {key}")),
                Some(value) => numbers(value, key),
            }
        };
        let mean = of("image_mean", by_default.map(|(mean, _)| mean))?;
        let std = of("image_std", by_default.map(|(_, std)| std))?;
        match std.contains(&0.0) {
            true => Err("has 0 in image_std".into()),
            false => Ok((mean, std)),
        }
    }
}

/// One number, or one for each channel.
pub(super) fn numbers(value: &Value, key: &str) -> Result<Vec<f64>, String> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    if !matches!(list.len(), 1 | 3) {
        return Err(format!("has {} numbers for {key}", list.len()));
    }
    list.iter()
        .map(|number| {
            number
                .as_f64()
                .ok_or_else(|| format!("has {number} in {key}"))
        })
        .collect()
}

/// Reads a size: one number, two, `shortest_edge`, or `height` and `width`.
fn sides(size: &Value, key: &str, sizes: Sizes) -> Result<Resize, String> {
    let unfit = || format!("has the {key} {size}");
    let side = |value: &Value| super::described::side(value, key);
    let found = match size {
        Value::Number(_) => match sizes {
            Sizes::Exact | Sizes::EitherSquare => exact(side(size)?),
            Sizes::Short | Sizes::EitherShort => Resize::ShortSide(side(size)?),
        },
        Value::Array(two) => match two.as_slice() {
            [height, width] => Resize::Exact {
                height: side(height)?,
                width: side(width)?,
            },
            _ => return Err(unfit()),
        },
        Value::Object(keys) => {
            // A null value counts as missing.
            let keys: Vec<&str> = (keys.iter())
                .filter(|(_, value)| !value.is_null())
                .map(|(key, _)| key.as_str())
                .collect();
            match keys.as_slice() {
                ["shortest_edge"] => Resize::ShortSide(side(&size["shortest_edge"])?),
                ["height", "width"] | ["width", "height"] => Resize::Exact {
                    height: side(&size["height"])?,
                    width: side(&size["width"])?,
                },
                _ => {
                    return Err(format!(
                        "{}; expected shortest_edge, or height and width",
                        unfit()
                    ));
                }
            }
        }
        _ => return Err(unfit()),
    };
    match (sizes, found) {
        (Sizes::Exact, Resize::ShortSide(_)) => Err(format!(
            "{}, but its processor takes height and width",
            unfit()
        )),
        (Sizes::Short, Resize::Exact { .. }) => Err(format!(
            "{}, but its processor takes shortest_edge",
            unfit()
        )),
        _ => Ok(found),
    }
}
