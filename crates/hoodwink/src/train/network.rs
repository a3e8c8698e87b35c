//! Small classifiers to be trained, as graphs with named weights.

use onnx_grad::{Convolution, DType, Dim, Graph, Op, Pool, Reduction, Tensor, ValueId};
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result, threat::norm::normal};

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Two convolutions of stride 2, each with a max-pooling, then two linear layers without an activation between
    /// them: a small network that is easy to fool. 84,552 weights for grey 28x28 pictures of ten classes.
    Tutorial,
    /// A residual network without normalisation layers: the second convolution of each branch starts at zero and
    /// has a learned scale, after Fixup (Zhang, Dauphin and Ma, arXiv 1901.09321, section 3). About 100,000 weights.
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
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.word() == text)
            .ok_or_else(|| Error::invalid(format!("network {text:?} is not tutorial or residual")))
    }
}

/// What a network is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// `[channels, height, width]` of the pictures.
    pub input: [usize; 3],
    /// Number of classes; at least 2.
    pub classes: usize,
    /// Mean of each channel over the training pictures, in pixel space; subtracted inside the network.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel; divided by inside the network. Positive.
    pub deviation: Vec<f32>,
}

/// A classifier from `pixels` `[N, C, H, W]` in \[0, 1\] to `logits` `[N, classes]`.
#[derive(Clone, Debug)]
pub struct Network {
    /// The computation, with the weights it starts from.
    pub graph: Graph,
    /// The weights: constants of the graph, named `LAYER.weight`, `LAYER.bias` and `LAYER.scale`.
    pub weights: Vec<ValueId>,
}

impl Network {
    /// Draws the starting weights: He's normal distribution (arXiv 1502.01852, section 2.2), biases zero.
    ///
    /// Fails if the pictures are too small for the architecture.
    pub fn new(preset: Preset, task: &Task, rng: &mut ChaCha8Rng) -> Result<Self> {
        let channels = task.input[0];
        if task.classes < 2
            || [&task.mean, &task.deviation]
                .iter()
                .any(|v| v.len() != channels)
        {
            return Err(Error::invalid(format!(
                "a network needs two classes or more and a mean and deviation for each of {channels} channels"
            )));
        }
        let smallest = match preset {
            Preset::Tutorial => 13,
            Preset::Residual => 8,
        };
        if task.input[1].min(task.input[2]) < smallest {
            return Err(Error::unsupported(format!(
                "the {preset} network needs pictures of {smallest}x{smallest} or more"
            )));
        }
        let mut builder = Builder {
            graph: Graph::new(),
            weights: Vec::new(),
            rng,
        };
        let x = builder.normalised(task)?;
        let logits = match preset {
            Preset::Tutorial => builder.tutorial(x, task.classes)?,
            Preset::Residual => builder.residual(x, task.classes)?,
        };
        builder.graph.output("logits", logits);
        Ok(Self {
            graph: builder.graph,
            weights: builder.weights,
        })
    }

    /// Puts other values into the weights, in the order of [`Network::weights`].
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

    fn tutorial(&mut self, mut x: ValueId, classes: usize) -> Result<ValueId> {
        for (name, channels) in [("conv1", 32), ("conv2", 62)] {
            x = self.conv(name, x, channels, 3, 2, true)?;
            x = self.graph.add(Op::Relu, &[x])?;
            x = self.graph.add(Op::MaxPool(halving()), &[x])?;
        }
        let features = fixed(&self.graph, x)?.iter().product();
        let flat = vec![Dim::Batch(1), Dim::Fixed(features)];
        x = self.graph.add(Op::Reshape { shape: flat }, &[x])?;
        x = self.linear("dense1", x, 256)?;
        self.linear("dense2", x, classes)
    }

    fn residual(&mut self, x: ValueId, classes: usize) -> Result<ValueId> {
        // Large pictures are halved at once: the first stage would take most of the time.
        let stride = if fixed(&self.graph, x)?[1..].iter().all(|&side| side >= 48) {
            2
        } else {
            1
        };
        let mut x = self.conv("stem", x, 16, 3, stride, true)?;
        x = self.graph.add(Op::Relu, &[x])?;
        for (name, channels, stride) in [
            ("block1", 16, 1),
            ("block2", 32, 2),
            ("block3", 32, 1),
            ("block4", 64, 2),
        ] {
            x = self.block(name, x, channels, stride)?;
        }
        x = self.graph.add(
            Op::Reduce {
                kind: Reduction::Mean,
                axes: vec![2, 3],
                keep_dims: false,
            },
            &[x],
        )?;
        self.linear("head", x, classes)
    }

    /// `relu(shortcut(x) + scale * conv(relu(conv(x))))`.
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

    /// A convolution whose output has the input's sides over `stride`, rounded up; odd padding goes behind. It starts
    /// from He's distribution if `drawn`, else from zero.
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

    fn linear(&mut self, name: &str, x: ValueId, outputs: usize) -> Result<ValueId> {
        let inputs = fixed(&self.graph, x)?[0];
        let weight = self.weight(format!("{name}.weight"), vec![outputs, inputs], |rng| {
            (normal(rng) * he(inputs)) as f32
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
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| value(self.rng)).collect();
        let id = self.graph.named_constant(name, Tensor::f32(shape, values)?);
        self.weights.push(id);
        Ok(id)
    }
}

/// Standard deviation that keeps the variance through a layer of so many inputs and a ReLU.
fn he(inputs: usize) -> f64 {
    (2.0 / inputs as f64).sqrt()
}

fn halving() -> Pool {
    Pool {
        kernel: vec![2; 2],
        strides: vec![2; 2],
        pads_before: vec![0; 2],
        pads_after: vec![0; 2],
        dilations: vec![1; 2],
        ceil_extra: vec![0; 2],
    }
}

/// The sides behind the batch.
fn fixed(graph: &Graph, x: ValueId) -> Result<Vec<usize>> {
    graph.shape(x)[1..]
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(side) => Ok(*side),
            Dim::Batch(_) => Err(Error::invalid("the batch is the first axis only")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn build(preset: Preset, input: [usize; 3]) -> Result<Network> {
        let task = Task {
            input,
            classes: 10,
            mean: vec![0.5; input[0]],
            deviation: vec![0.25; input[0]],
        };
        Network::new(preset, &task, &mut ChaCha8Rng::seed_from_u64(0))
    }

    #[test]
    fn sizes_are_those_that_are_documented() {
        for (preset, input, weights) in [
            (Preset::Tutorial, [1, 28, 28], 84_552..=84_552),
            (Preset::Residual, [3, 32, 32], 90_000..=110_000),
            (Preset::Residual, [3, 64, 64], 90_000..=110_000),
        ] {
            let network = build(preset, input).unwrap();
            let sizes = network
                .weights
                .iter()
                .map(|&id| network.graph.as_constant(id).unwrap().len());
            let count: usize = sizes.sum();
            assert!(weights.contains(&count), "{preset} {input:?}: {count}");
            let logits = network.graph.outputs()[0].1;
            assert_eq!(network.graph.shape(logits), [Dim::Batch(1), Dim::Fixed(10)]);
        }
    }

    #[test]
    fn weights_have_the_spread_of_he() {
        let network = build(Preset::Tutorial, [1, 28, 28]).unwrap();
        let id = network
            .weights
            .iter()
            .find(|&&id| network.graph.node(id).name == "conv2.weight");
        let values = network
            .graph
            .as_constant(*id.unwrap())
            .unwrap()
            .as_f32()
            .unwrap();
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        // 17,856 draws: the variance is known to about 1 %.
        assert!((variance * 288.0 / 2.0 - 1.0).abs() < 0.04, "{variance}");
    }

    #[test]
    fn small_pictures_are_refused() {
        for (preset, side) in [(Preset::Tutorial, 12), (Preset::Residual, 7)] {
            assert!(matches!(
                build(preset, [3, side, side]),
                Err(Error::Unsupported(_))
            ));
        }
        assert!(build(Preset::Tutorial, [3, 13, 13]).is_ok());
    }
}
