//! Runs graphs whose inputs are all floats, in rten.

use onnx_grad::{DType, Graph, Lowering, Tensor, to_onnx};
use rten::{Model, Value, ValueOrView};
use rten_tensor::{AsView as _, Layout as _};

pub(crate) struct Program(Model);

impl Program {
    pub(crate) fn new(graph: &Graph) -> Self {
        let only_floats = graph
            .outputs()
            .iter()
            .all(|&(_, id)| graph.node(id).dtype == DType::F32);
        assert!(only_floats, "only floats are asked for");
        let bytes = to_onnx(graph, Lowering::Portable).expect("a checked graph can be written");
        Self(Model::load(bytes).expect("rten reads what was written"))
    }

    /// Returns the outputs, or rten's error about the graph.
    pub(crate) fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let inputs = (self.0.input_ids().iter().zip(inputs))
            .map(|(&id, tensor)| {
                let values = tensor.as_f32().expect("floats").to_vec();
                let value = Value::from(rten_tensor::Tensor::from_data(tensor.shape(), values));
                (id, ValueOrView::from(value))
            })
            .collect();
        let answers = self.0.run(inputs, self.0.output_ids(), None);
        let answers = answers.map_err(|error| error.to_string())?;
        let read = |value: Value| {
            let tensor: rten_tensor::Tensor<f32> = value.try_into().expect("a float tensor");
            Tensor::f32(tensor.shape(), tensor.to_vec()).expect("rten's tensors are whole")
        };
        Ok(answers.into_iter().map(read).collect())
    }
}
