//! Small files that require a lot of memory or time.

use super::{bytes, model};
use crate::{
    Op,
    fold::Builder,
    import::parse,
    proto::{AttributeProto, GraphProto, NodeProto},
    tensor::Tensor,
};
use prost::Message;

fn refused(nodes: &str, input: &str) -> String {
    parse(&bytes(13, input, nodes), None)
        .unwrap_err()
        .to_string()
}

fn count(nodes: &str, input: &str, op: &str) -> usize {
    let loaded = parse(&bytes(13, input, nodes), None).unwrap();
    let nodes = loaded.graph.nodes().iter();
    nodes.filter(|node| node.op.name() == op).count()
}

#[test]
fn numbers_from_none_are_limited_together() {
    let mut nodes = String::new();
    for at in 0..70 {
        nodes += &format!("a{at} = Range({at}, {}, 1); ", at + (1 << 20));
    }
    let error = refused(&(nodes + "y = Relu(x)"), "N 5");
    assert!(error.contains("\"a64\" (Range)"), "{error}");

    // Sizes that depend on the batch are stored separately from constants, and count too.
    let mut nodes = "s = Shape(x); b = Gather(s, [0]); t = Tile(b, [200000]); ".to_owned();
    for at in 0..400 {
        nodes += &format!("u{at} = Reshape(t, [{} -1]); ", [1, 2, 4, 5, 8][at % 5]);
    }
    let loaded = parse(&bytes(13, "N 5", &(nodes + "y = Relu(x)")), None).unwrap();
    let notice = loaded
        .notices
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    assert!(notice.contains("nodes create more than"), "{notice}");
}

#[test]
fn products_of_constants_are_limited_together() {
    // A file is folded twice, node by node and as a whole, each time within two products of 2^27 multiplications.
    let mut nodes = "m0 = Expand(1.0, [512 512]); ".to_owned();
    for at in 1..=10 {
        nodes += &format!("m{at} = MatMul(m{}, m0); ", at - 1);
    }
    assert_eq!(
        count(&(nodes + "y = Add(x, m10)"), "N 512 512", "MatMul"),
        6
    );
}

#[test]
fn sums_of_constants_are_limited_together() {
    // Each visits 2^18 numbers and creates one; the constant's own 2^18 numbers are created from one.
    let mut nodes = "m = Expand(1.0, [1 262144]); s0 = ReduceSum(m) axes=0,1".to_owned();
    for at in 1..1500 {
        nodes += &format!("; a{at} = Add(m, {{1: {at}}}); s{at} = ReduceSum(a{at}) axes=0,1");
    }
    let mut sum = "; t0 = Add(s0, s1)".to_owned();
    for at in 1..1499 {
        sum += &format!("; t{at} = Add(t{}, s{})", at - 1, at + 1);
    }
    let left = parse(
        &bytes(11, "N 1", &(nodes + &sum + "; y = Add(x, t1498)")),
        None,
    )
    .unwrap();
    let reduces = left
        .graph
        .nodes()
        .iter()
        .filter(|node| node.op.name() == "Reduce");
    assert!(reduces.count() > 1000);
}

#[test]
fn a_weight_that_convolutions_share_is_not_copied_for_each() {
    let nodes = "c = Conv(x, w); n = BatchNormalization(c, {2.0}, {0.0}, {0.0}, {1.0}); \
        d = Conv(n, w); y = BatchNormalization(d, {3.0}, {0.0}, {0.0}, {1.0})";
    let mut file = model(13, "N 1 5", nodes);
    let mut weight = super::literal("{1 1 1: 0.5}");
    weight.name = "w".into();
    let graph = file.graph.as_mut().expect("the model has a graph");
    graph.initializer.push(weight);
    let loaded = parse(&file.encode_to_vec(), None).unwrap();
    let weights = loaded
        .graph
        .nodes()
        .iter()
        .filter(|node| node.name.starts_with('w'));
    assert_eq!(weights.count(), 1);
}

#[test]
fn axes_are_limited() {
    let many = vec!["1"; 65].join(" ");
    assert!(refused("y = Relu(x)", &format!("N {many}")).contains("66 axes"));
    let error = refused(&format!("y = Add(x, {{{many}: 1.0}})"), "N");
    assert!(error.contains("\"constant_0\": has 65 axes"), "{error}");
    let error = refused(&format!("y = Reshape(x, [-1 {many}])"), "N 1");
    assert!(
        error.contains("\"y\" (Reshape): has a result of 66 axes"),
        "{error}"
    );
}

#[test]
fn many_constants_that_begin_alike_are_not_all_compared() {
    let mut builder = Builder::default();
    let ids: Vec<_> = (0..200)
        .map(|at| {
            let mut values = vec![0; 2000];
            values[1999] = at;
            builder.constant("", Tensor::vector(&values))
        })
        .collect();
    let again = |at: i64| {
        let mut values = vec![0; 2000];
        values[1999] = at;
        Tensor::vector(&values)
    };
    assert_eq!(builder.constant("", again(3)), ids[3]);
    assert!(!ids.contains(&builder.constant("", again(150))));
}

#[test]
fn weights_of_one_name_are_numbered_at_once() {
    let mut nodes = "a0 = Add(x, {2: 1 2})".to_owned();
    for at in 1..3000 {
        nodes += &format!(
            "; w{at} = Add(constant_0, {at}.5); a{at} = Add(a{}, w{at})",
            at - 1
        );
    }
    let loaded = parse(&bytes(13, "N 2", &(nodes + "; y = Relu(a2999)")), None).unwrap();
    let named = |name: &str| loaded.graph.nodes().iter().any(|node| node.name == name);
    assert!(named("constant_0") && named("constant_0_2") && named("constant_0_3000"));
    assert!(!named("constant_0_3001"));
}

#[test]
fn graphs_within_graphs_end_somewhere() {
    for depth in [1, 20, 40, 400] {
        let mut inner = GraphProto::default();
        for _ in 0..depth {
            inner = GraphProto {
                node: vec![NodeProto {
                    op_type: "If".into(),
                    input: vec!["x".into()],
                    output: vec!["z".into()],
                    attribute: vec![AttributeProto {
                        name: "then_branch".into(),
                        g: Some(inner),
                        ..AttributeProto::default()
                    }],
                    ..NodeProto::default()
                }],
                ..GraphProto::default()
            };
        }
        let mut file = model(13, "N 2", "y = Relu(x)");
        let graph = file.graph.as_mut().expect("the model has a graph");
        graph.node.append(&mut inner.node);
        let error = parse(&file.encode_to_vec(), None).unwrap_err().to_string();
        // Decoding stops at a hundred nested messages.
        let says = if depth < 40 {
            "\"z\" (If)"
        } else {
            "recursion"
        };
        assert!(error.contains(says), "{depth}: {error}");
    }
}

#[test]
fn constants_of_zeros_and_ones_are_still_neutral() {
    let nodes =
        "a = Add(x, {2: 0 0}); b = Mul(a, {2: 1 1}); c = Sub(b, 0.0); d = Div(c, 1.0); y = Relu(d)";
    assert_eq!(count(nodes, "N 2", Op::Relu.name()), 1);
    for op in ["Add", "Mul", "Sub", "Div"] {
        assert_eq!(count(nodes, "N 2", op), 0, "{op}");
    }
}
