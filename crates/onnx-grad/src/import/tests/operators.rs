//! Compares operators with numbers that ONNX Runtime computed for the same one-line models.

use super::{as_floats, bytes, model, numbers, ramp};
use crate::{
    Tensor,
    import::{
        ops::{CONTRIBUTED, OPERATORS, contributed, handler},
        parse,
    },
    testing::{BATCH, Program},
};

#[test]
fn operators_compute_what_onnx_runtime_computes() {
    compare(include_str!("operators.txt"), true);
}

#[test]
fn operators_on_integers_compute_what_onnx_runtime_computes() {
    // A notice states the types in which they are computed.
    compare(include_str!("integers.txt"), false);
}

fn compare(cases: &str, counts_notices: bool) {
    let mut wrong = Vec::new();
    for case in cases.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = case.split(" | ").collect();
        let &[opset, input, nodes, shape, values] = &fields[..] else {
            panic!("{case}: not five fields");
        };
        let loaded = match parse(&bytes(opset.parse().unwrap(), input, nodes), None) {
            Ok(loaded) => loaded,
            Err(error) => {
                wrong.push(format!("{case}: {error}"));
                continue;
            }
        };
        let expected = usize::from(!input.starts_with('N'));
        if counts_notices && loaded.notices.len() > expected {
            wrong.push(format!("{case}: {:?}", loaded.notices));
        }
        let sides: Vec<usize> = input
            .split_whitespace()
            .map(|side| side.parse().unwrap_or(BATCH))
            .collect();
        let x = Tensor::f32(sides.clone(), ramp(sides.iter().product())).unwrap();
        let y = Program::new(&loaded.graph).run(&[x]).remove(0);
        let (got, want) = (as_floats(&y), numbers::<f32>(values));
        let near = |(got, want): (&f32, &f32)| {
            let tolerance = 2e-5 * want.abs().max(1.0);
            (got - want).abs() < tolerance || got == want || got.is_nan() && want.is_nan()
        };
        if y.shape() != numbers::<usize>(shape) || !got.iter().zip(&want).all(near) {
            wrong.push(format!("{case}: {:?} {got:?}", y.shape()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn table_is_sorted_and_found() {
    assert!(OPERATORS.is_sorted_by(|a, b| a.0 < b.0));
    for (name, _) in OPERATORS {
        assert!(handler(name).is_some(), "{name}");
    }
    assert!(handler("Loop").is_none());
    assert!(CONTRIBUTED.is_sorted_by(|a, b| a.0 < b.0));
    for (name, _) in CONTRIBUTED {
        assert!(contributed(name).is_some(), "{name}");
    }
}

#[test]
fn indices_that_name_nothing_are_invalid() {
    for nodes in [
        "y = ScatterElements(x, [1 1 2: 0 72057594037927936], {1 1 2: 1 2}) axis=2",
        "y = ScatterND({3 2: 1 2 3 4 5 6}, [1 1: -4], {1 2: 1 2})",
        "y = GatherND({3 2: 1 2 3 4 5 6}, [1 1: 3])",
        "y = GatherElements(x, [1 1 1: 9223372036854775807]) axis=2",
        "y = Gather(x, [-9223372036854775808]) axis=2",
    ] {
        let error = parse(&bytes(16, "N 1 4", nodes), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("invalid") && error.contains("for a side of"),
            "{nodes}: {error}"
        );
    }
}

#[test]
fn formulas_of_integers_are_refused_and_do_not_panic() {
    let refused = [
        "y = InstanceNormalization(c, {4: 1 1 1 1}, {4: 0 0 0 0})",
        "y = GroupNormalization(c, {4: 1 1 1 1}, {4: 0 0 0 0}) num_groups=2",
        "y = CumSum(c, 1)",
        "y = Attention(c, c, c) q_num_heads=1 kv_num_heads=1",
        "y = Einsum(c, c) equation=bij,bkj->bik",
        "y = LRN(c) size=3",
        "y = Resize(c, , {1 1 1.5}) mode=linear",
        "y = Col2Im(c, [2 2], [2 2])",
    ];
    for nodes in refused {
        let file = bytes(23, "N 4 4", &format!("c = Cast(x) to=7; {nodes}"));
        assert!(parse(&file, None).is_err(), "{nodes}");
    }
}

#[test]
fn quantising_needs_a_scale() {
    for nodes in [
        "y = QuantizeLinear(x)",
        "q = QuantizeLinear(x, 0.5); y = DequantizeLinear(q, , 3)",
    ] {
        let error = parse(&bytes(13, "N 1 4", nodes), None).unwrap_err();
        assert!(error.to_string().contains("input 1 is missing"), "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let refused = [
        ("y = Loop(x)", "Loop"),
        ("z = Dropout(x, 0.5); y = Nonsense(z)", "Nonsense"),
        ("y = GridSample(x, x) mode=linear", "pictures"),
        ("y = Pad(x, [0 0 9 0 0 0]) mode=wrap", "more than once"),
        (
            "y = ScatterElements(x, [1 1 2: 0 0], {1 1 2: 1 2}) axis=2",
            "twice",
        ),
        ("m = Cast(x) to=9; y = If(m)", "depends on the picture"),
        (
            "y = BatchNormalization(x, {1}, {1}, {1}, {1}) training_mode=1",
            "training mode",
        ),
        ("t = Cast(x) to=7; y = Reshape(x, t)", "picture's values"),
        (
            "a, m = MaxPool(x) kernel_shape=1,; y = Cast(m) to=1",
            "secondary output",
        ),
    ];
    for (nodes, part) in refused {
        let error = parse(&bytes(13, "N 1 4", nodes), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{nodes}: {error}");
        assert!(error.starts_with("unsupported"), "{nodes}: {error}");
    }
    let mut foreign = model(13, "N 4", "y = Gelu(x)");
    foreign.graph.as_mut().unwrap().node[0].domain = "com.microsoft".into();
    let foreign = prost::Message::encode_to_vec(&foreign);
    let error = parse(&foreign, None).unwrap_err().to_string();
    assert!(
        error.contains("com.microsoft") && error.contains("\"y\""),
        "{error}"
    );
}
