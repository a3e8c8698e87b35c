//! What happens to a picture before the model's first layer, as part of the graph.
//!
//! With the preprocessing in the graph, gradients are with respect to pixels and eps is in pixel units, whatever input
//! the model takes.

mod beside;
mod described;
#[cfg(test)]
mod goldens;
mod hugging_face;
mod named;
mod shown;
mod timm;

use std::{fmt, str::FromStr};

pub use beside::class_names_beside;
pub use described::Described;
pub use named::likely;
pub use shown::{Channel, Shown};

use onnx_grad::{Bytes, DType, Dim, Graph, Op, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, image::Image};

/// The range of values that a model takes, before mean and standard deviation are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputRange {
    /// 0 to 1.
    #[default]
    #[serde(rename = "0..1")]
    ZeroToOne,
    /// 0 to 255.
    #[serde(rename = "0..255")]
    ZeroTo255,
    /// -1 to 1.
    #[serde(rename = "-1..1")]
    MinusOneToOne,
}

impl InputRange {
    /// Returns the factor and then the offset that map \[0, 1\] to the range.
    fn line(self) -> (f32, f32) {
        match self {
            Self::ZeroToOne => (1.0, 0.0),
            Self::ZeroTo255 => (255.0, 0.0),
            Self::MinusOneToOne => (2.0, -1.0),
        }
    }
}

/// The order of the colour channels that a model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// The order of the axes that a model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channels before rows and columns.
    #[default]
    Nchw,
    /// Channels last.
    Nhwc,
}

/// How RGB pixels in \[0, 1\] become a model's input: the channels are ordered, mean and standard deviation are
/// applied, the result is scaled to the range, and the axes are ordered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preprocessing {
    /// The mean to subtract: one value, or one per channel in the model's order, in units of \[0, 1\]. None if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// The standard deviation to divide by: one value, or one per channel in the model's order, in units of \[0, 1\].
    /// None if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
    /// The range of values.
    #[serde(default)]
    pub input_range: InputRange,
    /// The order of channels.
    #[serde(default)]
    pub channels: Channels,
    /// The order of axes.
    #[serde(default)]
    pub layout: Layout,
}

impl Preprocessing {
    /// Appends to `graph` the steps from pixels `[N, channels, height, width]` to an input of shape `wanted`.
    pub(crate) fn append(
        &self,
        graph: &mut Graph,
        pixels: ValueId,
        channels: usize,
        wanted: &[Dim],
    ) -> Result<ValueId> {
        let mut x = pixels;
        if self.channels == Channels::Bgr {
            if channels != 3 {
                return Err(Error::invalid(format!(
                    "channels bgr needs 3 channels, but the model takes {channels}"
                )));
            }
            let order = graph.constant(Tensor::vector(&[2, 1, 0]));
            x = graph.add(Op::Gather { axis: 1 }, &[x, order])?;
        }
        if !self.mean.is_empty() {
            let mean = self.per_channel(graph, "mean", &self.mean, channels)?;
            x = graph.add(Op::Sub, &[x, mean])?;
        }
        if !self.std.is_empty() {
            if self.std.contains(&0.0) {
                return Err(Error::invalid("std contains 0"));
            }
            let std = self.per_channel(graph, "std", &self.std, channels)?;
            x = graph.add(Op::Div, &[x, std])?;
        }
        let (factor, offset) = self.input_range.line();
        if factor != 1.0 {
            let factor = graph.scalar(factor);
            x = graph.add(Op::Mul, &[x, factor])?;
        }
        if offset != 0.0 {
            let offset = graph.scalar(offset);
            x = graph.add(Op::Add, &[x, offset])?;
        }
        if self.layout == Layout::Nhwc {
            x = graph.add(
                Op::Transpose {
                    perm: vec![0, 2, 3, 1],
                },
                &[x],
            )?;
        }
        if graph.shape(x) != wanted {
            x = graph.add(
                Op::Reshape {
                    shape: wanted.to_vec(),
                },
                &[x],
            )?;
        }
        Ok(x)
    }

    /// Returns the preprocessing of a model whose input is of the integer type `bytes`, or float if that is `None`. By
    /// default pixels become bytes from 0 to 255. For `int8` they are shifted by 128 later, which is not part of the
    /// preprocessing.
    ///
    /// # Errors
    /// If it produces other values than bytes.
    pub(crate) fn as_eaten(&self, bytes: Option<Bytes>) -> Result<Self> {
        if bytes.is_none() {
            return Ok(self.clone());
        }
        if !self.mean.is_empty() || !self.std.is_empty() {
            return Err(Error::invalid(
                "the model takes bytes, 0 to 255, and normalises them itself; remove mean and standard deviation",
            ));
        }
        match self.input_range {
            InputRange::ZeroToOne | InputRange::ZeroTo255 => Ok(Self {
                input_range: InputRange::ZeroTo255,
                ..self.clone()
            }),
            InputRange::MinusOneToOne => Err(Error::invalid(
                "the model takes bytes, 0 to 255; remove the input range -1..1",
            )),
        }
    }

    /// Appends the steps from pixels to a model's input, like [`append`](Self::append), and rounds to bytes if the
    /// model takes them. The gradient goes straight through the rounding.
    pub(crate) fn append_for(
        &self,
        bytes: Option<Bytes>,
        graph: &mut Graph,
        pixels: ValueId,
        channels: usize,
        wanted: &[Dim],
    ) -> Result<ValueId> {
        let mut x = self
            .as_eaten(bytes)?
            .append(graph, pixels, channels, wanted)?;
        if bytes.is_some() {
            let rounded = graph.add(Op::Round, &[x])?;
            x = graph.add(Op::StraightThrough, &[rounded, x])?;
        }
        if bytes == Some(Bytes::Int8) {
            let shift = graph.scalar(128.0);
            x = graph.add(Op::Sub, &[x, shift])?;
        }
        Ok(x)
    }

    /// Returns the image that this preprocessing maps to what `other` makes of `image`. With it, a model behind this
    /// preprocessing can be asked as if it were behind `other`. Ignores the order of axes.
    pub(crate) fn imitating(&self, other: &Self, image: &Image) -> Image {
        if self == other {
            return image.clone();
        }
        let [channels, height, width] = image.shape();
        let plane = height * width;
        let mut shown = Image::zeros(image.shape());
        for channel in 0..channels {
            let (own, its) = (self.line(channel), other.line(channel));
            let from = &image.pixels()[plane * other.source(channel, channels)..][..plane];
            let to = &mut shown.pixels_mut()[plane * self.source(channel, channels)..][..plane];
            for (to, from) in to.iter_mut().zip(from) {
                let eaten = its.factor * f64::from(*from) + its.offset;
                *to = ((eaten - own.offset) / own.factor) as f32;
            }
        }
        shown
    }

    /// Returns the picture's channel that becomes this channel of the input.
    fn source(&self, channel: usize, channels: usize) -> usize {
        match self.channels {
            Channels::Rgb => channel,
            Channels::Bgr => channels - 1 - channel,
        }
    }

    /// Returns the linear map of a channel of the input.
    fn line(&self, channel: usize) -> Line {
        let of = |values: &[f32], none: f64| match values {
            [] => none,
            &[all] => f64::from(all),
            _ => f64::from(values[channel]),
        };
        let (mean, std) = (of(&self.mean, 0.0), of(&self.std, 1.0));
        let (factor, offset) = self.input_range.line();
        Line {
            factor: f64::from(factor) / std,
            offset: f64::from(offset) - f64::from(factor) * mean / std,
        }
    }

    fn per_channel(
        &self,
        graph: &mut Graph,
        setting: &str,
        values: &[f32],
        channels: usize,
    ) -> Result<ValueId> {
        if values.len() != 1 && values.len() != channels {
            return Err(Error::invalid(format!(
                "{setting} has {}, but the model takes {}",
                crate::counted(values.len(), "value", "values"),
                crate::counted(channels, "channel", "channels")
            )));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::invalid(format!(
                "{setting} has a value that is not a finite number"
            )));
        }
        Ok(graph.constant(Tensor::f32([1, values.len(), 1, 1], values)?))
    }

    /// Returns the shape `[channels, height, width]` of the pictures for an input of this shape. A vector or a single
    /// row counts as a grey square if its length is a square number.
    pub(crate) fn picture_shape(&self, input: &[Dim]) -> Result<[usize; 3]> {
        let sides: Vec<usize> = input
            .iter()
            .skip(1)
            .map(|dim| match dim {
                Dim::Fixed(side) => Ok(*side),
                Dim::Batch(_) => Err(Error::unsupported(
                    "the model's batch axis is not the first",
                )),
            })
            .collect::<Result<_>>()?;
        match (self.layout, &sides[..]) {
            (Layout::Nchw, &[channels @ (1 | 3), height, width])
            | (Layout::Nhwc, &[height, width, channels @ (1 | 3)]) => Ok([channels, height, width]),
            (Layout::Nchw, &[_, _, 1 | 3]) => Err(Error::invalid(format!(
                "the model takes [N, {}, {}, {}], with channels last; set the layout nhwc",
                sides[0], sides[1], sides[2]
            ))),
            (_, &[height, width]) if height > 1 && width > 1 => Ok([1, height, width]),
            (_, flat) => {
                let length: usize = flat.iter().product();
                let side = length.isqrt();
                if flat.iter().filter(|&&side| side > 1).count() <= 1
                    && side * side == length
                    && side > 0
                {
                    return Ok([1, side, side]);
                }
                Err(Error::unsupported(format!(
                    "the model takes [N, {}], which is not a picture of 1 or 3 channels",
                    flat.iter()
                        .map(usize::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                )))
            }
        }
    }
}

/// `factor * value + offset`.
struct Line {
    factor: f64,
    offset: f64,
}

impl fmt::Display for Preprocessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f32]| {
            values
                .iter()
                .map(f32::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let mut steps = vec![format!("channels={}", word(self.channels))];
        if !self.mean.is_empty() {
            steps.push(format!("mean={}", list(&self.mean)));
        }
        if !self.std.is_empty() {
            steps.push(format!("std={}", list(&self.std)));
        }
        steps.push(format!("input-range={}", word(self.input_range)));
        steps.push(format!("layout={}", word(self.layout)));
        f.write_str(&steps.join(" "))
    }
}

/// Returns serde's word for a unit variant.
pub(crate) fn word(value: impl Serialize) -> String {
    match toml::Value::try_from(value) {
        Ok(toml::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Parses one of serde's words.
macro_rules! from_word {
    ($type:ty, $what:literal, $words:expr) => {
        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                toml::Value::String(text.to_ascii_lowercase())
                    .try_into()
                    .map_err(|_| crate::nearest::unknown($what, text, &$words))
            }
        }
    };
}

from_word!(InputRange, "range", ["0..1", "0..255", "-1..1"]);
from_word!(Channels, "order", ["rgb", "bgr"]);
from_word!(Layout, "order", ["nchw", "nhwc"]);

/// Adds the graph's input for `batch` pictures of this shape, in pixel space.
pub(crate) fn pixels(
    graph: &mut Graph,
    batch: Dim,
    [channels, height, width]: [usize; 3],
) -> ValueId {
    let shape = vec![batch, channels.into(), height.into(), width.into()];
    graph.input("pixels", DType::F32, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_alike() {
        for text in ["0..1", "0..255", "-1..1"] {
            assert_eq!(word(text.parse::<InputRange>().unwrap()), text);
        }
        assert_eq!("BGR".parse::<Channels>().unwrap(), Channels::Bgr);
        assert_eq!("nhwc".parse::<Layout>().unwrap(), Layout::Nhwc);
        assert!("0..256".parse::<InputRange>().is_err());
    }

    #[test]
    fn the_picture_behind_an_input_is_recognised() {
        let shape = |sides: &[usize], layout| {
            let dims: Vec<Dim> = std::iter::once(Dim::Batch(1))
                .chain(sides.iter().map(|&s| s.into()))
                .collect();
            Preprocessing {
                layout,
                ..Preprocessing::default()
            }
            .picture_shape(&dims)
        };
        assert_eq!(shape(&[3, 32, 48], Layout::Nchw).unwrap(), [3, 32, 48]);
        assert_eq!(shape(&[32, 48, 3], Layout::Nhwc).unwrap(), [3, 32, 48]);
        assert_eq!(shape(&[784, 1], Layout::Nchw).unwrap(), [1, 28, 28]);
        assert_eq!(shape(&[784], Layout::Nchw).unwrap(), [1, 28, 28]);
        assert_eq!(shape(&[28, 28], Layout::Nchw).unwrap(), [1, 28, 28]);
        let message = shape(&[32, 32, 3], Layout::Nchw).unwrap_err().to_string();
        assert!(message.contains("set the layout nhwc"), "{message}");
        assert!(shape(&[17], Layout::Nchw).is_err());
        assert!(shape(&[4, 8, 8], Layout::Nchw).is_err());
    }

    /// Returns what the model behind it gets.
    fn eaten(preprocessing: &Preprocessing, image: &Image) -> Vec<f32> {
        let [channels, height, width] = image.shape();
        let mut graph = Graph::new();
        let x = pixels(&mut graph, Dim::Batch(1), image.shape());
        let sides = match preprocessing.layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        };
        let wanted: Vec<Dim> = std::iter::once(Dim::Batch(1))
            .chain(sides.map(Dim::from))
            .collect();
        let fed = (preprocessing.append(&mut graph, x, channels, &wanted)).unwrap();
        graph.output("fed", fed);
        let engine = crate::engine::open(crate::engine::Choice::Rten).unwrap();
        let pixels = Tensor::f32([1, channels, height, width], image.pixels().to_vec()).unwrap();
        let answers = engine.compile(&graph).unwrap().run(&[pixels]).unwrap();
        answers[0].as_f32().unwrap().to_vec()
    }

    #[test]
    fn one_preprocessing_imitates_any_other() {
        let text = [
            "",
            "input-range = '0..255'",
            "mean = [0.4, 0.5, 0.6]\nstd = [0.2, 0.3, 0.25]",
            "mean = [0.5]\nstd = [0.25]\ninput-range = '-1..1'\nchannels = 'bgr'",
            "mean = [0.1, 0.2, 0.7]\ninput-range = '0..255'\nchannels = 'bgr'",
        ];
        let image = Image::new(
            [3, 2, 2],
            (0..12_u8).map(|at| f32::from(at) / 11.0).collect(),
        );
        let image = image.unwrap();
        for layout in ["nchw", "nhwc"] {
            let all = text.map(|text| -> Preprocessing {
                toml::from_str(&format!("{text}\nlayout = '{layout}'")).unwrap()
            });
            for (own, other) in all.iter().flat_map(|own| all.iter().map(move |o| (own, o))) {
                let imitated = eaten(own, &own.imitating(other, &image));
                let expected = eaten(other, &image);
                let scale = expected
                    .iter()
                    .fold(1.0_f32, |most, value| most.max(value.abs()));
                for (a, b) in imitated.iter().zip(&expected) {
                    assert!(
                        (a - b).abs() < 1e-5 * scale,
                        "{own} as {other}: {a} for {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn wrong_numbers_of_values_name_the_setting() {
        let mut graph = Graph::new();
        let x = pixels(&mut graph, Dim::Batch(1), [3, 4, 4]);
        let wanted = graph.shape(x).to_vec();
        let two = Preprocessing {
            mean: vec![0.5, 0.5],
            ..Preprocessing::default()
        };
        assert!(
            two.append(&mut graph, x, 3, &wanted)
                .unwrap_err()
                .to_string()
                .contains("mean")
        );
        let zero = Preprocessing {
            std: vec![0.0],
            ..Preprocessing::default()
        };
        assert!(
            zero.append(&mut graph, x, 3, &wanted)
                .unwrap_err()
                .to_string()
                .contains("std")
        );
    }
}
