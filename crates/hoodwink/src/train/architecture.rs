//! The layers of a network, in the form that users write.

use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, files, legible, nearest::unknown};

/// The maximum size of a network file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The maximum number of layers of a network.
const MAX_LAYERS: usize = 200;

/// The layers of a network, between the normalised pixels and the last linear layer, which has one output per class.
///
/// In TOML it is a list of words and tables:
///
/// ```
/// # fn main() -> hoodwink::Result<()> {
/// let network: hoodwink::train::Architecture = r#"
///     layers = [
///       { conv = { channels = 16, kernel = 3, stride = 2 } },
///       "relu",
///       { residual = { channels = 32, stride = 2 } },
///       "global-average",
///     ]
/// "#.parse()?;
/// assert_eq!(network.layers.len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The layers, in order from the pictures to the classes.
    pub layers: Vec<Layer>,
}

/// A layer. Convolutions are padded so that the output has the sides of the input divided by the stride, rounded up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    /// A convolution with a bias.
    Conv {
        /// Output channels, 1 to 4096.
        channels: usize,
        /// Side of the window, 1 to 31.
        kernel: usize,
        /// Stride, 1 to 16.
        #[serde(default = "one")]
        stride: usize,
        /// Doubles the stride if both sides of the input have at least this many pixels.
        #[serde(
            default,
            rename = "halve-from",
            skip_serializing_if = "Option::is_none"
        )]
        halve_from: Option<usize>,
    },
    /// max(x, 0).
    Relu,
    /// The largest value of each window. Windows do not overlap, and the remainder at the edge is cut off.
    MaxPool {
        /// Side of the window, 1 to 31.
        size: usize,
    },
    /// `relu(shortcut(x) + scale * conv(relu(conv(x))))` with 3x3 windows, without normalisation. The second
    /// convolution has a learned scale and starts at zero, following Fixup (Zhang, Dauphin and Ma, arXiv 1901.09321,
    /// section 3). The shortcut is a 1x1 convolution if the shape changes.
    Residual {
        /// Output channels, 1 to 4096.
        channels: usize,
        /// Stride of the first convolution and the shortcut, 1 to 16.
        #[serde(default = "one")]
        stride: usize,
    },
    /// The mean of each channel.
    GlobalAverage,
    /// All values as one vector.
    Flatten,
    /// A linear layer with a bias.
    Dense {
        /// Number of outputs, 1 to 65,536.
        outputs: usize,
    },
}

fn one() -> usize {
    1
}

impl Layer {
    /// Returns the word in TOML.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "conv",
            Self::Relu => "relu",
            Self::MaxPool { .. } => "max-pool",
            Self::Residual { .. } => "residual",
            Self::GlobalAverage => "global-average",
            Self::Flatten => "flatten",
            Self::Dense { .. } => "dense",
        }
    }

    /// Returns an error that names a setting out of range.
    fn check(&self) -> Result<(), String> {
        let settings: &[(&str, usize, usize)] = match *self {
            Self::Conv {
                channels,
                kernel,
                stride,
                halve_from: _,
            } => &[
                ("channels", channels, 4096),
                ("kernel", kernel, 31),
                ("stride", stride, 16),
            ],
            Self::Residual { channels, stride } => {
                &[("channels", channels, 4096), ("stride", stride, 16)]
            }
            Self::MaxPool { size } => &[("size", size, 31)],
            Self::Dense { outputs } => &[("outputs", outputs, 65_536)],
            Self::Relu | Self::GlobalAverage | Self::Flatten => &[],
        };
        for &(name, value, most) in settings {
            if !(1..=most).contains(&value) {
                return Err(format!("{name} must be from 1 to {most}, not {value}"));
            }
        }
        Ok(())
    }
}

impl Architecture {
    /// Reads a TOML file.
    pub fn open(path: &Path) -> Result<Self> {
        let text = files::read_text(path, MAX_FILE_BYTES)?;
        text.parse()
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    /// Returns an error that names a layer with a setting out of range.
    pub(super) fn check(&self) -> Result<()> {
        if self.layers.len() > MAX_LAYERS {
            return Err(Error::invalid(format!(
                "a network can have at most {MAX_LAYERS} layers, not {}",
                self.layers.len()
            )));
        }
        for (at, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|what| at_layer(at, layer, &what))?;
        }
        Ok(())
    }
}

/// Creates an error that names a layer.
pub(super) fn at_layer(at: usize, layer: &Layer, what: &str) -> Error {
    Error::invalid(format!("layer {} ({}): {what}", at + 1, layer.word()))
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let network: Self = toml::from_str(text).map_err(|error| {
            Error::invalid(format!(
                "this is not a network: {}",
                legible::of_toml(&error)
            ))
        })?;
        network.check()?;
        Ok(network)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, layer) in self.layers.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{}", layer.word())?;
            match *layer {
                Layer::Conv {
                    channels,
                    kernel,
                    stride,
                    halve_from,
                } => {
                    write!(f, "(channels={channels}, kernel={kernel}, stride={stride}")?;
                    if let Some(side) = halve_from {
                        write!(f, ", halve-from={side}")?;
                    }
                    f.write_str(")")?;
                }
                Layer::Residual { channels, stride } => {
                    write!(f, "(channels={channels}, stride={stride})")?;
                }
                Layer::MaxPool { size } => write!(f, "(size={size})")?,
                Layer::Dense { outputs } => write!(f, "(outputs={outputs})")?,
                Layer::Relu | Layer::GlobalAverage | Layer::Flatten => {}
            }
        }
        Ok(())
    }
}

/// A named network. Its layers are a TOML file like those that users write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Two convolutions with max-pooling and two linear layers. It has 84,552 weights for grey 28x28 pictures of ten
    /// classes, and is easy to fool.
    Tutorial,
    /// A residual network without normalisation layers, with about 100,000 weights.
    Residual,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 2] = [Self::Tutorial, Self::Residual];

    /// Returns the name as settings spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tutorial => "tutorial",
            Self::Residual => "residual",
        }
    }

    /// Returns its layers as TOML.
    pub fn toml(self) -> &'static str {
        match self {
            Self::Tutorial => include_str!("presets/tutorial.toml"),
            Self::Residual => include_str!("presets/residual.toml"),
        }
    }

    /// Returns its layers.
    pub fn architecture(self) -> Result<Architecture> {
        self.toml().parse()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.word() == text)
            .ok_or_else(|| unknown("network", text, &Self::ALL.map(Self::word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_written_as_a_user_may_write_them() {
        for preset in Preset::ALL {
            let network = preset.architecture().unwrap();
            let again = toml::to_string(&network).unwrap();
            assert_eq!(again.parse::<Architecture>().unwrap(), network, "{again}");
            assert_eq!(preset.word().parse::<Preset>().unwrap(), preset);
        }
        let tutorial = Preset::Tutorial.architecture().unwrap().to_string();
        assert!(
            tutorial.starts_with("conv(channels=32, kernel=3, stride=2), relu, max-pool(size=2)")
        );
        assert!(tutorial.ends_with("flatten, dense(outputs=256)"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_place() {
        for (layers, says) in [
            (r#"["rellu"]"#, "unknown variant `rellu`"),
            (
                r#"["relu", { conv = { channels = 8 } }]"#,
                "missing field `kernel`",
            ),
            (
                r#"[{ dense = { outputs = 8, bias = true } }]"#,
                "unexpected keys in table: bias",
            ),
            (
                r#"["relu", { conv = { channels = 0, kernel = 3 } }]"#,
                "layer 2 (conv): channels must be from 1 to 4096, not 0",
            ),
            (
                r#"[{ conv = { channels = 8, kernel = 3, stride = 99 } }]"#,
                "layer 1 (conv): stride must be from 1 to 16, not 99",
            ),
            (
                r#"[{ dense = { outputs = 99999999999 } }]"#,
                "layer 1 (dense): outputs must be from 1 to 65536",
            ),
            (
                r#"[{ max-pool = { size = 0 } }]"#,
                "layer 1 (max-pool): size must be from 1 to 31",
            ),
            (
                r#"[{ residual = { channels = 4097 } }]"#,
                "layer 1 (residual): channels must be from 1 to 4096",
            ),
            ("3", "invalid type"),
        ] {
            let error = format!("layers = {layers}").parse::<Architecture>();
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let many = format!("layers = [{}]", r#""relu","#.repeat(MAX_LAYERS + 1));
        let error = many.parse::<Architecture>().unwrap_err().to_string();
        assert!(error.contains("at most 200 layers, not 201"), "{error}");
        assert!("layer = []".parse::<Architecture>().is_err());
    }
}
