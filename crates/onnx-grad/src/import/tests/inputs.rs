//! Unusual inputs and outputs: open axes, frozen or missing batches, a single score, unsorted nodes.

use prost::Message;

use super::{bytes, model, ramp, value};
use crate::{
    LoadOptions, Tensor, gradient_graph,
    import::{Loaded, parse, parse_with},
    loss::Loss,
    proto::ModelProto,
    scores,
    shape::display,
    testing::Program,
};

fn shape_of_input(loaded: &Loaded) -> String {
    display(loaded.graph.shape(loaded.graph.inputs()[0]))
}

#[test]
fn open_channels_are_found_from_the_first_weights() {
    let options = LoadOptions {
        input_side: Some((4, 6)),
        ..LoadOptions::default()
    };
    let kernel = "{2 5 1 1: 1 2 3 4 5 6 7 8 9 10}";
    for (input, nodes, expected) in [
        ("N C H W", format!("y = Conv(x, {kernel})"), "[N, 5, 4, 6]"),
        ("N C 4 6", format!("y = Conv(x, {kernel})"), "[N, 5, 4, 6]"),
        (
            "N C H W",
            "y = Conv(x, {2 2 1 1: 1 2 3 4}) group=2".to_owned(),
            "[N, 4, 4, 6]",
        ),
        (
            "N C H W",
            "s = Sub(x, {2 1 1: 1 2}); y = Relu(s)".to_owned(),
            "[N, 2, 4, 6]",
        ),
        (
            "N H W C",
            format!("t = Transpose(x) perm=0,3,1,2; m = Mul(t, 0.5); y = Conv(m, {kernel})"),
            "[N, 4, 6, 5]",
        ),
        (
            "N D",
            "y = MatMul(x, {3 2: 1 2 3 4 5 6})".to_owned(),
            "[N, 3]",
        ),
        // Nothing determines it.
        ("N C H W", "y = GlobalMaxPool(x)".to_owned(), "[N, 3, 4, 6]"),
    ] {
        let file = bytes(13, input, &nodes);
        let loaded =
            parse_with(&file, None, &options).unwrap_or_else(|error| panic!("{nodes}: {error}"));
        assert_eq!(shape_of_input(&loaded), expected, "{nodes}");
    }
    let error = parse(&bytes(13, "N C H W", "y = GlobalMaxPool(x)"), None).unwrap_err();
    assert!(
        error.to_string().contains("the setting input-side"),
        "{error}"
    );
}

#[test]
fn a_batch_above_1_is_freed_where_nothing_depends_on_it() {
    for (nodes, expected, says) in [
        ("y = Flatten(x)", "[N, 2, 3]", None),
        (
            "y = Reshape(x, [4 6])",
            "[4, 2, 3]",
            Some("batch frozen at 4: pictures run 4 at a time"),
        ),
        // Six scores of one picture.
        (
            "r = Reshape(x, [4 6]); y = ReduceMax(r) axes=0, keepdims=0",
            "[1, 4, 2, 3]",
            Some("input \"x\" has no batch axis"),
        ),
        (
            "u = Unsqueeze(x) axes=0,; f = Flatten(u); y = Relu(f)",
            "[1, 4, 2, 3]",
            Some("has no batch axis"),
        ),
    ] {
        let loaded = parse(&bytes(12, "4 2 3", nodes), None)
            .unwrap_or_else(|error| panic!("{nodes}: {error}"));
        assert_eq!(shape_of_input(&loaded), expected, "{nodes}");
        match says {
            None => assert!(loaded.notices.is_empty(), "{nodes}: {:?}", loaded.notices),
            Some(says) => assert!(
                loaded.notices[0].contains(says),
                "{nodes}: {:?}",
                loaded.notices
            ),
        }
    }
}

#[test]
fn nodes_may_stand_in_any_order() {
    let sorted = model(13, "N 3", "a = Neg(x); b = Exp(a); y = Add(a, b)");
    let mut shuffled = sorted.clone();
    let nodes = &mut shuffled.graph.as_mut().expect("a graph").node;
    nodes.reverse();
    let x = Tensor::f32([2, 3], ramp(6)).unwrap();
    let [expected, found] = [&sorted, &shuffled].map(|model: &ModelProto| {
        let loaded = parse(&model.encode_to_vec(), None).unwrap();
        Program::new(&loaded.graph).run(std::slice::from_ref(&x))
    });
    assert_eq!(expected, found);
    let cycle = bytes(13, "N 3", "a = Add(x, b); b = Neg(a); y = Add(a, b)");
    let error = parse(&cycle, None).unwrap_err().to_string();
    assert!(error.contains("or a cycle"), "{error}");
}

#[test]
fn an_output_that_is_listed_twice_is_one() {
    let mut twice = model(13, "N 3", "y = Neg(x)");
    let graph = twice.graph.as_mut().expect("a graph");
    graph.output.push(value("y", ""));
    let loaded = parse(&twice.encode_to_vec(), None).unwrap();
    assert_eq!(loaded.graph.outputs().len(), 1);

    // Also under another name.
    let mut named = model(13, "N 3", "y = Neg(x); z = Identity(y)");
    named
        .graph
        .as_mut()
        .expect("a graph")
        .output
        .push(value("z", ""));
    let loaded = parse(&named.encode_to_vec(), None).unwrap();
    assert!(scores(&loaded.graph).is_ok());
}

#[test]
fn inputs_may_be_called_as_ours_are() {
    for name in ["grad", "logits", "labels", "loss", "linear", "out"] {
        let mut file = model(13, "N 3", "y = Exp(x)");
        let graph = file.graph.as_mut().expect("a graph");
        name.clone_into(&mut graph.input[0].name);
        name.clone_into(&mut graph.node[0].input[0]);
        let loaded = parse(&file.encode_to_vec(), None).unwrap();
        let gradient = gradient_graph(&loaded.graph, Loss::CrossEntropy).unwrap();
        let names: Vec<&str> = (gradient.inputs().iter())
            .map(|&id| gradient.node(id).name.as_str())
            .collect();
        assert_eq!(names, ["input", "labels"], "{name}");
        let written = crate::to_onnx(&gradient, crate::Lowering::Portable).unwrap();
        assert!(parse(&written, None).is_ok(), "{name}");
    }
}

#[test]
fn one_score_is_two_classes_and_says_so() {
    for (nodes, says) in [
        ("y = MatMul(x, {3 1: 1 2 3})", "the logit of class 1"),
        (
            "m = MatMul(x, {3 1: 1 2 3}); y = Sigmoid(m)",
            "the input of \"y\" (Sigmoid)",
        ),
        (
            "m = MatMul(x, {3 1: 1 2 3}); s = Sigmoid(m); y = Squeeze(s) axes=1,",
            "the input of \"s\" (Sigmoid)",
        ),
    ] {
        let file = bytes(12, "N 3", nodes);
        let mut loaded = parse(&file, None).unwrap();
        let output = scores(&loaded.graph).unwrap();
        let head = crate::Head::of(&mut loaded.graph, output).unwrap();
        let notices = head.notices(&loaded.graph);
        assert!(notices[0].contains(says), "{notices:?}");
        loaded.graph.output("logits", head.logits);
        let x = Tensor::f32([2, 3], [1.0, 1.0, 1.0, 0.0, 0.0, -1.0]).unwrap();
        let found = Program::new(&loaded.graph).run(&[x]).remove(1);
        assert_eq!(found.as_f32(), Some(&[0.0, 6.0, 0.0, -3.0][..]), "{nodes}");

        let kept = LoadOptions {
            keep_softmax: true,
            ..LoadOptions::default()
        };
        if nodes.contains("Sigmoid") {
            let loaded = parse_with(&file, None, &kept).unwrap();
            let output = loaded.graph.outputs()[0].1;
            assert_eq!(display(loaded.graph.shape(output)), "[N, 2]");
        }
    }
}

#[test]
fn tree_ensembles_are_named_for_what_they_are() {
    let mut file = model(13, "N 4", "s = Scaler(x); y = TreeEnsembleClassifier(s)");
    for node in &mut file.graph.as_mut().expect("a graph").node {
        "ai.onnx.ml".clone_into(&mut node.domain);
    }
    let error = parse(&file.encode_to_vec(), None).unwrap_err();
    assert!(
        matches!(error, crate::Error::Unsupported(_))
            && error
                .to_string()
                .contains("a tree ensemble has no gradient"),
        "{error}"
    );
}
