//! The batch, sizes and constants: decisions that the import makes before any number is computed.

use super::{bytes, model, ramp};
use crate::{
    Dim, Op, Tensor,
    import::{LoadOptions, parse, parse_with},
    shape::display,
    testing::Program,
};

fn names(nodes: &str, opset: i64, input: &str) -> Vec<&'static str> {
    let loaded = parse(&bytes(opset, input, nodes), None).unwrap();
    let of_interest = |op: &Op| !matches!(op, Op::Input | Op::Constant(_));
    let nodes = loaded.graph.nodes().iter();
    nodes
        .filter(|node| of_interest(&node.op))
        .map(|node| node.op.name())
        .collect()
}

#[test]
fn a_batch_of_one_becomes_symbolic() {
    let cases = [
        ("1 4", "y = Relu(x)", "[N, 4]"),
        ("1 2 3", "y = Reshape(x, [1 6])", "[N, 6]"),
        ("1 2 3", "y = Reshape(x, [1 -1])", "[N, 6]"),
        ("1 2 3", "y = Reshape(x, [-1 6])", "[N, 6]"),
        ("1 2 3", "y = Reshape(x, [0 -1])", "[N, 6]"),
        ("1 6", "y = Reshape(x, [1 1 2 3])", "[N, 1, 2, 3]"),
        (
            "1 2 3",
            "t = Transpose(x) perm=2,0,1; r = Reshape(t, [3 1 2 1]); y = Transpose(r) perm=1,0,2,3",
            "[N, 3, 2, 1]",
        ),
        (
            "1 2 6",
            "t = Transpose(x) perm=1,0,2; r = Reshape(t, [2 3 2]); s = Reshape(r, [2 1 6]); y = Transpose(s) perm=1,0,2",
            "[N, 2, 6]",
        ),
        (
            "1 2 3",
            "c = Concat({1 1 3: 1 2 3}, x) axis=1; y = Relu(c)",
            "[N, 3, 3]",
        ),
        ("1 1 3", "y = Expand(x, [1 4 3])", "[N, 4, 3]"),
        ("1 4", "s = Shape(x); y = Reshape(x, s)", "[N, 4]"),
    ];
    for (input, nodes, shape) in cases {
        let loaded = parse(&bytes(13, input, nodes), None).unwrap();
        let output = loaded.graph.outputs()[0].1;
        assert_eq!(display(loaded.graph.shape(output)), shape, "{nodes}");
        assert!(loaded.notices.is_empty(), "{nodes}: {:?}", loaded.notices);
    }
}

#[test]
fn a_gather_at_positions_that_count_pictures_keeps_them_apart() {
    // PyTorch's `as_strided` of [N, 4] in another order.
    let strided = "s = Shape(x); n = Gather(s, 0); f = Reshape(x, [-1]); r = Range(0, n, 1); m = Mul(r, 4); \
                   u = Unsqueeze(m, [1 2]); p = Add(u, [1 2 2: 3 0 1 2]); y = Gather(f, p)";
    let loaded = parse(&bytes(13, "N 4", strided), None).unwrap();
    assert!(loaded.notices.is_empty(), "{:?}", loaded.notices);
    let y = loaded.graph.outputs()[0].1;
    assert_eq!(display(loaded.graph.shape(y)), "[N, 2, 2]");
    let x = Tensor::f32([2, 4], ramp(8)).unwrap();
    let found = Program::new(&loaded.graph).run(&[x]).remove(0);
    assert_eq!(
        found.as_f32().unwrap(),
        [1.25, -1.25, 0.5, -0.5, 0.0, 0.25, -0.75, 1.0]
    );
    // A picture that reads from the next one's part is not independent.
    let beyond = strided.replace("3 0 1 2", "3 0 1 4");
    let error = parse(&bytes(13, "N 4", &beyond), None);
    assert!(error.is_err() || error.unwrap().notices[0].contains("frozen at 1"));
}

#[test]
fn a_batch_that_pictures_share_stays_at_one() {
    let cases = [
        ("1 4", "y = Softmax(x) axis=0"),
        ("1 4", "m = ReduceMean(x) axes=0,; y = Sub(x, m)"),
        ("1 4", "y = Squeeze(x, [0])"),
        ("1 4", "y = Gather(x, 0) axis=0"),
        ("1 4", "y = Concat(x, x) axis=0"),
        ("N 4", "y = Concat(x, x) axis=0"),
        ("1 4", "t = Transpose(x) perm=1,0; y = MatMul(t, x)"),
        (
            "N 4",
            "s = Shape(x); b = Gather(s, 0); c = Cast(b) to=1; y = Mul(x, c)",
        ),
        ("N 4", "y = Reshape(x, [1 4])"),
        ("1 4", "y = Reshape(x, [4])"),
    ];
    for (input, nodes) in cases {
        let loaded = parse(
            &bytes(
                if nodes.contains("Squeeze") { 13 } else { 12 },
                input,
                nodes,
            ),
            None,
        )
        .unwrap_or_else(|error| panic!("{nodes}: {error}"));
        let input = loaded.graph.inputs()[0];
        assert_eq!(display(loaded.graph.shape(input)), "[1, 4]", "{nodes}");
        assert!(
            loaded.notices[0].starts_with("batch frozen at 1"),
            "{nodes}"
        );
    }
}

#[test]
fn dynamic_sides_are_named_or_given() {
    let file = bytes(13, "N 3 height width", "y = GlobalMaxPool(x)");
    let error = parse(&file, None).unwrap_err().to_string();
    assert!(
        error.contains("axis 2") && error.contains("\"height\""),
        "{error}"
    );
    let options = LoadOptions {
        input_side: Some((8, 6)),
        ..LoadOptions::default()
    };
    let loaded = parse_with(&file, None, &options).unwrap();
    let input = loaded.graph.inputs()[0];
    assert_eq!(display(loaded.graph.shape(input)), "[N, 3, 8, 6]");
}

#[test]
fn constants_and_identities_vanish() {
    let cases: [(&str, &[&str]); 9] = [
        ("a = Identity(x); b = Dropout(a); y = Relu(b)", &["Relu"]),
        ("a = Add({1}, {2}); y = Mul(x, a)", &["Mul"]),
        (
            "a = Add(x, {0}); b = Mul(a, {1 1 1 1}); y = Relu(b)",
            &["Relu"],
        ),
        (
            "a = Transpose({2 4: 1 2 3 4 5 6 7 8}); y = MatMul(x, a)",
            &["MatMul"],
        ),
        (
            "a = Reshape(x, [0 2 2]); b = Reshape(a, [0 4]); y = Relu(b)",
            &["Relu"],
        ),
        ("a = Relu(x); b = Relu(x); y = Add(a, b)", &["Relu", "Add"]),
        ("a = Relu(x); b = Exp(x); y = Relu(a)", &["Relu", "Relu"]),
        ("a = Cast(x) to=1; b = Clip(a); y = Relu(b)", &["Relu"]),
        (
            "a = Slice(x, [0], [2147483647], [1]); y = Relu(a)",
            &["Relu"],
        ),
    ];
    for (nodes, left) in cases {
        assert_eq!(names(nodes, 13, "N 4"), left, "{nodes}");
    }
    let norm = "y = BatchNormalization(c, {1 2}, {0 1}, {0 1}, {1 4})";
    let alone = format!("c = Conv(x, {{2 1 1: 1 2}}); {norm}");
    assert_eq!(names(&alone, 13, "N 1 4"), ["Conv"]);
    let shared =
        format!("c = Conv(x, {{2 1 1: 1 2}}); {norm}").replace("y =", "n =") + "; y = Add(n, c)";
    assert_eq!(names(&shared, 13, "N 1 4"), ["Conv", "Mul", "Add", "Add"]);
}

#[test]
fn weights_keep_their_names() {
    let mut file = model(13, "N 4", "a = Transpose(w); y = MatMul(x, a)");
    let graph = file.graph.as_mut().unwrap();
    let mut weight = super::literal("{2 4: 1 2 3 4 5 6 7 8}");
    weight.name = "w".into();
    graph.initializer.push(weight);
    let loaded = parse(&prost::Message::encode_to_vec(&file), None).unwrap();
    let weight = loaded.graph.nodes().iter().find(|node| node.name == "w");
    let weight = weight.expect("the transposed weight has the weight's name");
    assert_eq!(weight.shape, [Dim::Fixed(4), Dim::Fixed(2)]);
}

#[test]
fn broadcast_constants_stay_small() {
    let nodes = "a = Expand(2.0, [1 1024 4096]); y = Mul(x, a)";
    let loaded = parse(&bytes(13, "N 1024 1", nodes), None).unwrap();
    let constants = loaded
        .graph
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            Op::Constant(tensor) => Some(tensor.len()),
            _ => None,
        });
    assert_eq!(constants.max(), Some(1));
}

#[test]
fn half_precision_and_initialisers_listed_as_inputs_are_read() {
    let mut file = model(7, "1 2", "y = Add(x, w)");
    let graph = file.graph.as_mut().unwrap();
    graph.input.push(super::value("w", "2"));
    graph.initializer.push(crate::proto::TensorProto {
        name: "w".into(),
        dims: vec![2],
        data_type: crate::proto::DataType::Float16.into(),
        // 1.5 and -2 as IEEE 754 halves.
        raw_data: Some(vec![0x00, 0x3e, 0x00, 0xc0]),
        ..Default::default()
    });
    let loaded = parse(&prost::Message::encode_to_vec(&file), None).unwrap();
    assert_eq!(loaded.graph.inputs().len(), 1);
    assert_eq!(loaded.notices, ["float16 is computed as float"]);
    let x = Tensor::f32([2, 2], ramp(4)).unwrap();
    let y = Program::new(&loaded.graph).run(&[x]).remove(0);
    assert_eq!(y.as_f32().unwrap(), [0.25, -1.5, 1.0, -0.75]);
}

/// A model whose `y` is the function `Twice` of `x`, which calls `Scaled` on it twice.
fn model_of_functions() -> crate::proto::ModelProto {
    use crate::proto::{AttributeProto, FunctionProto};
    let body = |nodes: &str| model(13, "N 2", nodes).graph.unwrap();
    let in_domain = |mut nodes: Vec<crate::proto::NodeProto>| {
        for node in &mut nodes {
            if ["Twice", "Scaled"].contains(&node.op_type.as_str()) {
                node.domain = "own".into();
            }
        }
        nodes
    };
    let mut scaled = body("c = Constant() value_float=0.0; y = Mul(x, c)").node;
    scaled[0].attribute[0].ref_attr_name = "factor".into();
    let factor = AttributeProto {
        name: "factor".into(),
        f: Some(5.0),
        ..AttributeProto::default()
    };
    let function = |name: &str, nodes, defaults| FunctionProto {
        name: name.into(),
        domain: "own".into(),
        input: vec!["x".into(), "unused".into()],
        output: vec!["y".into()],
        node: in_domain(nodes),
        attribute_proto: defaults,
        ..FunctionProto::default()
    };
    let mut file = model(13, "N 2", "y = Twice(x)");
    let graph = file.graph.as_mut().unwrap();
    graph.node = in_domain(graph.node.clone());
    file.functions = vec![
        function("Scaled", scaled, vec![factor]),
        function(
            "Twice",
            body("a = Scaled(x) factor=2.0; y = Scaled(a)").node,
            Vec::new(),
        ),
    ];
    file
}

#[test]
fn steps_have_a_gradient_on_request() {
    let file = bytes(13, "N 4", "s = Sign(x); f = Floor(x); y = Add(s, f)");
    for (straight_through, expected) in [(false, [0.0; 4]), (true, [1.0, 2.0, 2.0, 1.0])] {
        let options = LoadOptions {
            straight_through,
            ..LoadOptions::default()
        };
        let mut graph = parse_with(&file, None, &options).unwrap().graph;
        let (x, y) = (graph.inputs()[0], graph.outputs()[0].1);
        let slope = crate::gradient(&mut graph, y, &[x]).unwrap()[0];
        graph.clear_outputs();
        graph.output("y", y);
        graph.output("slope", slope);
        let x = Tensor::f32([1, 4], vec![-1.5, -0.5, 0.25, 2.5]).unwrap();
        let found = Program::new(&graph).run(&[x]);
        assert_eq!(found[0].as_f32().unwrap(), [-3.0, -2.0, 1.0, 3.0]);
        assert_eq!(found[1].as_f32().unwrap(), expected);
    }
}

#[test]
fn functions_of_the_model_are_inlined() {
    let file = model_of_functions();
    let loaded = parse(&prost::Message::encode_to_vec(&file), None).unwrap();
    let x = Tensor::f32([2, 2], ramp(4)).unwrap();
    let y = Program::new(&loaded.graph).run(&[x]).remove(0);
    // Once by the factor of the call, once by the default.
    assert_eq!(y.as_f32().unwrap(), [-12.5, 5.0, -5.0, 12.5]);
}

#[test]
fn functions_that_call_themselves_end() {
    let mut file = model_of_functions();
    let call = file.functions[1].node[0].clone();
    for node in &mut file.functions[0].node {
        if node.op_type == "Mul" {
            *node = crate::proto::NodeProto {
                op_type: "Twice".into(),
                output: vec!["y".into()],
                ..call.clone()
            };
        }
    }
    let error = parse(&prost::Message::encode_to_vec(&file), None).unwrap_err();
    assert!(error.to_string().contains("calls"), "{error}");
}

#[test]
fn a_known_condition_chooses_its_branch() {
    let branch = |nodes: &str| {
        let mut branch = model(13, "N 2", nodes).graph.unwrap();
        branch.input.clear();
        branch
    };
    let mut file = model(
        13,
        "N 2",
        "s = Shape(x); r = Size(s); c = Equal(r, 2); y = If(c)",
    );
    let node = file.graph.as_mut().unwrap().node.last_mut().unwrap();
    for (name, nodes) in [
        ("then_branch", "y = Relu(x)"),
        ("else_branch", "y = Nonsense(x)"),
    ] {
        let mut graph = branch(nodes);
        // The names of a branch are local to it.
        graph.node[0].output[0] = "z".into();
        graph.output[0].name = "z".into();
        node.attribute.push(crate::proto::AttributeProto {
            name: name.into(),
            g: Some(graph),
            ..Default::default()
        });
    }
    let loaded = parse(&prost::Message::encode_to_vec(&file), None).unwrap();
    let nodes = loaded.graph.nodes().iter();
    assert_eq!(nodes.filter(|node| node.op == Op::Relu).count(), 1);
}
