use prost::Message;

use super::model;
use crate::{Bytes, DType, Error, Loaded, import::parse, proto::DataType};

/// A model whose input `x` is of this type.
fn read(kind: DataType, nodes: &str) -> Result<Loaded, Error> {
    let mut model = model(17, "N 4 2", nodes);
    let input = &mut model.graph.as_mut().unwrap().input[0];
    let tensor = input.r#type.as_mut().unwrap().tensor_type.as_mut();
    tensor.unwrap().elem_type = kind as i32;
    parse(&model.encode_to_vec(), None)
}

#[test]
fn bytes_that_are_only_moved_are_taken_as_floats() {
    for nodes in [
        "y = Cast(x) to=1",
        "y = Cast(x) to=10",
        "t = Transpose(x) perm=0,2,1; f = Cast(t) to=1; y = Flatten(f)",
        "i = Identity(x); r = Flatten(i); u = Unsqueeze(r, [1]); s = Squeeze(u, [1]); y = Cast(s) to=1",
        "s = Slice(x, [0], [2], [1]); y = Cast(s) to=1",
        "a = Cast(x) to=1; b = Cast(x) to=1; y = Add(a, b)",
        "a, b = Split(x) axis=1; c = Cast(a) to=1; d = Cast(b) to=1; y = Add(c, d)",
        "y = DequantizeLinear(x, {: 0.5})",
    ] {
        for (kind, expected) in [
            (DataType::Uint8, Bytes::Uint8),
            (DataType::Int8, Bytes::Int8),
        ] {
            let loaded = read(kind, nodes).unwrap_or_else(|error| panic!("{nodes}: {error}"));
            assert_eq!(loaded.bytes, Some(expected), "{nodes}");
            let input = loaded.graph.node(loaded.graph.inputs()[0]);
            assert_eq!(input.dtype, DType::F32, "{nodes}");
            let notice = loaded.notices.join("; ");
            assert!(
                notice.contains("treated as floats that hold these integers"),
                "{notice}"
            );
        }
        let floats = read(DataType::Float, "y = Relu(x)").unwrap();
        assert_eq!(floats.bytes, None);
    }
}

#[test]
fn bytes_that_are_computed_with_are_refused() {
    for (nodes, says) in [
        (
            "a = Add(x, x); y = Cast(a) to=1",
            "(Add) computes with these integers",
        ),
        ("a = Cast(x) to=6; y = Cast(a) to=1", "(Cast) computes"),
        (
            "t = Transpose(x) perm=0,2,1; a = Mul(t, t); y = Cast(a) to=1",
            "(Mul) computes",
        ),
        (
            "r = Flatten(x); a = BitShift(r, r) direction=LEFT; y = Cast(a) to=1",
            "(BitShift) computes",
        ),
        ("f = Cast(x) to=1; y = Gather(f, x)", "(Gather) computes"),
    ] {
        let error = read(DataType::Uint8, nodes).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{nodes}: {error}");
    }
}
