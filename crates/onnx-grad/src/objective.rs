//! One graph for every objective over logits: which one is asked for stands in the inputs, row by row.

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

/// How many of a row's largest logits an objective's divisor is made of, given the number of classes: four, or all.
pub fn ranks(classes: usize) -> usize {
    classes.min(4)
}

/// The graph of a model's logits and of the gradient, with respect to its input, of an objective that each row chooses.
///
/// Inputs, for a batch of N rows and C classes, with K = [`ranks`]`(C)`:
///
/// | name | type | shape | meaning |
/// |---|---|---|---|
/// | the model's own | f32 | its own | what the rows are |
/// | `linear` | f32 | `[N, C]` | weights over the logits |
/// | `out` | f32 | `[N, C]` | 0 for a class in the running, `f32::MIN` for one that is not |
/// | `pull` | f32 | `[N, 1]` | how much the classes in the running count |
/// | `hard` | Bool | `[N, 1]` | whether of those only the largest counts, or each by its softmax |
/// | `spread` | f32 | `[N, K]` | weights over the K largest logits, largest first: the divisor |
/// | `floor` | f32 | `[N, 1]` | is added to the divisor; 1 where `spread` is zero |
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
/// so `cotangent` is the gradient of `<c, z> / (<d, z> + floor)` where `p` is hard, times `<d, z> + floor`; and that of
/// `<linear, z> + pull * logsumexp(z + out)` where it is soft and `spread` is zero. Of equal logits the class with the
/// lower number is the larger. The losses of [`Loss`](crate::Loss) with true class y and target t are, up to a positive
/// factor,
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
/// where the factor of cross-entropy is left out on purpose: it vanishes where the softmax is sure. The gradient of the
/// cross-entropy with a distribution q is `linear` = -q with `pull` = 1 and no class masked; that of any weights w over the
/// logits is `linear` = w with `pull` = 0. A final softmax is seen through, as [`logits`](crate::logits) says.
///
/// Fails like [`gradient_graph`](crate::gradient_graph).
pub fn objective_graph(model: &Graph) -> Result<Graph> {
    gradient_at(model, &[])
}

/// [`objective_graph`] of a model with these logits, `[N, C]`, as they are: no softmax is looked through.
///
/// Fails likewise, and unless the model has one input.
pub fn objective_graph_at(model: &Graph, logits: ValueId) -> Result<Graph> {
    let &[input] = model.inputs() else {
        return Err(Error::unsupported(format!(
            "a classifier has one input; this one has {}",
            model.inputs().len()
        )));
    };
    objectives(Classifier::at(model.clone(), input, logits)?, &[])
}

/// The graph of [`objective_graph`] with the derivatives inside a model: for each of `names`, further outputs
/// `value/NAME`, an inner value, and `grad/NAME`, the gradient of the row's objective with respect to it, of its shape.
///
/// [`inner_values`](crate::inner_values) lists the names. Values that folding found equal are one, whose gradient is
/// that of all their uses.
///
/// Fails like [`objective_graph`], and if a name is unknown, twice among `names`, or that of a value that the logits do
/// not depend on.
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
            return Err(Error::misuse(format!("{name:?} is asked for twice")));
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
            "its output has shape {}, a classifier's is [N, C]",
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
        // TopK, not ArgMax, of which rten takes the last of equals; and what is added to single classes is scattered,
        // because one-hot rows would cost a comparison and a conversion for every class.
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
        // Not a division: rten divides by a single element, as of one row alone, in another way than by several.
        let ratio = (c * z).sum([1]) * divisor.apply(Op::Reciprocal);
        Ok(tape.apply(scatter, &[c, sorted, -ratio * spread]).id)
    })
}

#[cfg(test)]
pub(crate) mod tests;
