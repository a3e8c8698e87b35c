//! A classifier in pixel space: an ONNX file with its preprocessing, ready to be asked and differentiated.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use onnx_grad::{Dim, Graph, Loss, Tensor};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    engine::{Engine, Executable},
    image::Image,
    oracle::{
        Objective, Seen,
        batcher::{Model, Worker},
    },
    preprocessing::{Preprocessing, pixels},
};

/// A classifier in pixel space.
pub struct Classifier {
    graph: Graph,
    engine: Arc<dyn Engine>,
    input: [usize; 3],
    classes: usize,
    sha256: String,
    notices: Vec<String>,
    /// Gradient graphs by loss, made when first asked for and shared by all workers.
    gradients: Mutex<BTreeMap<Loss, Arc<Graph>>>,
}

impl Classifier {
    /// Reads an ONNX file (and files of weights beside it) and puts its preprocessing in front.
    pub fn open(
        path: &Path,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let loaded = onnx_grad::load(path)?;
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        Self::new(&loaded.graph, loaded.notices, sha256, preprocessing, engine)
    }

    /// As [`Classifier::open`], from the bytes of an ONNX file that needs no other file.
    pub fn from_bytes(
        bytes: &[u8],
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let loaded = onnx_grad::parse(bytes, None)?;
        let sha256 = hexadecimal(&Sha256::digest(bytes));
        Self::new(&loaded.graph, loaded.notices, sha256, preprocessing, engine)
    }

    fn new(
        model: &Graph,
        notices: Vec<String>,
        sha256: String,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let (&[own_input], [_, ..]) = (model.inputs(), model.outputs()) else {
            return Err(Error::unsupported(format!(
                "the model has {} inputs and {} outputs; one picture in and one row of scores out are needed",
                model.inputs().len(),
                model.outputs().len()
            )));
        };
        let wanted = model.shape(own_input).to_vec();
        let input = preprocessing.picture_shape(&wanted)?;
        let mut graph = Graph::new();
        let x = pixels(&mut graph, input);
        let prepared = preprocessing.append(&mut graph, x, input[0], &wanted)?;
        let scores = graph.inline(model, &[prepared])?[0];
        let logits = onnx_grad::logits(&mut graph, scores)?;
        let classes = match graph.shape(logits) {
            &[Dim::Batch(1), Dim::Fixed(classes)] if classes > 1 => classes,
            _ => {
                return Err(Error::unsupported(
                    "the model's first output is not one row of scores for each picture",
                ));
            }
        };
        graph.output("logits", logits);
        Ok(Self {
            graph: onnx_grad::fold(&graph)?,
            engine,
            input,
            classes,
            sha256,
            notices,
            gradients: Mutex::default(),
        })
    }

    /// `[channels, height, width]` of the images it is shown.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// SHA-256 of the model file, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What the user should know about how the model was read.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// From `pixels` to `logits`, preprocessing included.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The engine that runs it.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    fn gradient_graph(&self, loss: Loss) -> Result<Arc<Graph>> {
        let mut graphs = self
            .gradients
            .lock()
            .map_err(|_| Error::invalid("another worker failed while differentiating the model"))?;
        if let Some(graph) = graphs.get(&loss) {
            return Ok(Arc::clone(graph));
        }
        let graph = Arc::new(onnx_grad::fold(&onnx_grad::gradient_graph(
            &self.graph,
            loss,
        )?)?);
        graphs.insert(loss, Arc::clone(&graph));
        Ok(graph)
    }
}

impl Model for Classifier {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(ClassifierWorker {
            classifier: self,
            forward: None,
            gradients: BTreeMap::new(),
        }))
    }
}

/// One thread's compiled programs, made when first needed.
struct ClassifierWorker<'a> {
    classifier: &'a Classifier,
    forward: Option<Box<dyn Executable>>,
    gradients: BTreeMap<Loss, Box<dyn Executable>>,
}

impl Worker for ClassifierWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let pixels = stack(images, self.classifier.input)?;
        let program = match &mut self.forward {
            Some(program) => program,
            slot => slot.insert(self.classifier.engine.compile(&self.classifier.graph)?),
        };
        let [logits] = program
            .run(&[pixels])?
            .try_into()
            .map_err(|_| unexpected())?;
        rows(&logits, images.len())
    }

    fn gradients(&mut self, images: &[&Image], objectives: &[Objective]) -> Result<Vec<Seen>> {
        let Some(Objective { loss, .. }) = objectives.first().copied() else {
            return Ok(Vec::new());
        };
        let count = images.len();
        let mut inputs = vec![
            stack(images, self.classifier.input)?,
            classes(objectives, |o| Some(o.label))?,
        ];
        if loss.is_targeted() {
            inputs.push(classes(objectives, |o| o.target)?);
        }
        let program = match self.gradients.entry(loss) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let graph = self.classifier.gradient_graph(loss)?;
                entry.insert(self.classifier.engine.compile(&graph)?)
            }
        };
        let [logits, losses, gradient] =
            program.run(&inputs)?.try_into().map_err(|_| unexpected())?;
        let logits = rows(&logits, count)?;
        let losses = rows(&losses, count)?;
        let gradients = rows(&gradient, count)?;
        logits
            .into_iter()
            .zip(losses)
            .zip(gradients)
            .map(|((logits, loss), gradient)| {
                Ok(Seen {
                    logits,
                    loss: loss.first().copied().ok_or_else(unexpected)?,
                    gradient: Image::new(self.classifier.input, gradient)?,
                })
            })
            .collect()
    }
}

/// Images one after the other as `[N, C, H, W]`.
fn stack(images: &[&Image], [channels, height, width]: [usize; 3]) -> Result<Tensor> {
    let mut values = Vec::with_capacity(images.len() * channels * height * width);
    for image in images {
        if image.shape() != [channels, height, width] {
            return Err(Error::invalid(format!(
                "the model takes pictures of {channels} channels, {height}x{width}, and was shown {:?}; \
                 --resize and --crop scale pictures",
                image.shape()
            )));
        }
        values.extend_from_slice(image.pixels());
    }
    Ok(Tensor::f32(
        [images.len(), channels, height, width],
        values,
    )?)
}

fn classes(
    objectives: &[Objective],
    class: impl Fn(&Objective) -> Option<usize>,
) -> Result<Tensor> {
    let values: Option<Vec<i64>> = objectives
        .iter()
        .map(|objective| class(objective).and_then(|class| i64::try_from(class).ok()))
        .collect();
    let values =
        values.ok_or_else(|| Error::invalid("this loss needs a class to aim at; give --target"))?;
    Ok(Tensor::vector(&values))
}

/// The values of each of `count` pictures.
fn rows(tensor: &Tensor, count: usize) -> Result<Vec<Vec<f32>>> {
    let values = tensor.as_f32().ok_or_else(unexpected)?;
    if count == 0 || values.len() % count != 0 {
        return Err(unexpected());
    }
    Ok(values
        .chunks_exact(values.len() / count)
        .map(<[f32]>::to_vec)
        .collect())
}

fn unexpected() -> Error {
    Error::invalid("the engine answered in another shape than the graph promises")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
