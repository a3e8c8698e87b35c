//! Files that are run as they are: what is refused, and what the sealed file contains.

use prost::Message;

use super::{model, value};
use crate::{
    Dim, Error, LoadOptions, Lowering, Result, Sealed,
    import::seal_bytes,
    proto::{DataType, FunctionProto, ModelProto, NodeProto, ValueInfoProto},
    testing::shape,
};

fn seal(model: &ModelProto) -> Result<Sealed> {
    seal_bytes(&model.encode_to_vec(), None, &LoadOptions::default())
}

/// A recurrent classifier with this input and output.
fn recurrent(input: ValueInfoProto, output: ValueInfoProto) -> ModelProto {
    let mut model = model(13, "N 2", "y = LSTM(x)");
    let graph = model.graph.as_mut().expect("the model has a graph");
    (graph.input, graph.output) = (vec![input], vec![output]);
    model
}

/// A value with elements of another type than float.
fn of(data_type: DataType, name: &str, shape: &str) -> ValueInfoProto {
    let mut info = value(name, shape);
    let declared = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
    declared.expect("a tensor").elem_type = data_type.into();
    info
}

#[test]
fn one_picture_goes_in_and_one_row_of_scores_comes_out() {
    let good = seal(&recurrent(value("x", "N 3 4 4"), value("y", "N 9"))).unwrap();
    assert_eq!(good.shape, shape("N 3 4 4"));
    let bytes = of(DataType::Uint8, "x", "1 3 4 4");
    let bytes = seal(&recurrent(bytes, value("y", "1 9 1 1"))).unwrap();
    assert_eq!((bytes.eats_bytes, bytes.shape[0]), (true, Dim::Fixed(1)));

    let (x, y) = (|| value("x", "N 4"), || value("y", "N 9"));
    for (input, output, says) in [
        (
            of(DataType::Float16, "x", "N 4"),
            y(),
            "\"x\" has elements of type float16",
        ),
        (value("x", "2 4"), y(), "\"x\" needs a leading batch axis"),
        (
            value("x", "N side"),
            y(),
            "axis 1 of input \"x\" has no fixed length",
        ),
        (
            x(),
            of(DataType::Int64, "y", "N 9"),
            "\"y\" has elements of type int64",
        ),
        (x(), value("y", "N 9 7"), "\"y\" has different axes"),
    ] {
        let error = seal(&recurrent(input, output)).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let mut two = recurrent(x(), y());
    let graph = two.graph.as_mut().unwrap();
    graph.output.push(value("z", "N 9"));
    let error = seal(&two).unwrap_err().to_string();
    assert!(error.contains("the scores: \"y\", \"z\""), "{error}");
    two.graph.as_mut().unwrap().input.push(value("w", "N 4"));
    let error = seal(&two).unwrap_err().to_string();
    assert!(error.contains("has 2 inputs"), "{error}");
}

/// The value before a softmax becomes an output, and so does any other requested value.
#[test]
fn an_inner_value_can_be_the_output() {
    let nodes = "h = LSTM(x); z = Gemm(h, {2 3: 1 0 2 -1 3 0}); p = Softmax(z) axis=-1; c = Clip(p); y = Identity(c)";
    let model = model(13, "N 2", nodes);
    let sealed = |options: LoadOptions| {
        let sealed = seal_bytes(&model.encode_to_vec(), None, &options)?;
        let written = ModelProto::decode(&sealed.bytes[..]).expect("a model");
        let outputs = written.graph.expect("a graph").output;
        let names: Vec<String> = outputs.into_iter().map(|output| output.name).collect();
        Ok::<_, crate::Error>((names, sealed.output, sealed.softmax))
    };
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.into()).collect() };
    let (outputs, output, softmax) = sealed(LoadOptions::default()).unwrap();
    assert_eq!((outputs, &*output), (names(&["y", "z"]), "z"));
    assert_eq!(softmax.as_deref(), Some("p"));
    let kept = LoadOptions {
        keep_softmax: true,
        ..LoadOptions::default()
    };
    let (outputs, output, softmax) = sealed(kept).unwrap();
    assert_eq!((outputs, &*output, softmax), (names(&["y"]), "y", None));
    let chosen = |name: &str| {
        sealed(LoadOptions {
            output: Some(name.to_owned()),
            ..LoadOptions::default()
        })
    };
    let (outputs, output, _) = chosen("h").unwrap();
    assert_eq!((outputs, &*output), (names(&["y", "h"]), "h"));
    let error = chosen("q").unwrap_err().to_string();
    assert!(
        error.contains("its outputs are \"y\", and no inner value"),
        "{error}"
    );
}

#[test]
fn functions_that_an_engine_would_write_out_for_ever_are_refused() {
    let call = |name: &str| NodeProto {
        op_type: name.into(),
        domain: "of.model".into(),
        ..NodeProto::default()
    };
    let with = |body: &dyn Fn(usize) -> Vec<NodeProto>| {
        let mut model = recurrent(value("x", "N 4"), value("y", "N 9"));
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(call("F0"));
        let function = |at: usize| FunctionProto {
            name: format!("F{at}"),
            domain: "of.model".into(),
            node: body(at),
            ..FunctionProto::default()
        };
        model.functions = (0..40).map(function).collect();
        seal(&model).map(|_| ()).map_err(|error| error.to_string())
    };
    let next = |at: usize| call(&format!("F{}", at + 1));
    let leaf = NodeProto {
        op_type: "Relu".into(),
        ..NodeProto::default()
    };
    assert_eq!(with(&|_| vec![leaf.clone()]), Ok(()));
    let until = |last: usize, copies: usize| {
        with(&|at| match at < last {
            true => vec![next(at); copies],
            false => vec![leaf.clone()],
        })
    };
    assert_eq!(until(31, 1), Ok(()));
    assert_eq!(until(16, 2), Ok(()));
    for (refused, says) in [
        (until(32, 1), "calls nested more than 32 deep"),
        (until(20, 2), "to more than 1048576 nodes"),
        (with(&|_| vec![call("F0")]), "function \"F0\" calls itself"),
    ] {
        let error = refused.unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn what_readers_might_take_in_another_way_is_left_out_or_refused() {
    let plain = recurrent(value("x", "N 4"), value("y", "N 9")).encode_to_vec();
    let seal = |bytes: &[u8]| seal_bytes(bytes, None, &LoadOptions::default());
    let sealed = seal(&plain).unwrap();
    // The magic word of another format, here an unknown field of 84 bytes, and a field encoded in more bytes than
    // necessary.
    for (begun, length) in [(&b"RTEN"[..], 2 + 84), (&[0x88, 0x80, 0x00, 0x08], 4)] {
        let mut bytes = begun.to_vec();
        bytes.resize(length, 0);
        bytes.extend(&plain);
        let sealed_again = seal(&bytes).unwrap();
        assert_eq!(sealed_again.bytes[0], 8, "{begun:?}");
        assert!(sealed_again.bytes.ends_with(&sealed.bytes), "{begun:?}");
    }
    // A group instead of a message.
    let error = seal(&[&plain[..], &[0x9b, 1, 0x9c, 1]].concat()).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

/// Returns a file of these nodes in the form for an engine with few defaults.
fn portable(opset: i64, nodes: &str) -> Result<ModelProto> {
    let mut file = model(opset, "N 3 8 8", nodes);
    file.graph.as_mut().expect("the model has a graph").output = vec![value("y", "N 9")];
    let sealed = seal(&file)?;
    let bytes = sealed.lowered(Lowering::Portable)?;
    Ok(ModelProto::decode(&bytes[..]).expect("a model"))
}

#[test]
fn what_an_engine_computes_otherwise_is_refused() {
    let weight = "{1 3 3 3: 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9}";
    for (opset, nodes, says) in [
        (
            13,
            format!("y = Conv(x, {weight}) auto_pad=SAME_LOWER"),
            "SAME_UPPER",
        ),
        (
            13,
            "y = MaxPool(x) kernel_shape=2,2 auto_pad=SAME_LOWER".into(),
            "SAME_UPPER",
        ),
        (
            13,
            "y = AveragePool(x) kernel_shape=2,2 auto_pad=SAME_LOWER".into(),
            "SAME_UPPER",
        ),
        (
            13,
            "y = ConvInteger(x, w, z) pads=1,1,1,1".into(),
            "the zero point",
        ),
        (
            13,
            "y = ConvInteger(x, w, z) auto_pad=SAME_UPPER".into(),
            "the zero point",
        ),
        (
            13,
            "y = Resize(x, , {1 1 2 2}) mode=cubic".into(),
            "linearly",
        ),
        (
            13,
            "y = Resize(x, , {1 1 0.7 0.7}) mode=linear".into(),
            "powers of two",
        ),
        (
            13,
            "y = Resize(x, , , [1 3 9 9]) mode=linear".into(),
            "powers of two",
        ),
        (
            9,
            "y = Upsample(x, {1 1 1.2 2}) mode=nearest".into(),
            "powers of two",
        ),
        (13, "y = ArgMax(x)".into(), "equal maxima"),
        (13, "y = Sign(x)".into(), "sign of 0"),
        (13, "y = Softplus(x)".into(), "infinity"),
        (15, "y = CastLike(x, z)".into(), "range"),
        (
            13,
            "y = QuantizeLinear(x, {3: 1 2 3})".into(),
            "the reciprocal of a scale",
        ),
        (
            13,
            "y = QuantizeLinear(x, z)".into(),
            "the reciprocal of a scale",
        ),
    ] {
        let error = portable(opset, &nodes).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{nodes}: {error}");
        let error = error.to_string();
        assert!(
            error.contains("\"y\"") && error.contains(says),
            "{nodes}: {error}"
        );
    }
}

#[test]
fn what_an_engine_lacks_is_spelled_out() {
    let weight = "{1 3 3 3: 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9}";
    for (opset, nodes, operators) in [
        (13, format!("y = Conv(x, {weight})"), "Conv"),
        (
            13,
            "y = ConvInteger(x, u8[1 1 1 1: 3], z) pads=0,0,0,0".into(),
            "ConvInteger",
        ),
        (13, "y = MaxPool(x) kernel_shape=2,2".into(), "MaxPool"),
        (
            13,
            "y = Resize(x, , {1 1 2 0.5}) mode=nearest".into(),
            "Resize",
        ),
        (13, "y = Cast(x) to=1".into(), "Cast"),
        (13, "y = Cast(x) to=2".into(), "Cast Cast"),
        (13, "y = Cast(x) to=9".into(), "Sub Equal Not"),
        (13, "y = Softmax(x)".into(), "Softmax"),
        (11, "y = Softmax(x)".into(), "Shape Flatten Softmax Reshape"),
        (
            13,
            "y = QuantizeLinear(x, 0.5, i8[: 3])".into(),
            "Sub Add Div Round Cast Add Constant Max Constant Min Cast Cast",
        ),
    ] {
        let found = portable(opset, &nodes).unwrap().graph.unwrap().node;
        let names: Vec<&str> = found.iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(names.join(" "), operators, "{nodes}");
        assert_eq!(found.last().unwrap().output, ["y"], "{nodes}");
        let stated = |name: &str| {
            let attributes = found.iter().flat_map(|node| &node.attribute);
            let mut named = attributes.filter(|attribute| attribute.name == name);
            named.next().cloned()
        };
        match operators {
            "Conv" | "ConvInteger" | "MaxPool" => {
                assert_eq!(stated("strides").unwrap().ints, [1, 1], "{nodes}");
            }
            "Cast Cast" => assert_eq!(stated("to").unwrap().i, Some(6)),
            _ => {}
        }
    }
    // The other engine gets the unchanged file.
    let file = recurrent(value("x", "N 4"), value("y", "N 9"));
    let sealed = seal(&file).unwrap();
    let same = sealed.lowered(Lowering::OnnxRuntime).unwrap();
    assert_eq!(&same[..], &sealed.bytes[..]);
}

#[test]
fn a_final_softmax_over_the_classes_is_noticed() {
    for (opset, nodes, expected) in [
        (13, "z = LSTM(x); y = Softmax(z) axis=1", true),
        (13, "z = LSTM(x); s = Softmax(z); y = Flatten(s)", true),
        (11, "z = LSTM(x); y = Softmax(z)", true),
        (13, "z = LSTM(x); y = Softmax(z) axis=0", false),
        (13, "s = Softmax(x); y = LSTM(s)", false),
        (13, "y = Identity(y)", false),
    ] {
        let mut file = model(opset, "N 4", nodes);
        file.graph.as_mut().unwrap().output = vec![value("y", "N 9")];
        let sealed = seal(&file).unwrap();
        assert_eq!(sealed.softmax.is_some(), expected, "{nodes}");
    }
}
