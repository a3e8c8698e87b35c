//! A program with a fixed number of rows, for fewer rows.

use std::sync::Arc;

use onnx_grad::{Elements, Tensor};

use crate::{Error, Result, engine::Executable};

/// A program that takes exactly `rows` rows. If there are fewer, the last one is repeated, and the answers to the
/// repetitions are dropped.
pub(super) struct Padded {
    pub(super) program: Box<dyn Executable>,
    pub(super) rows: usize,
}

impl Executable for Padded {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let asked = inputs.first().and_then(|input| input.shape().first());
        let asked = *asked.unwrap_or(&0);
        if asked == self.rows {
            return self.program.run(inputs);
        }
        if asked == 0 || asked > self.rows {
            return Err(Error::invalid(format!(
                "the program takes {} rows, but got {asked}",
                self.rows
            )));
        }
        let rows: Vec<usize> = (0..self.rows).map(|row| row.min(asked - 1)).collect();
        let padded: Vec<Tensor> = inputs
            .iter()
            .map(|input| picked(input, &rows))
            .collect::<Result<_>>()?;
        let answers = self.program.run(&padded)?;
        answers
            .iter()
            .map(|answer| picked(answer, &rows[..asked]))
            .collect()
    }
}

/// Copies these rows of a tensor.
fn picked(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let count = shape.first().copied().unwrap_or(0);
    if count == 0 || rows.iter().any(|&row| row >= count) {
        return Err(Error::invalid(format!(
            "a tensor of shape {shape:?} has too few rows"
        )));
    }
    shape[0] = rows.len();
    fn of<T: Copy>(values: &[T], count: usize, rows: &[usize]) -> Arc<[T]> {
        let size = values.len() / count;
        let row = |&row: &usize| values[row * size..][..size].iter().copied();
        rows.iter().flat_map(row).collect()
    }
    let elements = match tensor.elements() {
        Elements::F32(values) => Elements::F32(of(values, count, rows)),
        Elements::I64(values) => Elements::I64(of(values, count, rows)),
        Elements::Bool(values) => Elements::Bool(of(values, count, rows)),
    };
    Ok(Tensor::new(shape, elements)?)
}

#[cfg(test)]
mod tests {
    use onnx_grad::{DType, Dim, Graph, Lowering, Op};

    use super::*;
    use crate::{
        engine::{self, Choice},
        image::Image,
        model::Classifier,
        oracle::{Loss, Objective, pool::Model as _},
        preprocessing::Preprocessing,
    };

    /// Doubles three rows, and fails with another number of them.
    struct Three;

    impl Executable for Three {
        fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
            assert_eq!(inputs[0].shape(), [3, 2]);
            let values = inputs[0].as_f32().unwrap_or_default();
            let doubled: Vec<f32> = values.iter().map(|value| 2.0 * value).collect();
            Ok(vec![Tensor::f32([3, 2], doubled)?])
        }
    }

    #[test]
    fn fewer_rows_are_answered_as_so_many() -> Result<()> {
        let mut program = Padded {
            program: Box::new(Three),
            rows: 3,
        };
        for rows in 1..=3 {
            let values: Vec<f32> = (0..2 * rows).map(|value| value as f32).collect();
            let answer = program.run(&[Tensor::f32([rows, 2], values.clone())?])?;
            let doubled: Vec<f32> = values.iter().map(|value| 2.0 * value).collect();
            assert_eq!(answer, [Tensor::f32([rows, 2], doubled)?]);
        }
        for rows in [0, 4] {
            let values = vec![0.0; 2 * rows];
            assert!(program.run(&[Tensor::f32([rows, 2], values)?]).is_err());
        }
        Ok(())
    }

    /// A grey picture of 2 x 2 to four scores, twice its pixels, for three pictures: no number of them but three fits.
    fn three_at_a_time() -> onnx_grad::Result<Vec<u8>> {
        let mut graph = Graph::new();
        let x = graph.input("x", DType::F32, [3, 1, 2, 2].map(Dim::Fixed).to_vec());
        let shape = [3, 4].map(Dim::Fixed).to_vec();
        let row = graph.add(Op::Reshape { shape }, &[x])?;
        // Written as a shape that says three, which the batch can not be freed of.
        let twelve = graph.add(
            Op::Reshape {
                shape: vec![Dim::Fixed(12)],
            },
            &[row],
        )?;
        let two = graph.scalar(2.0);
        let doubled = graph.add(Op::Mul, &[twelve, two])?;
        let shape = [3, 4].map(Dim::Fixed).to_vec();
        let y = graph.add(Op::Reshape { shape }, &[doubled])?;
        graph.output("y", y);
        onnx_grad::to_onnx(&graph, Lowering::Portable)
    }

    #[test]
    fn a_model_for_three_pictures_answers_any_number_of_them() -> Result<()> {
        let engine = engine::open(Choice::Rten)?;
        let plain = Preprocessing::default();
        let model = Classifier::from_bytes(&three_at_a_time()?, &plain, engine)?;
        assert!(
            model.notices()[0].contains("frozen at 3"),
            "{:?}",
            model.notices()
        );
        let pixels = |picture: usize| (0..4).map(|at| (picture + at) as f32 / 16.0).collect();
        let images: Vec<Image> = (0..7)
            .map(|picture| Image::new([1, 2, 2], pixels(picture)))
            .collect::<Result<_>>()?;
        let objective = Objective::Loss {
            loss: Loss::Margin,
            label: 0,
            target: None,
        };
        let mut worker = model.worker()?;
        for count in 1..=7 {
            let asked: Vec<&Image> = images[..count].iter().collect();
            let doubled = asked
                .iter()
                .map(|image| image.pixels().iter().map(|pixel| 2.0 * pixel).collect());
            let doubled: Vec<Vec<f32>> = doubled.collect();
            assert_eq!(worker.logits(&asked)?, doubled, "{count}");
            for found in worker.differentials(&asked, &vec![&objective; count])? {
                assert_eq!(found.gradient.pixels(), [-2.0, 0.0, 0.0, 2.0], "{count}");
            }
        }
        Ok(())
    }
}
