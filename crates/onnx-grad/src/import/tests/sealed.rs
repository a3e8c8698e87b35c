//! Files that are run as they are: what is refused, and what is left of a file.

use prost::Message;

use super::{model, value};
use crate::{
    Dim, Error, LoadOptions, Result, Sealed,
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
        (
            value("x", "2 4"),
            y(),
            "\"x\" does not begin with an axis for the pictures",
        ),
        (
            value("x", "N side"),
            y(),
            "axis 1 of input \"x\" is dynamic",
        ),
        (
            x(),
            of(DataType::Int64, "y", "N 9"),
            "\"y\" has elements of type int64",
        ),
        (x(), value("y", "N 9 7"), "\"y\" has other axes"),
        (x(), value("y", "N"), "\"y\" has other axes"),
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

/// A value inside the file becomes one of its outputs where it is asked for.
#[test]
fn an_inner_value_can_be_the_output() {
    let nodes = "h = LSTM(x); z = Gemm(h, {2 3: 1 0 2 -1 3 0}); y = Softmax(z) axis=-1";
    let model = model(13, "N 2", nodes);
    let sealed = |name: &str| -> Result<(Vec<String>, String)> {
        let options = LoadOptions {
            output: Some(name.to_owned()),
            ..LoadOptions::default()
        };
        let sealed = seal_bytes(&model.encode_to_vec(), None, &options)?;
        let written = ModelProto::decode(&sealed.bytes[..]).expect("a model");
        let outputs = written.graph.expect("a graph").output;
        let names: Vec<String> = outputs.into_iter().map(|output| output.name).collect();
        Ok((names, sealed.output))
    };
    for (name, expected) in [("y", &["y"][..]), ("z", &["y", "z"]), ("h", &["y", "h"])] {
        let (outputs, output) = sealed(name).unwrap();
        assert_eq!(
            (outputs, output.as_str()),
            (expected.iter().map(|&one| one.to_owned()).collect(), name)
        );
    }
    let error = sealed("q").unwrap_err().to_string();
    assert!(
        error.contains("its outputs are \"y\", and no value"),
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
        (until(32, 1), "calls in more than 32 calls"),
        (until(20, 2), "stand for more than 1048576 nodes"),
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
    // The magic word of another format, here an unknown field of 84 bytes; and a field in more bytes than it takes.
    for (begun, length) in [(&b"RTEN"[..], 2 + 84), (&[0x88, 0x80, 0x00, 0x08], 4)] {
        let mut bytes = begun.to_vec();
        bytes.resize(length, 0);
        bytes.extend(&plain);
        let sealed_again = seal(&bytes).unwrap();
        assert_eq!(sealed_again.bytes[0], 8, "{begun:?}");
        assert!(sealed_again.bytes.ends_with(&sealed.bytes), "{begun:?}");
    }
    // A group, which is no message.
    let error = seal(&[&plain[..], &[0x9b, 1, 0x9c, 1]].concat()).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}
