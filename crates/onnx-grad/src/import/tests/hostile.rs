//! Broken and malicious files: an error that names the cause, never a panic, never a large allocation.

use prost::Message;
use rand::RngExt;

use super::{bytes, literal, model, value};
use crate::{
    Loss, Lowering, gradient_graph,
    import::parse,
    proto::{
        AttributeType, DataType, FunctionProto, ModelProto, SparseTensorProto, TensorProto,
        TensorTypeProto, TypeProto,
    },
    testing::rng,
    to_onnx,
};

const NETWORK: &str = "c = Conv(x, {2 1 2: 1 2 3 4}, {0 1}) pads=1,1; n = BatchNormalization(c, {1 2}, {0 1}, \
    {0 1}, {1 4}); r = Relu(n); p = MaxPool(r) kernel_shape=2, strides=2,; s = Shape(p); b = Gather(s, [0]); \
    t = Concat(b, [-1]) axis=0; f = Reshape(p, t); g = Slice(f, [0], [4], [1]); y = Softmax(g) axis=1";

#[test]
fn every_fault_is_named() {
    type Break = fn(&mut ModelProto);
    let faults: [(&str, Break); 27] = [
        ("operator set 0", |m| m.opset_import[0].version = 0),
        ("operator set 99", |m| m.opset_import[0].version = 99),
        ("which ONNX operator set", |m| m.opset_import.clear()),
        ("no graph", |m| m.graph = None),
        ("has no output", |m| graph(m).output.clear()),
        ("has no input", |m| graph(m).input.clear()),
        ("the output \"z\"", |m| graph(m).output[0].name = "z".into()),
        ("\"r\"", |m| graph(m).node[2].input[0] = "p".into()),
        ("cycle", |m| graph(m).node[0].input[0] = "y".into()),
        ("value \"c\" twice", |m| {
            graph(m).node[2].output[0] = "c".into()
        }),
        ("value \"constant_0\" twice", |m| {
            let again = graph(m).initializer[0].clone();
            graph(m).initializer.push(again);
        }),
        ("\"constant_0\": has shape [2, 1, 3] but 4", |m| {
            graph(m).initializer[0].dims[2] = 3
        }),
        ("\"constant_0\": has the shape", |m| {
            graph(m).initializer[0].dims[2] = -1
        }),
        ("more than 2^32", |m| {
            graph(m).initializer[0].dims = vec![0, i64::MAX, i64::MAX]
        }),
        ("more than 2^32", |m| {
            graph(m).input[0] = value("x", "N 1 99999999999")
        }),
        ("attribute \"pads\"", |m| {
            graph(m).node[0].attribute[0].ints.push(1)
        }),
        ("\"pads\" has the wrong type", |m| {
            graph(m).node[0].attribute[0].ints.clear();
            graph(m).node[0].attribute[0].set_kind(AttributeType::String);
        }),
        ("\"y\" (Softmax): axis 7 is out of range", |m| {
            graph(m).node[9].attribute[0].i = Some(7)
        }),
        ("\"y\" (If)", |m| graph(m).node[9].op_type = "If".into()),
        ("\"y\" (Softmax): belongs to the operator set", |m| {
            graph(m).node[9].domain = "com.example".into()
        }),
        (
            "\"y\" (Softmax): passes 1 inputs to a function that takes 0",
            |m| {
                m.functions.push(FunctionProto {
                    name: "Softmax".into(),
                    ..FunctionProto::default()
                })
            },
        ),
        ("\"x\" has elements of type string", |m| {
            tensor_type(m).set_elem_type(DataType::String)
        }),
        ("\"x\" is not a tensor", |m| {
            graph(m).input[0].r#type = Some(TypeProto::default())
        }),
        ("\"x\" has no shape", |m| tensor_type(m).shape = None),
        ("axis 2 of input \"x\"", |m| {
            graph(m).input[0] = value("x", "N 1 -5")
        }),
        ("\"constant_0\": has elements of type string", |m| {
            graph(m).initializer[0].set_data_type(DataType::String)
        }),
        ("\"s\"", |m| {
            let values = TensorProto {
                name: "s".into(),
                ..TensorProto::default()
            };
            graph(m).sparse_initializer.push(SparseTensorProto {
                values: Some(values),
            });
        }),
    ];
    for (part, break_it) in faults {
        let mut file = model(13, "N 1 5", NETWORK);
        assert!(parse(&file.encode_to_vec(), None).is_ok());
        break_it(&mut file);
        let error = parse(&file.encode_to_vec(), None).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn tensor_type(model: &mut ModelProto) -> &mut TensorTypeProto {
    let info = graph(model).input[0].r#type.as_mut();
    info.and_then(|info| info.tensor_type.as_mut())
        .expect("x is a tensor")
}

fn graph(model: &mut ModelProto) -> &mut crate::proto::GraphProto {
    model.graph.as_mut().expect("the model has a graph")
}

#[test]
fn enormous_numbers_are_refused_or_left_symbolic() {
    let max = i64::MAX;
    let cases = [
        format!("a = ConstantOfShape([{max}]); y = Add(x, a)"),
        format!("a = ConstantOfShape([{max} {max}]); y = Relu(x)"),
        "a = Expand(1.0, [65536 65536]); b = Expand(a, [65536 65536 65536]); y = Add(x, b)".into(),
        format!("y = Tile(x, [1 1 {max}])"),
        format!("y = Pad(x, [0 0 {max} 0 0 {max}])"),
        format!("y = Pad(x, [0 0 {} 0 0 0])", i64::MIN),
        format!("a = Range(0, {max}, 1); y = Add(x, a)"),
        format!("a = Range({}, {max}, -1); y = Add(x, a)", i64::MIN),
        "a = Range(0.0, 1000000000.0, 0.00001); y = Add(x, a)".into(),
        format!("y = MaxPool(x) kernel_shape={max},"),
        format!("y = MaxPool(x) kernel_shape=2, strides={max},"),
        "y = MaxPool(x) kernel_shape=0,".into(),
        "y = MaxPool(x) kernel_shape=2, strides=0,".into(),
        "y = AveragePool(x) kernel_shape=9,".into(),
        format!("y = Conv(x, {{1 1 1: 1}}) group={max}"),
        "y = Conv(x, {1 1 1: 1}) group=0".into(),
        "y = Conv(x, {0 1 0: })".into(),
        "y = ConvTranspose(x, {1 1 0: }) strides=2,".into(),
        "y = ConvTranspose(x, {1 1 1: 1}) group=0".into(),
        "y = GroupNormalization(x, {1}, {1}) num_groups=0".into(),
        "y = DepthToSpace(x) blocksize=0".into(),
        format!("y = Gather(x, {max}) axis=2"),
        format!("y = Gather(x, {}) axis=2", i64::MIN),
        format!("y = Slice(x, [{}], [{max}], [2], [{}])", i64::MIN, i64::MIN),
        format!("y = Slice(x, [{max}], [{}], [2], [{max}])", i64::MIN),
        "y = Slice(x, [0], [1], [2], [0])".into(),
        format!("y = Softmax(x) axis={max}"),
        format!("y = Softmax(x) axis={}", i64::MIN),
        format!("y = Flatten(x) axis={}", i64::MIN),
        format!("y = Unsqueeze(x, [{}])", i64::MIN),
        format!("a = Add([{max}], [{max}]); y = Reshape(x, a)"),
        format!("s = Shape(x); a = Mul(s, [{max}]); b = Mul(a, [{max}]); y = Reshape(x, b)"),
        "s = Shape(x); a = Div(s, [0 0 0]); y = Reshape(x, a)".into(),
        "s = Shape(x); a = Mod(s, [0 0 0]); y = Reshape(x, a)".into(),
        format!("a = Div([{}], [-1]); y = Reshape(x, a)", i64::MIN),
        format!("a = Neg([{}]); y = Reshape(x, a)", i64::MIN),
        format!("y = Reshape(x, [{max} {max} 0])"),
        "y = Reshape(x, [0 0 0 0 0])".into(),
        "y = Reshape(x, [-1 -1])".into(),
        "y = Transpose(x) perm=0,0,0".into(),
        "a = Split(x) axis=2 num_outputs=0; y = Relu(a)".into(),
        format!("a, y = Split(x, [{max} {max}]) axis=2"),
        "y = LayerNormalization(x, {1 1 1 1 1 1 1})".into(),
        "y = BatchNormalization(x, {1 1}, {1}, {1}, {1})".into(),
        "y = BatchNormalization(x, {1}, {1 1}, {1}, {1})".into(),
        "y = Concat() axis=0".into(),
        "y = Add(x)".into(),
        "y = Add(x, x, x)".into(),
        "y = MatMul(x, 1.0)".into(),
        "y = Gemm(x, x)".into(),
        "y = Where(x, x, x)".into(),
        "y = Shape(x) start=-9223372036854775808 end=9223372036854775807".into(),
        "y = GlobalMaxPool(2.0)".into(),
        "y = InstanceNormalization(1.0, {1}, {1})".into(),
        "y = ArgMax(1.0)".into(),
    ];
    for nodes in cases {
        for opset in [8, 13, 21] {
            // It does not matter here whether this is an error, only that it returns without a panic.
            let _ = parse(&bytes(opset, "N 1 5", &nodes), None);
        }
    }
}

#[test]
fn folding_cannot_be_made_to_fill_the_memory() {
    let mut nodes = "a0 = Expand(1.0, [512 512])".to_owned();
    for at in 1..40 {
        let before = at - 1;
        nodes += &format!("; a{at} = Concat(a{before}, a{before}) axis=0");
    }
    nodes += "; y = Add(x, a39)";
    let error = parse(&bytes(13, "N 5", &nodes), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 2^32 elements"), "{error}");
}

#[test]
fn truncated_files_are_errors() {
    let file = bytes(13, "N 1 5", NETWORK);
    for length in 0..file.len() {
        // Some prefixes are complete messages, which lack parts of a model.
        assert!(parse(&file[..length], None).is_err(), "{length} bytes");
    }
}

#[test]
fn random_damage_never_panics() {
    let file = bytes(13, "N 1 5", NETWORK);
    let mut rng = rng("random damage");
    for _ in 0..4000 {
        let mut damaged = file.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..damaged.len());
            damaged[at] = rng.random();
        }
        let _ = parse(&damaged, None);
    }
}

#[test]
fn element_fields_are_checked_against_the_shape() {
    let with = |tensor: TensorProto| {
        let mut file = model(13, "N 2", "y = Add(x, w)");
        graph(&mut file).initializer.push(TensorProto {
            name: "w".into(),
            ..tensor
        });
        parse(&file.encode_to_vec(), None).map(|_| ())
    };
    assert!(with(literal("{1 2}")).is_ok());
    for raw in [vec![], vec![0; 3], vec![0; 7], vec![0; 12]] {
        let tensor = TensorProto {
            float_data: Vec::new(),
            raw_data: Some(raw),
            ..literal("{1 2}")
        };
        let error = with(tensor).unwrap_err().to_string();
        assert!(error.contains("\"w\""), "{error}");
    }
    for data_type in [0, 8, 14, 22, 99] {
        let tensor = TensorProto {
            data_type,
            ..literal("{1 2}")
        };
        let error = with(tensor).unwrap_err().to_string();
        assert!(error.contains("\"w\"") && error.contains("type"), "{error}");
    }
}

#[test]
fn numbers_that_are_none_go_through() {
    let nodes = "c = Conv(x, {1 1 2: nan inf}, {1: -inf}); b = Clip(c, {: nan}, 1.0); m = Mul(b, {1: 1e-45}); \
        f = Flatten(m); y = Gemm(f, {4 2: 1 nan 3 4 inf 6 7 8})";
    let loaded = parse(&bytes(13, "N 1 5", nodes), None).unwrap();
    let gradient = gradient_graph(&loaded.graph, Loss::CrossEntropy).unwrap();
    for graph in [&loaded.graph, &gradient] {
        let written = to_onnx(graph, Lowering::Portable).unwrap();
        assert!(parse(&written, None).is_ok());
    }
}

#[test]
fn nothing_at_all_is_no_classifier_and_no_panic() {
    let classless = parse(&bytes(13, "N 5", "y = Gemm(x, {5 0: })"), None).unwrap();
    let error = gradient_graph(&classless.graph, Loss::CrossEntropy).unwrap_err();
    assert!(error.to_string().contains("[N, 0]"), "{error}");

    // It does not matter here whether an empty tensor is an error, only that there is a result.
    let empty = "x, {1 0 3: }";
    for nodes in [
        format!("y = Conv({empty})"),
        format!("y = ConvTranspose({empty})"),
        "y = Reshape(x, [-1 0]) allowzero=1".into(),
        "y = ReduceMax(x) axes=1,".into(),
        "y = ReduceMean(x) axes=1,".into(),
        "y = Softmax(x) axis=1".into(),
        "y = MaxPool(x) kernel_shape=2,".into(),
        "y = GlobalAveragePool(x)".into(),
        "y = Slice(x, [0], [0], [2])".into(),
        "y = Tile(x, [1 0 1])".into(),
        "y = Concat(x, x) axis=1".into(),
        "a = Expand({0: }, [0]); y = MatMul(x, {5 0: })".into(),
        "a = ConstantOfShape([0]); b = ReduceMax(a); y = Add(x, b)".into(),
        "y = Gather(x, [0]) axis=1".into(),
        "y = DepthToSpace(x) blocksize=2".into(),
    ] {
        for shape in ["N 0 5", "0 1 5", "N 1 0", "0 0 0"] {
            for opset in [11, 13] {
                let Ok(loaded) = parse(&bytes(opset, shape, &nodes), None) else {
                    continue;
                };
                let _ = to_onnx(&loaded.graph, Lowering::Portable);
                if let Ok(gradient) = gradient_graph(&loaded.graph, Loss::CrossEntropy) {
                    let _ = to_onnx(&gradient, Lowering::Portable);
                }
            }
        }
    }
}
