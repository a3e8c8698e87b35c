//! What a network is made of, as a user may write it down.

use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, files, legible, nearest::unknown};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The most layers of a network.
const MAX_LAYERS: usize = 200;

/// The layers of a network, between the normalised pixels and a last linear layer with an output for each class.
///
/// As TOML, a list of words and tables:
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
    /// In the order in which pictures pass them.
    pub layers: Vec<Layer>,
}

/// A layer. Convolutions pad so that they keep the sides of a picture, divided by the stride and rounded up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    /// A convolution with a bias.
    Conv {
        /// Channels of its output, 1 to 4096.
        channels: usize,
        /// Side of its window, 1 to 31.
        kernel: usize,
        /// 1 to 16.
        #[serde(default = "one")]
        stride: usize,
        /// Doubles the stride where both sides of its input have at least so many pixels.
        #[serde(
            default,
            rename = "halve-from",
            skip_serializing_if = "Option::is_none"
        )]
        halve_from: Option<usize>,
    },
    /// max(x, 0).
    Relu,
    /// The largest value of each window; windows do not overlap, and what is left at the edge is cut off.
    MaxPool {
        /// Side of the window, 1 to 31.
        size: usize,
    },
    /// `relu(shortcut(x) + scale * conv(relu(conv(x))))` with windows of 3x3, without normalisation: the second
    /// convolution, which has a learned scale, starts at zero after Fixup (Zhang, Dauphin and Ma, arXiv 1901.09321,
    /// section 3). The shortcut is a convolution of 1x1 where the shape changes.
    Residual {
        /// Channels of its output, 1 to 4096.
        channels: usize,
        /// Of the first convolution and the shortcut, 1 to 16.
        #[serde(default = "one")]
        stride: usize,
    },
    /// The mean of each channel.
    GlobalAverage,
    /// All values in a row.
    Flatten,
    /// A linear layer with a bias.
    Dense {
        /// Values of its output, 1 to 65,536.
        outputs: usize,
    },
}

fn one() -> usize {
    1
}

impl Layer {
    /// The word in TOML.
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

    /// Fails with the setting that is out of range.
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
                return Err(format!("{name} is 1 to {most}, not {value}"));
            }
        }
        Ok(())
    }
}

impl Architecture {
    /// Reads a file of TOML.
    pub fn open(path: &Path) -> Result<Self> {
        let text = files::read_text(path, MAX_FILE_BYTES)?;
        text.parse()
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    /// Fails with the layer that has a setting out of range.
    pub(super) fn check(&self) -> Result<()> {
        if self.layers.len() > MAX_LAYERS {
            return Err(Error::invalid(format!(
                "a network has {MAX_LAYERS} layers at most, not {}",
                self.layers.len()
            )));
        }
        for (at, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|what| at_layer(at, layer, &what))?;
        }
        Ok(())
    }
}

/// An error that names a layer.
pub(super) fn at_layer(at: usize, layer: &Layer, what: &str) -> Error {
    Error::invalid(format!("layer {} ({}): {what}", at + 1, layer.word()))
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let network: Self = toml::from_str(text).map_err(|error| {
            Error::invalid(format!("this is no network: {}", legible::of_toml(&error)))
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

/// A network that has a name. Its layers are a file of TOML, like those a user writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Two convolutions with max-pooling and two linear layers: 84,552 weights for grey 28x28 pictures of ten classes,
    /// and easy to fool.
    Tutorial,
    /// A residual network without normalisation layers of about 100,000 weights.
    Residual,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 2] = [Self::Tutorial, Self::Residual];

    /// The word used in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tutorial => "tutorial",
            Self::Residual => "residual",
        }
    }

    /// Its layers as TOML.
    pub fn toml(self) -> &'static str {
        match self {
            Self::Tutorial => include_str!("presets/tutorial.toml"),
            Self::Residual => include_str!("presets/residual.toml"),
        }
    }

    /// Its layers.
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
                "layer 2 (conv): channels is 1 to 4096, not 0",
            ),
            (
                r#"[{ conv = { channels = 8, kernel = 3, stride = 99 } }]"#,
                "layer 1 (conv): stride is 1 to 16, not 99",
            ),
            (
                r#"[{ dense = { outputs = 99999999999 } }]"#,
                "layer 1 (dense): outputs is 1 to 65536",
            ),
            (
                r#"[{ max-pool = { size = 0 } }]"#,
                "layer 1 (max-pool): size is 1 to 31",
            ),
            (
                r#"[{ residual = { channels = 4097 } }]"#,
                "layer 1 (residual): channels is 1 to 4096",
            ),
            ("3", "invalid type"),
        ] {
            let error = format!("layers = {layers}").parse::<Architecture>();
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let many = format!("layers = [{}]", r#""relu","#.repeat(MAX_LAYERS + 1));
        let error = many.parse::<Architecture>().unwrap_err().to_string();
        assert!(error.contains("200 layers at most, not 201"), "{error}");
        assert!("layer = []".parse::<Architecture>().is_err());
    }
}
