//! Sorts nodes so that they can be computed in order. ONNX requires files to be sorted, but not every writer does it,
//! and engines sort anyway.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use crate::proto::{GraphProto, NodeProto};

/// Returns the nodes sorted so that each follows the nodes whose values it reads, otherwise in file order. Nodes in a
/// cycle come last, so that reading them fails.
pub(super) fn sorted(nodes: &[NodeProto]) -> Vec<&NodeProto> {
    let mut makers: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            // Importing the nodes reports which value is defined twice.
            if makers.insert(output, at).is_some() {
                return nodes.iter().collect();
            }
        }
    }
    let before: Vec<BTreeSet<usize>> = nodes
        .iter()
        .map(|node| {
            let mut read = BTreeSet::new();
            collect_reads(node, &mut read);
            read.iter()
                .filter_map(|name| makers.get(name).copied())
                .collect()
        })
        .collect();
    let in_order = before
        .iter()
        .enumerate()
        .all(|(at, before)| before.last().is_none_or(|&last| last < at));
    if in_order {
        return nodes.iter().collect();
    }

    let mut after: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut missing: Vec<usize> = before.iter().map(BTreeSet::len).collect();
    for (at, before) in before.iter().enumerate() {
        for &earlier in before {
            after[earlier].push(at);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len())
        .filter(|&at| missing[at] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(&nodes[at]);
        for &later in &after[at] {
            missing[later] -= 1;
            if missing[later] == 0 {
                ready.push(Reverse(later));
            }
        }
    }
    order.extend(
        (0..nodes.len())
            .filter(|&at| missing[at] > 0)
            .map(|at| &nodes[at]),
    );
    order
}

/// Returns the names that a node reads, including those that its inner graphs read from outside.
fn collect_reads<'a>(node: &'a NodeProto, read: &mut BTreeSet<&'a str>) {
    read.extend(node.input.iter().map(String::as_str));
    for graph in node
        .attribute
        .iter()
        .filter_map(|attribute| attribute.g.as_ref())
    {
        collect_outside(graph, read);
    }
}

/// Returns the names that an inner graph reads. Its own names may be included; no outer node defines them.
fn collect_outside<'a>(graph: &'a GraphProto, read: &mut BTreeSet<&'a str>) {
    for node in &graph.node {
        collect_reads(node, read);
    }
    read.extend(graph.output.iter().map(|output| output.name.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, inputs: &[&str]) -> NodeProto {
        NodeProto {
            output: vec![name.to_owned()],
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn nodes_follow_what_they_read_and_else_the_file() {
        // Name of the output, then the inputs.
        for (nodes, expected) in [
            (&[["a", "x"], ["b", "a"], ["c", "x"]], "abc"),
            (&[["c", "b"], ["b", "a"], ["a", "x"]], "abc"),
            (&[["d", "b"], ["b", "x"], ["a", "x"]], "bda"),
            // A node that reads itself, and one that waits for it.
            (&[["b", "a"], ["a", "a"], ["c", "x"]], "cba"),
        ] {
            let nodes: Vec<NodeProto> = nodes
                .iter()
                .map(|[name, input]| node(name, &[input]))
                .collect();
            let names: Vec<&str> = sorted(&nodes)
                .iter()
                .map(|node| node.output[0].as_str())
                .collect();
            assert_eq!(names.concat(), expected);
        }
    }
}
