//! How much can run at once within a memory limit.

use onnx_grad::{Dim, Graph, Op, inspect::Cost};

use super::limits::resident;
use crate::{Error, Result, model::Classifier, oracle::pool::Parallelism};

/// Bytes that an execution takes per byte of values alive at the same time. Engines copy into other layouts and need
/// workspaces, and allocators keep freed memory. Measured on seven networks with both engines: 1.9 to 2.9.
const OVERHEAD: u64 = 3;

/// Additional bytes for the engine, pictures and rows.
const BESIDES: u64 = 24 << 20;

/// Copies of the weights per worker: the file that it compiles, and the engine's own copy.
const COPIES: u64 = 2;

/// Returns the largest parallelism, at most `wanted`, whose work is expected to fit into `limit` bytes together with
/// the process's current memory. Reduces the pictures at once before the threads. Refuses a limit that is too small for
/// one thread.
///
/// `gradients` says whether gradients are needed besides logits; the losses make no difference. The result is an
/// estimate from the graph. [`super::Limits`] enforces the limit.
pub fn fitting(
    model: &Classifier,
    gradients: bool,
    wanted: Parallelism,
    limit: u64,
) -> Result<Parallelism> {
    let need = Need::of(model, gradients)?;
    let base = resident().unwrap_or(0).saturating_add(BESIDES);
    // The first program runs in several batch sizes before its first use.
    let probe = Parallelism {
        threads: 1,
        batch: model.at_once(),
    };
    let least = base.saturating_add(need.bytes(probe));
    if least > limit {
        return Err(Error::invalid(format!(
            "{} of memory are not enough: this model needs about {}",
            shown(limit),
            shown(least)
        )));
    }
    let wanted = wanted.within(usize::MAX);
    let fits = |crew: &Parallelism| base.saturating_add(need.bytes(*crew)) <= limit;
    let threads = (1..=wanted.threads).rev();
    let crews = threads.flat_map(|threads| {
        let batches = (1..=wanted.batch).rev();
        batches.map(move |batch| Parallelism { threads, batch })
    });
    let most = |crew: &Parallelism| crew.threads * crew.batch.min(model.at_once());
    let fitting: Vec<Parallelism> = crews.filter(fits).collect();
    // The first of several equal values has the most threads.
    let best = fitting.iter().map(most).max();
    let found = fitting.iter().find(|crew| Some(most(crew)) == best);
    Ok(found.copied().unwrap_or(Parallelism {
        threads: 1,
        batch: 1,
    }))
}

/// The memory that one worker needs.
struct Need {
    weights: u64,
    /// Bytes per picture in an execution.
    picture: u64,
    /// The maximum number of pictures in an execution.
    at_once: usize,
}

impl Need {
    fn of(model: &Classifier, gradients: bool) -> Result<Self> {
        // The memory of a file that runs as it is cannot be estimated. Then only the limit applies.
        let (mut weights, mut picture) = model.forward_graph().map_or((0, 0), weights_and_picture);
        if gradients {
            let gradient = weights_and_picture(&*model.gradient_graph()?);
            // The judge asks for logits, so both programs stay compiled and keep the memory of their last execution.
            weights += gradient.0;
            picture = picture.saturating_add(gradient.1);
        }
        Ok(Self {
            weights,
            picture,
            at_once: model.at_once(),
        })
    }

    fn bytes(&self, crew: Parallelism) -> u64 {
        let rows = crew.batch.min(self.at_once) as u64;
        let worker = (COPIES * self.weights).saturating_add(OVERHEAD * rows * self.picture);
        worker.saturating_mul(crew.threads as u64)
    }
}

/// Returns the bytes of a graph's weights, and of the values alive at the same time for one picture.
fn weights_and_picture(graph: &Graph) -> (u64, u64) {
    let constants = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Constant(_)));
    let elements = constants.map(|node| {
        let sides = node.shape.iter().map(|dim| match *dim {
            Dim::Fixed(side) | Dim::Batch(side) => side as u64,
        });
        sides.product::<u64>()
    });
    (4 * elements.sum::<u64>(), Cost::of(graph).activation_bytes)
}

/// Formats bytes in units of 1,024.
fn shown(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
