//! Operators that are expressed by other operators.

use super::{Importer, call::Call};
use crate::{
    Result,
    graph::Graph,
    node::ValueId,
    tape::{Expr, Tape},
};

impl Importer {
    /// Returns the value of a formula over values of the graph.
    pub(super) fn formula(
        &mut self,
        call: &Call,
        inputs: &[ValueId],
        write: impl for<'t> FnOnce(&[Expr<'t>]) -> Result<Expr<'t>>,
    ) -> Result<ValueId> {
        let values = self.formulas(call, inputs, |inputs| Ok(vec![write(inputs)?]))?;
        Ok(values[0])
    }

    /// Returns the values of formulas that share parts.
    pub(super) fn formulas(
        &mut self,
        call: &Call,
        inputs: &[ValueId],
        write: impl for<'t> FnOnce(&[Expr<'t>]) -> Result<Vec<Expr<'t>>>,
    ) -> Result<Vec<ValueId>> {
        let mut graph = Graph::new();
        let places: Vec<ValueId> = inputs
            .iter()
            .map(|&id| {
                let node = self.builder.graph().node(id);
                graph.input("", node.dtype, node.shape.clone())
            })
            .collect();
        let results = Tape::record(&mut graph, |tape| {
            let inputs: Vec<Expr<'_>> = places.iter().map(|&id| tape.value(id)).collect();
            let results = write(&inputs)?;
            Ok(results.iter().map(|result| result.id).collect::<Vec<_>>())
        })
        .map_err(|error| call.of_part(error))?;
        for id in results {
            graph.output("", id);
        }
        self.builder.inline(call.name(), &graph, inputs)
    }
}
