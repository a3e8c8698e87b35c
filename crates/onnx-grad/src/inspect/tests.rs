//! Compares counts with numbers computed by hand, and checks reports about models that are not plain classifiers.

use prost::Message;

use super::*;
use crate::{
    Lowering, Op, Reduction, Tensor,
    op::Convolution,
    proto::{FunctionProto, GraphProto, NodeProto, OperatorSetIdProto},
    testing::shape,
    to_onnx,
};

fn weight(sides: &[usize]) -> Tensor {
    let count = sides.iter().product();
    Tensor::f32(sides, vec![0.5; count]).expect("as many values as the shape has")
}

/// Inspects a graph with the input `x`, to which `rest` appends the scores.
fn seen(
    input: &str,
    rest: impl FnOnce(&mut Graph, ValueId) -> Result<ValueId>,
) -> Result<(Classifier, Access)> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape(input));
    let scores = rest(&mut graph, x)?;
    graph.output("scores", scores);
    let (classifier, access) = classifier(graph, &mut Vec::new());
    Ok((classifier.expect("the graph has an input"), access))
}

fn dense(graph: &mut Graph, x: ValueId, sides: [usize; 2]) -> Result<ValueId> {
    let weight = graph.named_constant("dense", weight(&sides));
    graph.add_named("product", Op::MatMul, &[x, weight])
}

#[test]
fn multiply_adds_and_memory_are_those_counted_by_hand() -> Result<()> {
    let (model, access) = seen("N 1 5 5", |graph, x| {
        let kernel = graph.named_constant("kernel", weight(&[2, 1, 3, 3]));
        let convolution = Convolution {
            strides: vec![1, 1],
            pads_before: vec![0, 0],
            pads_after: vec![0, 0],
            dilations: vec![1, 1],
            groups: 1,
        };
        let features = graph.add(Op::Conv(convolution), &[x, kernel])?;
        let features = graph.add(Op::Relu, &[features])?;
        let flat = graph.add(
            Op::Reshape {
                shape: shape("N 18"),
            },
            &[features],
        )?;
        dense(graph, flat, [18, 4])
    })?;
    // 2 x 3 x 3 sums of 9 products, then 4 sums of 18. The picture's 25 numbers and the 18 of the convolution are
    // alive at once; later never more than 36.
    let forward = Cost {
        multiply_adds: 162 + 72,
        activation_bytes: 4 * (25 + 18),
    };
    assert_eq!(model.forward, Some(forward));
    // On the way back another 72, and a convolution of the padded cotangent: 5 x 5 sums of 2 x 3 x 3.
    assert_eq!(
        model.gradient.map(|cost| cost.multiply_adds),
        Some(162 + 72 + 72 + 450)
    );
    assert_eq!((model.classes, model.batch), (Some(4), None));
    assert_eq!(model.operators.get("Conv"), Some(&1));
    assert_eq!(model.operators.get("Constant"), None);
    assert!(model.obstacles.is_empty() && access.gradients.possible);
    Ok(())
}

#[test]
fn every_product_has_its_own_count() -> Result<()> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 4 3 3"));
    let convolution = Convolution {
        strides: vec![2, 2],
        pads_before: vec![0, 0],
        pads_after: vec![0, 0],
        dilations: vec![1, 1],
        groups: 2,
    };
    let kernel = graph.constant(weight(&[4, 3, 2, 2]));
    let op = Op::ConvTranspose {
        convolution,
        output_padding: vec![0, 0],
    };
    let wide = graph.add(op, &[x, kernel])?;
    graph.output("wide", wide);
    // Each of 4 x 9 numbers contributes to 3 channels of 2 x 2.
    assert_eq!(Cost::of(&graph).multiply_adds, 36 * 12);

    let mut graph = Graph::new();
    let a = graph.input("a", DType::F32, shape("6 N"));
    let b = graph.constant(weight(&[5, 6]));
    let op = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: true,
        trans_b: true,
    };
    let product = graph.add(op, &[a, b])?;
    graph.output("product", product);
    assert_eq!(Cost::of(&graph).multiply_adds, 5 * 6);

    // Nodes that no output needs cost nothing, and a value is freed after its last reader.
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 8"));
    let a = graph.add(Op::Exp, &[x])?;
    let b = graph.add(Op::Exp, &[a])?;
    let sum = graph.add(Op::Add, &[b, x])?;
    graph.add(Op::Exp, &[sum])?;
    graph.output("sum", sum);
    let cost = Cost {
        multiply_adds: 0,
        activation_bytes: 4 * 24,
    };
    assert_eq!(Cost::of(&graph), cost);
    Ok(())
}

/// Effects with the operators that cause them.
fn obstacles(model: &Classifier) -> Vec<(Effect, &'static str)> {
    let obstacles = model.obstacles.iter();
    obstacles
        .map(|obstacle| (obstacle.effect, obstacle.operator))
        .collect()
}

#[test]
fn what_stops_a_gradient_is_named() -> Result<()> {
    let (model, access) = seen("N 2", |graph, x| {
        let sign = graph.add_named("binarised", Op::Sign, &[x])?;
        dense(graph, sign, [2, 3])
    })?;
    assert_eq!(obstacles(&model), [(Effect::Zero, "Sign")]);
    assert_eq!(model.obstacles[0].node, "binarised");
    assert!(access.scores.possible && !access.gradients.possible);
    let reason = access.gradients.obstacle.unwrap_or_default();
    assert!(reason.contains("zero for every picture"), "{reason}");

    let (model, access) = seen("N 2", |graph, x| {
        let zero = graph.scalar(0.0);
        let positive = graph.add(Op::Greater, &[x, zero])?;
        let mask = graph.add_named("mask", Op::Cast { to: DType::F32 }, &[positive])?;
        let masked = graph.add(Op::Mul, &[x, mask])?;
        dense(graph, masked, [2, 3])
    })?;
    assert_eq!(obstacles(&model), [(Effect::Stops, "Greater")]);
    assert!(access.scores.possible && !access.gradients.possible);

    // The same mask is differentiable if it only selects.
    let (model, access) = seen("N 2", |graph, x| {
        let zero = graph.scalar(0.0);
        let positive = graph.add(Op::Greater, &[x, zero])?;
        let masked = graph.add(Op::Where, &[positive, x, zero])?;
        dense(graph, masked, [2, 3])
    })?;
    assert!(model.obstacles.is_empty() && access.gradients.possible);

    // A rounding in a side branch; the other branch passes the gradient.
    let (model, access) = seen("N 2", |graph, x| {
        let rounded = graph.add(Op::Round, &[x])?;
        let sum = graph.add(Op::Add, &[x, rounded])?;
        dense(graph, sum, [2, 3])
    })?;
    assert_eq!(obstacles(&model), [(Effect::Zero, "Round")]);
    assert!(access.gradients.possible);
    Ok(())
}

#[test]
fn gates_that_are_nearly_steps_are_named_and_others_are_not() -> Result<()> {
    let gated = |gate: Op, factor: f32| -> Result<Vec<(Effect, &'static str)>> {
        let (model, access) = seen("N 2", |graph, x| {
            let factor = graph.scalar(factor);
            let scaled = graph.add(Op::Mul, &[x, factor])?;
            let gate = graph.add(gate, &[scaled])?;
            dense(graph, gate, [2, 3])
        })?;
        assert!(access.gradients.possible);
        Ok(obstacles(&model))
    };
    let steep = |name| vec![(Effect::Steep, name)];
    assert_eq!(
        gated(
            Op::HardSigmoid {
                alpha: 1e30,
                beta: 0.0
            },
            1.0
        )?,
        steep("HardSigmoid")
    );
    assert_eq!(
        gated(
            Op::HardSigmoid {
                alpha: 0.2,
                beta: 0.5
            },
            1.0
        )?,
        []
    );
    assert_eq!(gated(Op::Clip { min: 0.0, max: 1.0 }, 1e4)?, steep("Clip"));
    assert_eq!(gated(Op::Clip { min: 0.0, max: 6.0 }, 100.0)?, []);
    assert_eq!(
        gated(
            Op::Clip {
                min: 0.0,
                max: f32::INFINITY
            },
            1e4
        )?,
        []
    );
    assert_eq!(gated(Op::Sigmoid, -1000.0)?, steep("Sigmoid"));
    assert_eq!(gated(Op::Tanh, 1.0)?, []);
    Ok(())
}

#[test]
fn preprocessing_in_the_graph_is_told() -> Result<()> {
    let (model, _) = seen("N 2 2 3", |graph, x| {
        let perm = vec![0, 3, 1, 2];
        let x = graph.add(Op::Transpose { perm }, &[x])?;
        let order = graph.constant(Tensor::vector(&[2, 1, 0]));
        let x = graph.add(Op::Gather { axis: 1 }, &[x, order])?;
        let mean = graph.constant(Tensor::f32([1, 3, 1, 1], [0.25, 0.5, 0.75])?);
        let x = graph.add_named("centre", Op::Sub, &[x, mean])?;
        let factor = graph.scalar(4.0);
        let x = graph.add(Op::Mul, &[x, factor])?;
        let x = graph.add(
            Op::Reshape {
                shape: shape("N 12"),
            },
            &[x],
        )?;
        dense(graph, x, [12, 2])
    })?;
    let told: Vec<&str> = model
        .preprocessing
        .iter()
        .map(|step| step.does.as_str())
        .collect();
    let expected = [
        "axes in the order [0, 3, 1, 2]",
        "channels in the order [2, 1, 0]",
        "minus [0.25, 0.5, 0.75]",
        "times 4",
    ];
    assert_eq!(told, expected);
    assert_eq!(model.preprocessing[2].node, "centre");

    // A residual branch that starts at the input is not preprocessing, nor is a layer alone.
    let (model, _) = seen("N 2", |graph, x| {
        let one = graph.scalar(1.0);
        let shifted = graph.add(Op::Add, &[x, one])?;
        let sum = graph.add(Op::Mul, &[shifted, x])?;
        dense(graph, sum, [2, 2])
    })?;
    assert!(model.preprocessing.is_empty(), "{:?}", model.preprocessing);
    Ok(())
}

#[test]
fn scores_are_looked_for_before_a_final_softmax() -> Result<()> {
    let with_softmax = |graph: &mut Graph, x| {
        let product = dense(graph, x, [2, 3])?;
        graph.add_named("probabilities", Op::Softmax { axis: 1 }, &[product])
    };
    let (model, access) = seen("N 2", with_softmax)?;
    assert_eq!(model.softmax.as_deref(), Some("probabilities"));
    assert!(access.gradients.possible);

    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("1 2"));
    let scores = with_softmax(&mut graph, x)?;
    graph.output("scores", scores);
    let bytes = to_onnx(&graph, Lowering::Portable)?;
    let options = LoadOptions {
        keep_softmax: true,
        ..LoadOptions::default()
    };
    let model = inspect_bytes(&bytes, None, &options)?.classifier;
    assert_eq!(model.and_then(|model| model.softmax), None);
    Ok(())
}

#[test]
fn what_is_no_classifier_is_told_too() -> Result<()> {
    let (model, access) = seen("N 2", |graph, x| {
        let product = dense(graph, x, [2, 3])?;
        graph.add_named(
            "answer",
            Op::ArgMax {
                axis: 1,
                keep_dims: true,
            },
            &[product],
        )
    })?;
    assert_eq!(model.forward, None);
    let reason = access.labels.obstacle.unwrap_or_default();
    assert!(reason.contains("\"answer\" (ArgMax)"), "{reason}");

    let (model, access) = seen("N 2", |graph, x| {
        let op = Op::Reduce {
            kind: Reduction::Sum,
            axes: vec![1],
            keep_dims: true,
        };
        graph.add(op, &[x])
    })?;
    assert_eq!((model.classes, access.gradients.possible), (Some(2), true));

    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 2"));
    for name in ["one", "other"] {
        let value = graph.add(if name == "one" { Op::Exp } else { Op::Neg }, &[x])?;
        graph.output(name, value);
    }
    let (model, access) = classifier(graph, &mut Vec::new());
    assert_eq!(model.and_then(|model| model.output), None);
    let reason = access.scores.obstacle.unwrap_or_default();
    assert!(
        reason.contains("\"one\" [N, 2], \"other\" [N, 2]"),
        "{reason}"
    );
    Ok(())
}

fn node(operator: &str, domain: &str, input: &str, output: &str) -> NodeProto {
    NodeProto {
        input: vec![input.into()],
        output: vec![output.into()],
        op_type: operator.into(),
        domain: domain.into(),
        ..NodeProto::default()
    }
}

#[test]
fn a_file_that_cannot_be_imported_is_told_as_far_as_it_goes() -> Result<()> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 2"));
    let y = dense(&mut graph, x, [2, 3])?;
    graph.output("y", y);
    let bytes = to_onnx(&graph, Lowering::Portable)?;
    let mut model = ModelProto::decode(&*bytes).expect("what was written");
    let nodes = &mut model.graph.get_or_insert_with(GraphProto::default).node;
    nodes.insert(0, node("NonMaxSuppression", "", "x", "a"));
    nodes.insert(1, node("FusedThing", "com.example", "x", "b"));
    nodes.insert(2, node("NonMaxSuppression", "", "x", "c"));
    let inspection = inspect_bytes(&model.encode_to_vec(), None, &LoadOptions::default())?;
    let file = &inspection.file;
    assert_eq!(file.inputs[0].name, "x");
    assert_eq!(file.inputs[0].r#type, "float");
    assert_eq!(file.outputs[0].name, "y");
    assert_eq!(file.parameters, 6);
    assert_eq!(file.operators.get("NonMaxSuppression"), Some(&2));
    assert_eq!(file.operators.get("com.example.FusedThing"), Some(&1));
    let refused: Vec<(&str, usize, &str)> = file
        .unsupported
        .iter()
        .map(|one| (one.operator.as_str(), one.nodes, one.first.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            ("NonMaxSuppression", 2, "a"),
            ("com.example.FusedThing", 1, "b")
        ]
    );
    assert!(inspection.classifier.is_none());
    let reason = inspection.access.labels.obstacle.unwrap_or_default();
    assert!(reason.contains("\"a\" (NonMaxSuppression)"), "{reason}");

    // An unknown operator set does not prevent a description either.
    model.opset_import = vec![OperatorSetIdProto {
        domain: String::new(),
        version: 99,
    }];
    let inspection = inspect_bytes(&model.encode_to_vec(), None, &LoadOptions::default())?;
    assert_eq!(inspection.file.opset, Some(99));
    assert!(inspection.classifier.is_none());
    assert!(inspect_bytes(b"no model", None, &LoadOptions::default()).is_err());
    Ok(())
}

#[test]
fn nodes_of_functions_and_inner_graphs_are_told() -> Result<()> {
    let function = |body: Vec<NodeProto>| FunctionProto {
        name: "Block".into(),
        domain: "of.model".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: body,
        ..FunctionProto::default()
    };
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 2"));
    let y = dense(&mut graph, x, [2, 3])?;
    graph.output("y", y);
    let bytes = to_onnx(&graph, Lowering::Portable)?;
    let mut model = ModelProto::decode(&*bytes).expect("what was written");
    let nodes = &mut model.graph.get_or_insert_with(GraphProto::default).node;
    nodes.insert(0, node("Block", "of.model", "x", "c"));
    nodes.insert(1, node("Block", "of.model", "c", "d"));
    model.functions = vec![function(vec![node("Relu", "", "a", "b")])];
    let inspect =
        |model: &ModelProto| inspect_bytes(&model.encode_to_vec(), None, &LoadOptions::default());
    let inspection = inspect(&model)?;
    assert!(inspection.classifier.is_some());
    let counts: Vec<(&str, usize)> = (inspection.file.operators.iter())
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(counts, [("MatMul", 1), ("Relu", 2)]);

    // The same block with a loop in it.
    let inner = AttributeProto {
        name: "body".into(),
        g: Some(GraphProto {
            node: vec![
                node("NonMaxSuppression", "", "a", "n"),
                node("Exp", "", "n", "e"),
            ],
            ..GraphProto::default()
        }),
        ..AttributeProto::default()
    };
    let mut around = node("Loop", "", "a", "b");
    around.attribute = vec![inner];
    model.functions = vec![function(vec![around])];
    let inspection = inspect(&model)?;
    assert!(inspection.classifier.is_none());
    assert_eq!(inspection.file.operators.get("Exp"), Some(&2));
    let refused: Vec<(&str, usize, &str)> = (inspection.file.unsupported.iter())
        .map(|one| (one.operator.as_str(), one.nodes, one.first.as_str()))
        .collect();
    assert_eq!(refused, [("Loop", 2, "b"), ("NonMaxSuppression", 2, "n")]);
    Ok(())
}
