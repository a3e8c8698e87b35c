//! Constant tensors: weights, folded shape arithmetic, small helper matrices.

use std::sync::Arc;

use crate::{Error, Result};

/// Element type after normalisation: every float becomes `F32`, every integer `I64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit signed integer.
    I64,
    /// Boolean.
    Bool,
}

/// The elements of a tensor in row-major order. Clones share them.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// 32-bit floats.
    F32(Arc<[f32]>),
    /// 64-bit integers.
    I64(Arc<[i64]>),
    /// Booleans.
    Bool(Arc<[bool]>),
}

/// A tensor with its elements in row-major order. Clones share the elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    elements: Elements,
}

impl Tensor {
    /// Creates a float tensor. The number of `values` must match `shape`.
    pub fn f32(shape: impl Into<Vec<usize>>, values: impl Into<Arc<[f32]>>) -> Result<Self> {
        Self::new(shape.into(), Elements::F32(values.into()))
    }

    /// Creates an integer tensor. The number of `values` must match `shape`.
    pub fn i64(shape: impl Into<Vec<usize>>, values: impl Into<Arc<[i64]>>) -> Result<Self> {
        Self::new(shape.into(), Elements::I64(values.into()))
    }

    /// Creates a tensor of booleans. The number of `values` must match `shape`.
    pub fn bool(shape: impl Into<Vec<usize>>, values: impl Into<Arc<[bool]>>) -> Result<Self> {
        Self::new(shape.into(), Elements::Bool(values.into()))
    }

    /// Creates a tensor from its shape and elements. Their numbers must match.
    pub fn new(shape: Vec<usize>, elements: Elements) -> Result<Self> {
        let expected = shape
            .iter()
            .try_fold(1_usize, |product, &side| product.checked_mul(side));
        let actual = match &elements {
            Elements::F32(values) => values.len(),
            Elements::I64(values) => values.len(),
            Elements::Bool(values) => values.len(),
        };
        if expected != Some(actual) {
            return Err(Error::invalid(format!(
                "a tensor of shape {shape:?} cannot have {actual} elements"
            )));
        }
        Ok(Self { shape, elements })
    }

    /// Creates a float scalar (shape `[]`).
    pub fn scalar(value: f32) -> Self {
        Self {
            shape: Vec::new(),
            elements: Elements::F32(Arc::new([value])),
        }
    }

    /// Creates a one-dimensional integer tensor.
    pub fn vector(values: &[i64]) -> Self {
        Self {
            shape: vec![values.len()],
            elements: Elements::I64(values.into()),
        }
    }

    /// Returns the sides.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements.
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> DType {
        match self.elements {
            Elements::F32(_) => DType::F32,
            Elements::I64(_) => DType::I64,
            Elements::Bool(_) => DType::Bool,
        }
    }

    /// Returns the elements if they are floats.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.elements {
            Elements::F32(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the elements if they are integers.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.elements {
            Elements::I64(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the elements if they are booleans.
    pub fn as_bool(&self) -> Option<&[bool]> {
        match &self.elements {
            Elements::Bool(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the same elements in another shape of the same size.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        Self::new(shape.into(), self.elements.clone())
    }
}
