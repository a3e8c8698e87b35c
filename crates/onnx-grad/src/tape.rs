//! Formulas over values of a graph: `g * (1.0 - y * y)` appends the nodes that compute it.

use std::{
    cell::RefCell,
    mem,
    ops::{Add, Div, Mul, Neg, Sub},
};

use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    node::ValueId,
    op::{Op, PadMode, Reduction},
    tensor::Tensor,
};

/// Axes of the placeholder for the result of a failed operator: the maximum rank of any value.
const PLACEHOLDER_AXES: usize = 64;

/// A graph that formulas append to.
///
/// A formula cannot stop half-way. So the first failure is kept, later nodes are placeholders, and [`Tape::record`]
/// returns the failure.
pub(crate) struct Tape {
    graph: RefCell<Graph>,
    failure: RefCell<Option<Error>>,
}

impl Tape {
    /// Lets `write` append to `graph`.
    pub(crate) fn record<T>(
        graph: &mut Graph,
        write: impl FnOnce(&Tape) -> Result<T>,
    ) -> Result<T> {
        let tape = Tape {
            graph: RefCell::new(mem::take(graph)),
            failure: RefCell::default(),
        };
        let written = write(&tape);
        *graph = tape.graph.into_inner();
        match tape.failure.into_inner() {
            Some(failure) => Err(failure),
            None => written,
        }
    }

    /// Returns the first failure so far, if any, and clears it.
    pub(crate) fn failure(&self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Returns a value of the graph as an expression.
    pub(crate) fn value(&self, id: ValueId) -> Expr<'_> {
        Expr { tape: self, id }
    }

    /// Appends a constant.
    pub(crate) fn constant(&self, tensor: Tensor) -> Expr<'_> {
        self.value(self.graph.borrow_mut().constant(tensor))
    }

    /// Appends a float constant. Fails like [`Tensor::f32`].
    pub(crate) fn floats(&self, shape: Vec<usize>, values: Vec<f32>) -> Expr<'_> {
        self.keep(Tensor::f32(shape, values))
    }

    /// Appends `0, 1, 2, ...` along one axis of a tensor of that rank.
    pub(crate) fn arange(&self, count: usize, axis: usize, rank: usize) -> Expr<'_> {
        let mut shape = vec![1; rank];
        shape[axis] = count;
        self.keep(Tensor::i64(shape, (0..count as i64).collect::<Vec<_>>()))
    }

    /// Applies an operator to values.
    pub(crate) fn apply(&self, op: Op, inputs: &[Expr<'_>]) -> Expr<'_> {
        let inputs: Vec<ValueId> = inputs.iter().map(|input| input.id).collect();
        let added = self.graph.borrow_mut().add(op, &inputs);
        match added {
            Ok(id) => self.value(id),
            Err(failure) => self.fail(failure),
        }
    }

    /// Keeps a failure and returns a placeholder.
    pub(crate) fn fail(&self, failure: Error) -> Expr<'_> {
        self.failure.borrow_mut().get_or_insert(failure);
        // It has the maximum rank, so that the rest of the formula finds every axis it looks for.
        match Tensor::f32(vec![1; PLACEHOLDER_AXES], vec![f32::NAN]) {
            Ok(placeholder) => self.constant(placeholder),
            Err(_) => self.constant(Tensor::scalar(f32::NAN)),
        }
    }

    fn keep(&self, tensor: Result<Tensor>) -> Expr<'_> {
        match tensor {
            Ok(tensor) => self.constant(tensor),
            Err(failure) => self.fail(failure),
        }
    }
}

/// A value on a [`Tape`].
#[derive(Clone, Copy)]
pub(crate) struct Expr<'t> {
    tape: &'t Tape,
    pub(crate) id: ValueId,
}

impl<'t> Expr<'t> {
    pub(crate) fn tape(self) -> &'t Tape {
        self.tape
    }

    pub(crate) fn shape(self) -> Vec<Dim> {
        self.tape.graph.borrow().shape(self.id).to_vec()
    }

    pub(crate) fn rank(self) -> usize {
        self.tape.graph.borrow().shape(self.id).len()
    }

    /// Returns the tensor of the value, if it is a constant.
    pub(crate) fn as_constant(self) -> Option<Tensor> {
        self.tape.graph.borrow().as_constant(self.id).cloned()
    }

    /// Applies an operator to this value.
    pub(crate) fn apply(self, op: Op) -> Expr<'t> {
        self.tape.apply(op, &[self])
    }

    /// Applies an operator to this value and another.
    pub(crate) fn with(self, op: Op, other: impl Operand<'t>) -> Expr<'t> {
        self.tape.apply(op, &[self, other.on(self.tape)])
    }

    pub(crate) fn exp(self) -> Self {
        self.apply(Op::Exp)
    }

    pub(crate) fn log(self) -> Self {
        self.apply(Op::Log)
    }

    pub(crate) fn sqrt(self) -> Self {
        self.apply(Op::Sqrt)
    }

    pub(crate) fn pow(self, exponent: impl Operand<'t>) -> Self {
        self.with(Op::Pow, exponent)
    }

    pub(crate) fn greater(self, other: impl Operand<'t>) -> Self {
        self.with(Op::Greater, other)
    }

    pub(crate) fn less(self, other: impl Operand<'t>) -> Self {
        self.with(Op::Less, other)
    }

    pub(crate) fn equal(self, other: impl Operand<'t>) -> Self {
        self.with(Op::Equal, other)
    }

    pub(crate) fn and(self, other: Expr<'t>) -> Self {
        self.with(Op::And, other)
    }

    /// Computes `self ? yes : no` for a boolean `self`.
    pub(crate) fn select(self, yes: impl Operand<'t>, no: impl Operand<'t>) -> Self {
        let branches = [yes.on(self.tape), no.on(self.tape)];
        self.tape
            .apply(Op::Where, &[self, branches[0], branches[1]])
    }

    pub(crate) fn matmul(self, other: Expr<'t>) -> Self {
        self.with(Op::MatMul, other)
    }

    /// Reduces over axes, which stay with side 1.
    pub(crate) fn reduce(self, kind: Reduction, axes: impl Into<Vec<usize>>) -> Self {
        self.apply(Op::Reduce {
            kind,
            axes: axes.into(),
            keep_dims: true,
        })
    }

    /// Sums over axes, which stay with side 1.
    pub(crate) fn sum(self, axes: impl Into<Vec<usize>>) -> Self {
        self.reduce(Reduction::Sum, axes)
    }

    /// Averages over axes, which stay with side 1.
    pub(crate) fn mean(self, axes: impl Into<Vec<usize>>) -> Self {
        self.reduce(Reduction::Mean, axes)
    }

    /// Returns the same elements in another shape.
    pub(crate) fn reshape(self, shape: impl Into<Vec<Dim>>) -> Self {
        let shape = shape.into();
        if self.shape() == shape {
            return self;
        }
        self.apply(Op::Reshape { shape })
    }

    pub(crate) fn expand(self, shape: impl Into<Vec<Dim>>) -> Self {
        let shape = shape.into();
        if self.shape() == shape {
            return self;
        }
        self.apply(Op::Expand { shape })
    }

    pub(crate) fn transpose(self, perm: impl Into<Vec<usize>>) -> Self {
        self.apply(Op::Transpose { perm: perm.into() })
    }

    /// Transposes the matrices of the last two axes.
    pub(crate) fn transpose_matrices(self) -> Self {
        let mut perm: Vec<usize> = (0..self.rank()).collect();
        let rank = perm.len();
        perm.swap(rank - 2, rank - 1);
        self.transpose(perm)
    }

    /// Returns elements `start..end` of an axis.
    pub(crate) fn slice(self, axis: usize, start: usize, end: usize) -> Self {
        self.apply(Op::Slice {
            axes: vec![axis],
            starts: vec![start as i64],
            ends: vec![end as i64],
            steps: vec![1],
        })
    }

    /// Reverses an axis.
    pub(crate) fn flip(self, axis: usize) -> Self {
        match self.shape()[axis] {
            Dim::Fixed(side) if side > 1 => self.apply(Op::Slice {
                axes: vec![axis],
                starts: vec![side as i64 - 1],
                ends: vec![-1],
                steps: vec![-1],
            }),
            Dim::Fixed(_) => self,
            Dim::Batch(_) => self
                .tape
                .fail(Error::unsupported("reverses the batch axis")),
        }
    }

    /// Adds zeros before and after an axis.
    pub(crate) fn pad(self, axis: usize, before: usize, after: usize) -> Self {
        if before == 0 && after == 0 {
            return self;
        }
        let mut pads = [vec![0; self.rank()], vec![0; self.rank()]];
        pads[0][axis] = before;
        pads[1][axis] = after;
        let [before, after] = pads;
        self.apply(Op::Pad {
            mode: PadMode::Constant(0.0),
            before,
            after,
        })
    }

    /// Sums over the axes along which a value of shape `shape` was broadcast to this one.
    pub(crate) fn unbroadcast(self, shape: &[Dim]) -> Self {
        let own = self.shape();
        if own == shape {
            return self;
        }
        let leading = own.len().saturating_sub(shape.len());
        let axes: Vec<usize> = (0..own.len())
            .filter(|&axis| axis < leading || own[axis] != shape[axis - leading])
            .collect();
        let summed = if axes.is_empty() {
            self
        } else {
            self.sum(axes)
        };
        summed.reshape(shape)
    }
}

/// The other operand of an [`Expr`] in a formula.
pub(crate) trait Operand<'t> {
    fn on(self, tape: &'t Tape) -> Expr<'t>;
}

impl<'t> Operand<'t> for Expr<'t> {
    fn on(self, _: &'t Tape) -> Expr<'t> {
        self
    }
}

impl<'t> Operand<'t> for f32 {
    fn on(self, tape: &'t Tape) -> Expr<'t> {
        tape.constant(Tensor::scalar(self))
    }
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident;)*) => {$(
        impl<'t, T: Operand<'t>> $trait<T> for Expr<'t> {
            type Output = Expr<'t>;

            fn $method(self, other: T) -> Expr<'t> {
                self.with(Op::$trait, other)
            }
        }

        impl<'t> $trait<Expr<'t>> for f32 {
            type Output = Expr<'t>;

            fn $method(self, other: Expr<'t>) -> Expr<'t> {
                self.on(other.tape).with(Op::$trait, other)
            }
        }
    )*};
}

arithmetic! {
    Add add;
    Div div;
    Mul mul;
    Sub sub;
}

impl<'t> Neg for Expr<'t> {
    type Output = Expr<'t>;

    fn neg(self) -> Expr<'t> {
        self.apply(Op::Neg)
    }
}
