//! How much may run at once within a limit of memory.

use onnx_grad::{Dim, Graph, Op, inspect::Cost};

use super::limits::resident;
use crate::{Error, Result, model::Classifier, oracle::pool::Parallelism};

/// Bytes that an execution takes, for each byte of values alive at once: engines copy into other layouts and need
/// workspaces, and allocators keep what they were given. Measured on seven networks with both engines: 1.9 to 2.9.
const OVERHEAD: u64 = 3;

/// Bytes that an engine, pictures and rows take besides.
const BESIDES: u64 = 24 << 20;

/// Copies of the weights that a worker makes: the file it compiles, and what the engine makes of it.
const COPIES: u64 = 2;

/// The largest crew, at most `wanted`, whose work is expected to fit into `limit` bytes with what the process holds
/// already; fewer pictures at once before fewer threads. Refuses a limit that is too small for one thread.
///
/// `gradients` says whether gradients are asked for besides logits; of which losses makes no difference. It is an estimate
/// from the graph; [`super::Limits`] sees to the rest.
pub fn fitting(
    model: &Classifier,
    gradients: bool,
    wanted: Parallelism,
    limit: u64,
) -> Result<Parallelism> {
    let need = Need::of(model, gradients)?;
    let base = resident().unwrap_or(0).saturating_add(BESIDES);
    // The first program is asked in several batches before its first use.
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
    // Of equals the first: it has the most threads.
    let best = fitting.iter().map(most).max();
    let found = fitting.iter().find(|crew| Some(most(crew)) == best);
    Ok(found.copied().unwrap_or(Parallelism {
        threads: 1,
        batch: 1,
    }))
}

/// What one worker needs.
struct Need {
    weights: u64,
    /// For each picture in an execution.
    picture: u64,
    /// The most pictures in an execution.
    at_once: usize,
}

impl Need {
    fn of(model: &Classifier, gradients: bool) -> Result<Self> {
        // Of a file that is run as it is nothing is known: the limit is watched, and that is all.
        let (mut weights, mut picture) = model.forward_graph().map_or((0, 0), weights_and_picture);
        if gradients {
            let gradient = weights_and_picture(&*model.gradient_graph()?);
            // The judge asks for logits: both programs stay compiled, and keep the memory of their last execution.
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

/// Bytes of a graph's weights, and of what is alive at once while it answers about one picture.
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

/// Bytes in units of 1,024.
fn shown(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
