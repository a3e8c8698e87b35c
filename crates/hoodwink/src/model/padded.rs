//! A program whose number of rows is frozen, for fewer.

use std::sync::Arc;

use onnx_grad::{Elements, Tensor};

use crate::{Error, Result, engine::Executable};

/// A program that takes exactly `rows` rows: where there are fewer, the last is repeated, and what is answered to the
/// repetitions is dropped.
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
                "a program of {} rows was asked about {asked}",
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

/// These rows of a tensor, one after the other.
fn picked(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let count = shape.first().copied().unwrap_or(0);
    if count == 0 || rows.iter().any(|&row| row >= count) {
        return Err(Error::invalid(format!(
            "a tensor {shape:?} lacks rows that are needed"
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
    use super::*;

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
}
