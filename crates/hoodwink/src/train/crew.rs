//! Threads that each hold the compiled programs of one network.
//!
//! Nothing here depends on the number of threads: work is cut into shards of a fixed size, a shard's numbers depend
//! only on the shard, and results come back in the order of the shards.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use onnx_grad::{DType, Graph, Loss, Tensor, training_graph};

use super::network::Network;
use crate::{
    Error, Result,
    engine::{Engine, Executable},
    image::Image,
    oracle::argmax,
    parallel::spawn,
};

/// Pictures per execution: few enough to stay in a core's cache.
pub(super) const SHARD: usize = 16;

/// One thread's programs. All take the pixels first and the weights last.
pub(super) struct Worker {
    logits: Box<dyn Executable>,
    weight_gradients: Box<dyn Executable>,
    pixel_gradients: Option<Box<dyn Executable>>,
}

/// The contribution of a shard to a step.
pub(super) struct Learned {
    /// Sum of the losses.
    pub(super) loss: f64,
    /// Number of pictures that were classified correctly.
    pub(super) correct: usize,
    /// The gradient of the sum of the losses, for each weight.
    pub(super) gradients: Vec<Tensor>,
}

/// Builds the program from pixels, labels and weights to the gradient of each picture's cross-entropy with respect to
/// its pixels.
fn pixel_gradient(network: &Network) -> Result<Graph> {
    let mut graph = network.graph.clone();
    let (&[pixels], &[(_, logits)]) = (graph.inputs(), graph.outputs()) else {
        return Err(unexpected());
    };
    let batch = graph.shape(logits)[0];
    graph.clear_outputs();
    let labels = graph.input("labels", DType::I64, vec![batch]);
    for &weight in &network.weights {
        graph.constant_to_input(weight)?;
    }
    let loss = Loss::CrossEntropy.append(&mut graph, logits, labels, None)?;
    let gradient = onnx_grad::gradient(&mut graph, loss, &[pixels])?;
    graph.output("grad", gradient[0]);
    Ok(graph)
}

impl Worker {
    fn new(network: &Network, engine: &dyn Engine, attacks: bool) -> Result<Self> {
        let learned = training_graph(&network.graph, Loss::CrossEntropy, &network.weights)?;
        let mut forward = network.graph.clone();
        for &weight in &network.weights {
            forward.constant_to_input(weight)?;
        }
        Ok(Self {
            logits: engine.compile(&forward)?,
            weight_gradients: engine.compile(&learned)?,
            pixel_gradients: attacks
                .then(|| engine.compile(&pixel_gradient(network)?))
                .transpose()?,
        })
    }

    /// Returns the most likely class of each image.
    pub(super) fn classes(&mut self, images: &[Image], weights: &[Tensor]) -> Result<Vec<usize>> {
        let inputs = [&[stack(images)?], weights].concat();
        let [logits] = self
            .logits
            .run(&inputs)?
            .try_into()
            .map_err(|_| unexpected())?;
        most_likely(&logits, images.len())
    }

    /// Computes the cross-entropy of the images and its gradients with respect to the weights.
    pub(super) fn learn(
        &mut self,
        images: &[Image],
        labels: &[usize],
        weights: &[Tensor],
    ) -> Result<Learned> {
        let inputs = [&[stack(images)?, classes(labels)], weights].concat();
        let mut outputs = self.weight_gradients.run(&inputs)?;
        if outputs.len() != weights.len() + 2 {
            return Err(unexpected());
        }
        let gradients = outputs.split_off(2);
        let losses = outputs[1].as_f32().ok_or_else(unexpected)?;
        let seen = most_likely(&outputs[0], images.len())?;
        Ok(Learned {
            loss: losses.iter().map(|&loss| f64::from(loss)).sum(),
            correct: seen
                .iter()
                .zip(labels)
                .filter(|(seen, label)| seen == label)
                .count(),
            gradients,
        })
    }

    /// Computes the gradient of each image's cross-entropy with respect to its pixels.
    ///
    /// Fails if the worker was created without attacks.
    pub(super) fn pixel_gradients(
        &mut self,
        images: &[Image],
        labels: &[usize],
        weights: &[Tensor],
    ) -> Result<Vec<Image>> {
        let inputs = [&[stack(images)?, classes(labels)], weights].concat();
        let program = self.pixel_gradients.as_mut().ok_or_else(unexpected)?;
        let [gradients] = program.run(&inputs)?.try_into().map_err(|_| unexpected())?;
        let values = gradients.as_f32().ok_or_else(unexpected)?;
        let shape = images[0].shape();
        let size: usize = shape.iter().product();
        values
            .chunks_exact(size)
            .map(|values| Image::new(shape, values.to_vec()))
            .collect()
    }
}

/// All workers.
pub(super) struct Crew(Vec<Worker>);

impl Crew {
    pub(super) fn new(
        network: &Network,
        engine: &dyn Engine,
        threads: usize,
        attacks: bool,
    ) -> Result<Self> {
        (0..threads.max(1))
            .map(|_| Worker::new(network, engine, attacks))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Runs `task` on every job, on whichever thread is free. Returns the results in the order of the jobs.
    pub(super) fn map<J: Sync, T: Send>(
        &mut self,
        jobs: &[J],
        task: impl Fn(&mut Worker, &J) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let mut done: Vec<(usize, Result<T>)> = thread::scope(|scope| {
            let running = self.0.iter_mut().take(jobs.len()).map(|worker| {
                spawn(scope, || {
                    let mut done = Vec::new();
                    while let Some((at, job)) = take(&next, jobs) {
                        done.push((at, task(worker, job)));
                    }
                    done
                })
            });
            let running = running.collect::<Result<Vec<_>>>()?;
            let done = running.into_iter().flat_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            Ok::<_, Error>(done.collect())
        })?;
        done.sort_by_key(|&(at, _)| at);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

fn take<'j, J>(next: &AtomicUsize, jobs: &'j [J]) -> Option<(usize, &'j J)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(at).map(|job| (at, job))
}

/// Stacks images as `[N, C, H, W]`.
fn stack(images: &[Image]) -> Result<Tensor> {
    let [channels, height, width] = images.first().ok_or_else(unexpected)?.shape();
    let pixels: Vec<f32> = images
        .iter()
        .flat_map(|image| image.pixels())
        .copied()
        .collect();
    Ok(Tensor::f32(
        [images.len(), channels, height, width],
        pixels,
    )?)
}

fn classes(labels: &[usize]) -> Tensor {
    Tensor::vector(&labels.iter().map(|&label| label as i64).collect::<Vec<_>>())
}

fn most_likely(logits: &Tensor, count: usize) -> Result<Vec<usize>> {
    let values = logits.as_f32().ok_or_else(unexpected)?;
    if values.is_empty() || values.len() % count != 0 {
        return Err(unexpected());
    }
    Ok(values
        .chunks_exact(values.len() / count)
        .map(argmax)
        .collect())
}

fn unexpected() -> Error {
    Error::invalid("the engine returned another shape than the graph declares")
}
