//! Small trainable classifiers, as graphs with named weights.

use onnx_grad::{Convolution, DType, Dim, Graph, Op, Pool, Reduction, Tensor, ValueId};
use rand_chacha::ChaCha8Rng;

use super::architecture::{Architecture, Layer, at_layer};
use crate::{Error, Result, normal::normal};

/// The maximum number of weights of a network.
const MAX_WEIGHTS: usize = 50_000_000;

/// The maximum number of values that a layer may compute for one picture.
const MAX_VALUES: usize = 1 << 24;

/// The task that a network is built for.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// `[channels, height, width]` of the pictures.
    pub input: [usize; 3],
    /// Number of classes; at least 2.
    pub classes: usize,
    /// Mean of each channel over the training pictures, in pixel space. The network subtracts it.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel; positive. The network divides by it.
    pub deviation: Vec<f32>,
}

/// A classifier from `pixels` `[N, C, H, W]` in \[0, 1\] to `logits` `[N, classes]`.
#[derive(Clone, Debug)]
pub struct Network {
    /// The computation, with the starting weights.
    pub graph: Graph,
    /// The weights: constants of the graph, named `LAYER.weight`, `LAYER.bias` and `LAYER.scale`.
    pub weights: Vec<ValueId>,
}

impl Network {
    /// Draws the starting weights from He's normal distribution (arXiv 1502.01852, section 2.2). Biases, the last layer
    /// and the layers noted at [`Layer`] start at zero.
    ///
    /// An error names the layer that does not fit.
    pub fn new(architecture: &Architecture, task: &Task, rng: &mut ChaCha8Rng) -> Result<Self> {
        let channels = task.input[0];
        if task.classes < 2
            || [&task.mean, &task.deviation]
                .iter()
                .any(|v| v.len() != channels)
        {
            return Err(Error::invalid(format!(
                "a network needs at least two classes, and a mean and a deviation for each of {channels} channels"
            )));
        }
        architecture.check()?;
        let mut builder = Builder {
            graph: Graph::new(),
            weights: Vec::new(),
            count: 0,
            rng,
        };
        let mut x = builder.normalised(task)?;
        for (at, layer) in architecture.layers.iter().enumerate() {
            let of_its_kind = |other: &&Layer| other.word() == layer.word();
            let number = 1 + architecture.layers[..at].iter().filter(of_its_kind).count();
            x = builder
                .layer(layer, number, x)
                .map_err(|error| at_layer(at, layer, &error.to_string()))?;
        }
        if fixed(&builder.graph, x)?.len() != 1 {
            return Err(Error::invalid(
                "the last layer outputs pictures: end with flatten, global-average or dense",
            ));
        }
        let logits = builder.linear("head", x, task.classes, false)?;
        builder.graph.output("logits", logits);
        Ok(Self {
            graph: builder.graph,
            weights: builder.weights,
        })
    }

    /// Replaces the weights' values, in the order of [`Network::weights`].
    pub(super) fn bind(&mut self, values: &[Tensor]) -> Result<()> {
        for (&id, value) in self.weights.iter().zip(values) {
            self.graph.set_constant(id, value.clone())?;
        }
        Ok(())
    }
}

struct Builder<'r> {
    graph: Graph,
    weights: Vec<ValueId>,
    /// Total number of values of the weights so far.
    count: usize,
    rng: &'r mut ChaCha8Rng,
}

impl Builder<'_> {
    fn normalised(&mut self, task: &Task) -> Result<ValueId> {
        let shape = [Dim::Batch(1)]
            .into_iter()
            .chain(task.input.map(Dim::Fixed))
            .collect();
        let pixels = self.graph.input("pixels", DType::F32, shape);
        let by_channel = |values: &[f32]| Tensor::f32([1, values.len(), 1, 1], values);
        let mean = self.graph.named_constant("mean", by_channel(&task.mean)?);
        let deviation = self
            .graph
            .named_constant("deviation", by_channel(&task.deviation)?);
        let centred = self.graph.add(Op::Sub, &[pixels, mean])?;
        Ok(self.graph.add(Op::Div, &[centred, deviation])?)
    }

    /// Adds one layer, the `number`-th of its kind, counted from 1.
    fn layer(&mut self, layer: &Layer, number: usize, x: ValueId) -> Result<ValueId> {
        let sides = fixed(&self.graph, x)?;
        let is_flat = sides.len() == 1;
        let takes_pictures = match layer {
            Layer::Relu => !is_flat,
            Layer::Dense { .. } => false,
            _ => true,
        };
        if takes_pictures == is_flat {
            return Err(Error::invalid(match is_flat {
                true => "it takes pictures, but its input is flat",
                false => "it takes flat values: put flatten or global-average before it",
            }));
        }
        let y = match *layer {
            Layer::Conv {
                channels,
                kernel,
                stride,
                halve_from,
            } => {
                let is_large = halve_from.is_some_and(|side| sides[1..].iter().all(|&s| s >= side));
                let stride = if is_large { 2 * stride } else { stride };
                self.conv(&format!("conv{number}"), x, channels, kernel, stride, true)?
            }
            Layer::Relu => self.graph.add(Op::Relu, &[x])?,
            Layer::MaxPool { size } => {
                if sides[1..].iter().any(|&side| side < size) {
                    return Err(Error::invalid(format!(
                        "its windows of {size}x{size} are larger than its input of {}x{}; use larger pictures or \
                         fewer strides",
                        sides[1], sides[2]
                    )));
                }
                self.graph.add(Op::MaxPool(windows(size)), &[x])?
            }
            Layer::Residual { channels, stride } => {
                self.block(&format!("block{number}"), x, channels, stride)?
            }
            Layer::GlobalAverage => {
                let mean = Op::Reduce {
                    kind: Reduction::Mean,
                    axes: vec![2, 3],
                    keep_dims: false,
                };
                self.graph.add(mean, &[x])?
            }
            Layer::Flatten => {
                let flat = vec![Dim::Batch(1), Dim::Fixed(sides.iter().product())];
                self.graph.add(Op::Reshape { shape: flat }, &[x])?
            }
            Layer::Dense { outputs } => self.linear(&format!("dense{number}"), x, outputs, true)?,
        };
        let values = fixed(&self.graph, y)?.iter().product::<usize>();
        if values > MAX_VALUES {
            return Err(Error::unsupported(format!(
                "it computes {values} values for one picture, more than {MAX_VALUES}"
            )));
        }
        Ok(y)
    }

    /// Adds `relu(shortcut(x) + scale * conv(relu(conv(x))))`.
    fn block(&mut self, name: &str, x: ValueId, channels: usize, stride: usize) -> Result<ValueId> {
        let mut branch = self.conv(&format!("{name}.conv1"), x, channels, 3, stride, true)?;
        branch = self.graph.add(Op::Relu, &[branch])?;
        branch = self.conv(&format!("{name}.conv2"), branch, channels, 3, 1, false)?;
        let scale = self.weight(format!("{name}.scale"), vec![1, 1, 1, 1], |_| 1.0)?;
        branch = self.graph.add(Op::Mul, &[branch, scale])?;
        let shortcut = if self.graph.shape(x) == self.graph.shape(branch) {
            x
        } else {
            self.conv(&format!("{name}.shortcut"), x, channels, 1, stride, true)?
        };
        let sum = self.graph.add(Op::Add, &[shortcut, branch])?;
        Ok(self.graph.add(Op::Relu, &[sum])?)
    }

    /// Adds a convolution whose output has the sides of the input divided by `stride`, rounded up. Odd padding goes to
    /// the end. It starts from He's distribution if `drawn`, else from zero.
    fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        channels: usize,
        kernel: usize,
        stride: usize,
        drawn: bool,
    ) -> Result<ValueId> {
        let sides = fixed(&self.graph, x)?;
        let pads: Vec<usize> = sides[1..]
            .iter()
            .map(|side| ((side.div_ceil(stride) - 1) * stride + kernel).saturating_sub(*side))
            .collect();
        let convolution = Convolution {
            strides: vec![stride; 2],
            pads_before: pads.iter().map(|pad| pad / 2).collect(),
            pads_after: pads.iter().map(|pad| pad.div_ceil(2)).collect(),
            dilations: vec![1; 2],
            groups: 1,
        };
        let deviation = if drawn {
            he(sides[0] * kernel * kernel)
        } else {
            0.0
        };
        let weight = self.weight(
            format!("{name}.weight"),
            vec![channels, sides[0], kernel, kernel],
            |rng| (normal(rng) * deviation) as f32,
        )?;
        let bias = self.weight(format!("{name}.bias"), vec![channels], |_| 0.0)?;
        Ok(self
            .graph
            .add_named(name, Op::Conv(convolution), &[x, weight, bias])?)
    }

    /// Adds a linear layer. It starts from He's distribution if `drawn`, else from zero.
    fn linear(&mut self, name: &str, x: ValueId, outputs: usize, drawn: bool) -> Result<ValueId> {
        let inputs = fixed(&self.graph, x)?[0];
        let deviation = if drawn { he(inputs) } else { 0.0 };
        let weight = self.weight(format!("{name}.weight"), vec![outputs, inputs], |rng| {
            (normal(rng) * deviation) as f32
        })?;
        let bias = self.weight(format!("{name}.bias"), vec![outputs], |_| 0.0)?;
        let product = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        Ok(self.graph.add_named(name, product, &[x, weight, bias])?)
    }

    fn weight(
        &mut self,
        name: String,
        shape: Vec<usize>,
        mut value: impl FnMut(&mut ChaCha8Rng) -> f32,
    ) -> Result<ValueId> {
        let count: usize = shape.iter().product();
        self.count = self.count.saturating_add(count);
        if self.count > MAX_WEIGHTS {
            return Err(Error::unsupported(format!(
                "with it the network has more than {MAX_WEIGHTS} weights"
            )));
        }
        let values: Vec<f32> = (0..count).map(|_| value(self.rng)).collect();
        let id = self.graph.named_constant(name, Tensor::f32(shape, values)?);
        self.weights.push(id);
        Ok(id)
    }
}

/// Returns the standard deviation that preserves the variance through a layer with this many inputs and a ReLU.
fn he(inputs: usize) -> f64 {
    (2.0 / inputs as f64).sqrt()
}

/// Adjacent windows without overlap.
fn windows(size: usize) -> Pool {
    Pool {
        kernel: vec![size; 2],
        strides: vec![size; 2],
        pads_before: vec![0; 2],
        pads_after: vec![0; 2],
        dilations: vec![1; 2],
        ceil_extra: vec![0; 2],
    }
}

/// Returns the sides after the batch axis.
fn fixed(graph: &Graph, x: ValueId) -> Result<Vec<usize>> {
    graph.shape(x)[1..]
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(side) => Ok(*side),
            Dim::Batch(_) => Err(Error::invalid("only the first axis may be the batch")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::train::Preset;

    fn build(architecture: &Architecture, input: [usize; 3]) -> Result<Network> {
        let task = Task {
            input,
            classes: 10,
            mean: vec![0.5; input[0]],
            deviation: vec![0.25; input[0]],
        };
        Network::new(architecture, &task, &mut ChaCha8Rng::seed_from_u64(0))
    }

    fn preset(preset: Preset, input: [usize; 3]) -> Result<Network> {
        build(&preset.architecture()?, input)
    }

    #[test]
    fn sizes_are_those_that_are_documented() {
        for (name, input, weights) in [
            (Preset::Tutorial, [1, 28, 28], 84_552..=84_552),
            (Preset::Residual, [3, 32, 32], 90_000..=110_000),
            (Preset::Residual, [3, 64, 64], 90_000..=110_000),
        ] {
            let network = preset(name, input).unwrap();
            let sizes = network
                .weights
                .iter()
                .map(|&id| network.graph.as_constant(id).unwrap().len());
            let count: usize = sizes.sum();
            assert!(weights.contains(&count), "{name} {input:?}: {count}");
            let logits = network.graph.outputs()[0].1;
            assert_eq!(network.graph.shape(logits), [Dim::Batch(1), Dim::Fixed(10)]);
        }
    }

    #[test]
    fn large_pictures_are_halved_at_once() {
        for (side, after) in [(47, 47), (48, 24), (64, 32)] {
            let network = preset(Preset::Residual, [3, side, side]).unwrap();
            let first = network
                .graph
                .ids()
                .find(|&id| network.graph.node(id).name == "conv1");
            let sides = fixed(&network.graph, first.unwrap()).unwrap();
            assert_eq!(sides, [16, after, after]);
        }
    }

    #[test]
    fn weights_have_the_spread_of_he() {
        let network = preset(Preset::Tutorial, [1, 28, 28]).unwrap();
        let values = |name: &str| {
            let id = network
                .weights
                .iter()
                .find(|&&id| network.graph.node(id).name == name);
            network
                .graph
                .as_constant(*id.unwrap())
                .and_then(Tensor::as_f32)
                .unwrap()
        };
        let conv2 = values("conv2.weight");
        let variance = conv2.iter().map(|v| v * v).sum::<f32>() / conv2.len() as f32;
        // 17,856 draws: the variance is known to about 1 %.
        assert!((variance * 288.0 / 2.0 - 1.0).abs() < 0.04, "{variance}");
        assert!(values("head.weight").iter().all(|&weight| weight == 0.0));
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        for (layers, says) in [
            (r#""relu""#, "end with flatten, global-average or dense"),
            (
                r#""flatten", { conv = { channels = 2, kernel = 3 } }"#,
                "layer 2 (conv): it takes pictures",
            ),
            (
                r#""flatten", "global-average""#,
                "layer 2 (global-average): it takes pictures",
            ),
            (
                r#""relu", { dense = { outputs = 2 } }"#,
                "layer 2 (dense): it takes flat values",
            ),
            (
                r#"{ max-pool = { size = 9 } }, "flatten""#,
                "layer 1 (max-pool): its windows of 9x9 are larger than its input of 8x8",
            ),
            (
                r#"{ conv = { channels = 4096, kernel = 1 } }, { conv = { channels = 4096, kernel = 3 } }, "flatten""#,
                "layer 2 (conv): with it the network has more than 50000000 weights",
            ),
        ] {
            let network = format!("layers = [{layers}]").parse().unwrap();
            let error = build(&network, [3, 8, 8]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let wide: Architecture =
            r#"layers = [{ conv = { channels = 4096, kernel = 1 } }, "flatten"]"#
                .parse()
                .unwrap();
        let error = build(&wide, [1, 256, 256]).unwrap_err().to_string();
        assert!(
            error.contains("layer 1 (conv): it computes 268435456 values"),
            "{error}"
        );
        let without_layers: Architecture = r#"layers = ["flatten", "relu"]"#.parse().unwrap();
        assert!(build(&without_layers, [1, 4, 4]).is_ok());
    }

    #[test]
    fn small_pictures_are_refused() {
        assert!(preset(Preset::Tutorial, [3, 10, 10]).is_err());
        assert!(preset(Preset::Tutorial, [3, 11, 11]).is_ok());
    }
}
