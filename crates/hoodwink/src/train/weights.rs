//! The trained values.

use onnx_grad::Tensor;

use super::{Network, crew::Learned};
use crate::{Error, Result};

/// The values of all weights, in the network's order.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub(super) names: Vec<String>,
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) values: Vec<Vec<f32>>,
}

impl Weights {
    pub(super) fn of(network: &Network) -> Result<Self> {
        let (mut names, mut shapes, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for &id in &network.weights {
            let tensor = network
                .graph
                .as_constant(id)
                .and_then(|t| Some((t.shape(), t.as_f32()?)));
            let (shape, elements) =
                tensor.ok_or_else(|| Error::invalid("a weight is not a float constant"))?;
            names.push(network.graph.node(id).name.clone());
            shapes.push(shape.to_vec());
            values.push(elements.to_vec());
        }
        Ok(Self {
            names,
            shapes,
            values,
        })
    }

    pub(super) fn sizes(&self) -> Vec<usize> {
        self.values.iter().map(Vec::len).collect()
    }

    pub(super) fn tensors(&self) -> Result<Vec<Tensor>> {
        let pairs = self.shapes.iter().zip(&self.values);
        pairs
            .map(|(shape, values)| Ok(Tensor::f32(shape.clone(), values.as_slice())?))
            .collect()
    }

    /// Adds the shards' gradients in order and divides by the number of pictures.
    pub(super) fn mean_gradient(
        &self,
        shards: &[Learned],
        pictures: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let mut sums: Vec<Vec<f32>> = self
            .values
            .iter()
            .map(|values| vec![0.0; values.len()])
            .collect();
        for shard in shards {
            for (sum, gradient) in sums.iter_mut().zip(&shard.gradients) {
                let gradient = gradient
                    .as_f32()
                    .filter(|gradient| gradient.len() == sum.len())
                    .ok_or_else(|| {
                        Error::invalid("a weight's gradient has another shape than the weight")
                    })?;
                for (sum, value) in sum.iter_mut().zip(gradient) {
                    *sum += value;
                }
            }
        }
        for value in sums.iter_mut().flatten() {
            *value /= pictures as f32;
        }
        Ok(sums)
    }
}
