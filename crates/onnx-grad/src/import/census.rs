//! Counts the nodes of a model as if every function call were written out.

use std::collections::BTreeMap;

use super::meaning::{Functions, functions};
use crate::proto::{FunctionProto, ModelProto, NodeProto};

/// The nodes of a model with its function calls written out.
pub(crate) struct Census<'a> {
    /// All nodes except function calls: first the nodes of the graph in file order, then the nodes of the functions
    /// that it calls, each followed by its inner graphs.
    pub(crate) nodes: Vec<Counted<'a>>,
    /// The maximum depth of nested calls; 0 without functions.
    pub(super) depth: usize,
    /// A function that calls itself, if there is one; its nodes are not counted.
    pub(super) endless: Option<&'a str>,
}

/// A node of the file.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'a> {
    /// The node.
    pub(crate) node: &'a NodeProto,
    /// How often it occurs in the model: the product of the call counts around it. An inner graph counts once.
    pub(crate) times: usize,
}

impl Census<'_> {
    /// Returns the total number of nodes.
    pub(super) fn total(&self) -> usize {
        let times = self.nodes.iter().map(|counted| counted.times);
        times.fold(0, usize::saturating_add)
    }
}

/// A function's domain and name.
type Name<'a> = (&'a str, &'a str);

/// Counts the nodes of a model. Takes no longer than reading the file, however often functions call each other.
pub(crate) fn census(model: &ModelProto) -> Census<'_> {
    let functions = functions(model);
    let graph = model.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    let main = Body::of(graph, &functions);
    let (bodies, mut calls) = reachable(&main, &functions);

    let mut census = Census {
        nodes: Vec::new(),
        depth: 0,
        endless: None,
    };
    // For each function: how often it occurs and how deep, according to the callers counted so far.
    let mut found: BTreeMap<Name<'_>, (usize, usize)> = BTreeMap::new();
    let mut ready = vec![(&main, 1_usize, 0)];
    while let Some((body, times, depth)) = ready.pop() {
        census.depth = census.depth.max(depth);
        let nodes = body.nodes.iter();
        census
            .nodes
            .extend(nodes.map(|&node| Counted { node, times }));
        for &(name, _) in &body.calls {
            let (sum, deepest) = found.entry(name).or_default();
            *sum = sum.saturating_add(times);
            *deepest = (*deepest).max(depth + 1);
            let Some(left) = calls.get_mut(&name) else {
                continue;
            };
            *left -= 1;
            if *left == 0 {
                ready.push((&bodies[&name], *sum, *deepest));
            }
        }
    }
    census.endless = calls
        .into_iter()
        .find_map(|((_, name), left)| (left > 0).then_some(name));
    census
}

/// Returns the nodes of a graph or function, including those of inner graphs.
struct Body<'a> {
    nodes: Vec<&'a NodeProto>,
    calls: Vec<(Name<'a>, &'a FunctionProto)>,
}

impl<'a> Body<'a> {
    fn of(nodes: &'a [NodeProto], functions: &Functions<'a>) -> Self {
        let mut body = Self {
            nodes: Vec::new(),
            calls: Vec::new(),
        };
        let mut ahead: Vec<&NodeProto> = nodes.iter().rev().collect();
        while let Some(node) = ahead.pop() {
            let name = (node.domain.as_str(), node.op_type.as_str());
            match functions.get(&name) {
                Some(function) => body.calls.push((name, function)),
                None => body.nodes.push(node),
            }
            let graphs = node.attribute.iter().rev();
            let inner = graphs.filter_map(|attribute| attribute.g.as_ref());
            ahead.extend(inner.flat_map(|graph| graph.node.iter().rev()));
        }
        body
    }
}

/// Returns the functions that a model calls directly or indirectly, and the number of calls inside each.
fn reachable<'a>(
    main: &Body<'a>,
    functions: &Functions<'a>,
) -> (BTreeMap<Name<'a>, Body<'a>>, BTreeMap<Name<'a>, usize>) {
    let (mut bodies, mut calls) = (BTreeMap::new(), BTreeMap::new());
    let mut ahead = main.calls.clone();
    while let Some((name, function)) = ahead.pop() {
        *calls.entry(name).or_default() += 1;
        bodies.entry(name).or_insert_with(|| {
            let body = Body::of(&function.node, functions);
            ahead.extend(&body.calls);
            body
        });
    }
    (bodies, calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{AttributeProto, GraphProto};

    /// Nodes written `Relu Block Block`; `If:Relu,Tanh` has an inner graph of these.
    fn nodes(text: &str) -> Vec<NodeProto> {
        let node = |word: &str| {
            let (operator, inner) = word.split_once(':').unwrap_or((word, ""));
            let graph = GraphProto {
                node: nodes(&inner.replace(',', " ")),
                ..GraphProto::default()
            };
            NodeProto {
                op_type: operator.into(),
                attribute: vec![AttributeProto {
                    g: Some(graph).filter(|_| !inner.is_empty()),
                    ..AttributeProto::default()
                }],
                ..NodeProto::default()
            }
        };
        text.split_whitespace().map(node).collect()
    }

    /// Functions, each a name and its nodes.
    type Written<'a> = &'a [(&'a str, &'a str)];

    fn model(main: &str, functions: Written) -> ModelProto {
        let function = |&(name, body): &(&str, &str)| FunctionProto {
            name: name.into(),
            node: nodes(body),
            ..FunctionProto::default()
        };
        ModelProto {
            graph: Some(GraphProto {
                node: nodes(main),
                ..GraphProto::default()
            }),
            functions: functions.iter().map(function).collect(),
            ..ModelProto::default()
        }
    }

    #[test]
    fn nodes_count_as_often_as_they_stand_in_the_model() {
        let cases: [(&str, Written, &str); 5] = [
            ("Conv Relu Conv", &[], "Conv 2, Relu 1"),
            (
                "Loop:Relu,Exp If:Tanh",
                &[],
                "Exp 1, If 1, Loop 1, Relu 1, Tanh 1",
            ),
            (
                "Block Relu Block",
                &[("Block", "Conv Relu Conv"), ("Unused", "Sin")],
                "Conv 4, Relu 3",
            ),
            (
                "Outer If:Inner Inner",
                &[("Inner", "Tanh"), ("Outer", "Inner Inner Exp")],
                "Exp 1, If 1, Tanh 4",
            ),
            (
                "Relu Snake",
                &[("Snake", "Exp Tail"), ("Tail", "Snake")],
                "Relu 1",
            ),
        ];
        for (main, functions, expected) in cases {
            let model = model(main, functions);
            let census = census(&model);
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for counted in &census.nodes {
                *counts.entry(&counted.node.op_type).or_default() += counted.times;
            }
            let counts: Vec<String> = counts
                .iter()
                .map(|(name, times)| format!("{name} {times}"))
                .collect();
            assert_eq!(counts.join(", "), expected, "{main}");
            assert_eq!(census.endless.is_some(), main.contains("Snake"), "{main}");
        }
    }

    #[test]
    fn functions_that_double_are_counted_without_being_written_out() {
        let names: Vec<String> = (0..100).map(|at| format!("F{at}")).collect();
        let mut functions: Vec<(&str, String)> = names
            .windows(2)
            .map(|pair| (pair[0].as_str(), format!("{} {}", pair[1], pair[1])))
            .collect();
        functions.push((&names[99], "Relu".into()));
        let functions: Vec<(&str, &str)> = functions
            .iter()
            .map(|(name, body)| (*name, body.as_str()))
            .collect();
        let model = model("F0", &functions);
        let census = census(&model);
        assert_eq!((census.total(), census.depth), (usize::MAX, 100));
    }
}
