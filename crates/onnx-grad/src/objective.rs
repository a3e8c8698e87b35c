//! One graph for every objective over logits. The inputs choose the objective of each row.

use crate::{
    Error, Result,
    derive::Classifier,
    dim::Dim,
    fold::fold,
    grad::pullback,
    graph::Graph,
    inner::{depends, find},
    node::ValueId,
    op::Op,
    shape::display,
    tape::Tape,
    tensor::DType,
};

/// Returns how many of a row's largest logits an objective's divisor uses, for this number of classes: at most four.
pub fn ranks(classes: usize) -> usize {
    classes.min(4)
}

/// Builds the graph of a model's logits and of the gradient, with respect to its input, of an objective chosen per row.
///
/// Inputs, for a batch of N rows and C classes, with K = [`ranks`]`(C)`:
///
/// | name | type | shape | meaning |
/// |---|---|---|---|
/// | the model's own | f32 | its own | the rows |
/// | `linear` | f32 | `[N, C]` | weights over the logits |
/// | `out` | f32 | `[N, C]` | 0 for an eligible class, `f32::MIN` for one that is not |
/// | `pull` | f32 | `[N, 1]` | weight of the eligible classes |
/// | `hard` | Bool | `[N, 1]` | whether only the largest of them counts, instead of each by its softmax |
/// | `spread` | f32 | `[N, K]` | weights over the K largest logits, largest first: the divisor |
/// | `floor` | f32 | `[N, 1]` | added to the divisor; 1 if `spread` is zero |
///
/// Outputs: `logits` `[N, C]` and `grad`, of the shape of the model's input, each row's own. With the logits `z` of a
/// row,
///
/// ```text
/// p         = hard ? one-hot of the largest of (z + out) : softmax(z + out)
/// c         = linear + pull * p
/// d         = sum over k of spread[k] * one-hot of the class of rank k
/// cotangent = c - <c, z> / (<d, z> + floor) * d
/// grad      = (Jacobian of the logits)^T cotangent
/// ```
///
/// If `p` is hard, `cotangent` is the gradient of `<c, z> / (<d, z> + floor)` times `<d, z> + floor`. If `p` is soft
/// and `spread` is zero, it is the gradient of `<linear, z> + pull * logsumexp(z + out)`. Of equal logits the class
/// with the lower number ranks first. The losses of [`Loss`](crate::Loss) with true class y and target t are, up to a
/// positive factor,
///
/// | loss | `linear` | `out` masks | `pull` | `hard` | `spread` | `floor` | factor |
/// |---|---|---|---|---|---|---|---|
/// | cross-entropy | -e_y | y | 1 | no | 0 | 1 | 1 - p_y |
/// | cross-entropy, targeted | e_t | t | -1 | no | 0 | 1 | 1 - p_t |
/// | two-term | e_t - e_y | none | 0 | no | 0 | 1 | 1 |
/// | margin | -e_y | y | 1 | yes | 0 | 1 | 1 |
/// | margin, targeted | e_t | t | -1 | yes | 0 | 1 | 1 |
/// | DLR | -e_y | y | 1 | yes | 1, 0, -1, 0 | 1e-12 | 1 / (<d, z> + floor) |
/// | DLR, targeted | e_t - e_y | none | 0 | no | 1, 0, -1/2, -1/2 | 1e-12 | 1 / (<d, z> + floor) |
///
/// The factor of cross-entropy is left out on purpose: it vanishes when the softmax saturates. The gradient of the
/// cross-entropy with a distribution q is `linear` = -q with `pull` = 1 and no class masked; that of any weights w over
/// the logits is `linear` = w with `pull` = 0. A final softmax is skipped, as in [`logits`](crate::logits).
///
/// Fails like [`gradient_graph`](crate::gradient_graph).
pub fn objective_graph(model: &Graph) -> Result<Graph> {
    gradient_at(model, &[])
}

/// Builds the graph of [`objective_graph`] for a model with these logits, `[N, C]`, without looking through a softmax.
///
/// Fails like [`objective_graph`], and unless the model has one input.
pub fn objective_graph_at(model: &Graph, logits: ValueId) -> Result<Graph> {
    let &[input] = model.inputs() else {
        return Err(Error::unsupported(format!(
            "a classifier has one input; this one has {}",
            model.inputs().len()
        )));
    };
    objectives(Classifier::at(model.clone(), input, logits)?, &[])
}

/// Builds the graph of [`objective_graph`] with derivatives inside the model. For each of `names` it has the further
/// outputs `value/NAME`, an inner value, and `grad/NAME`, the gradient of the row's objective with respect to it, of
/// the same shape.
///
/// [`inner_values`](crate::inner_values) lists the names. Values that folding found equal are merged; their gradient is
/// that of all uses.
///
/// Fails like [`objective_graph`], and if a name is unknown, occurs twice in `names`, or belongs to a value that the
/// logits do not depend on.
pub fn gradient_at(model: &Graph, names: &[&str]) -> Result<Graph> {
    objectives(Classifier::of(model)?, names)
}

fn objectives(model: Classifier, names: &[&str]) -> Result<Graph> {
    let Classifier {
        mut graph,
        input,
        logits,
    } = model;
    let mut wanted = vec![input];
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Error::misuse(format!("{name:?} is requested twice")));
        }
        let value = find(&graph, name)?;
        if !depends(&graph, logits, value) {
            return Err(Error::misuse(format!(
                "the logits do not depend on {name:?}, so there is no gradient with respect to it"
            )));
        }
        wanted.push(value);
    }
    let cotangent = cotangent(&mut graph, logits)?;
    let gradients = pullback(&mut graph, logits, cotangent, &wanted)?;
    graph.output("logits", logits);
    graph.output("grad", gradients[0]);
    for ((name, &value), &gradient) in names.iter().zip(&wanted[1..]).zip(&gradients[1..]) {
        graph.output(format!("value/{name}"), value);
        graph.output(format!("grad/{name}"), gradient);
    }
    fold(&graph)
}

/// Appends the inputs that choose the objective, and the cotangent `[N, C]` of the logits.
fn cotangent(graph: &mut Graph, logits: ValueId) -> Result<ValueId> {
    let &[batch, Dim::Fixed(classes)] = graph.shape(logits) else {
        return Err(Error::unsupported(format!(
            "its output has shape {}, but a classifier's is [N, C]",
            display(graph.shape(logits))
        )));
    };
    let count = ranks(classes);
    let mut input = |name, dtype, side| graph.input(name, dtype, vec![batch, Dim::Fixed(side)]);
    let linear = input("linear", DType::F32, classes);
    let out = input("out", DType::F32, classes);
    let pull = input("pull", DType::F32, 1);
    let hard = input("hard", DType::Bool, 1);
    let spread = input("spread", DType::F32, count);
    let floor = input("floor", DType::F32, 1);

    Tape::record(graph, |tape| {
        let [z, linear, out, pull, hard, spread, floor] =
            [logits, linear, out, pull, hard, spread, floor].map(|id| tape.value(id));
        // TopK instead of ArgMax, for which rten returns the last of several equal values. Values for single classes
        // are added by a scatter, because one-hot rows would cost a comparison and a conversion for every class.
        let largest = |k| Op::TopK {
            axis: 1,
            k,
            largest: true,
        };
        let scatter = Op::ScatterAdd { axis: 1 };
        let running = z + out;
        let winner = tape.apply(scatter.clone(), &[linear, running.apply(largest(1)), pull]);
        let shares = linear + pull * running.apply(Op::Softmax { axis: 1 });
        let c = hard.select(winner, shares);

        let sorted = z.apply(largest(count));
        let divisor = (spread * z.with(Op::GatherElements { axis: 1 }, sorted)).sum([1]) + floor;
        // No division: rten divides by a single element, as with one row, differently than by several.
        let ratio = (c * z).sum([1]) * divisor.apply(Op::Reciprocal);
        Ok(tape.apply(scatter, &[c, sorted, -ratio * spread]).id)
    })
}

#[cfg(test)]
pub(crate) mod tests;
