//! The names of values in the file, after the import.

use super::bytes;
use crate::{
    LoadOptions, Loss, Result, gradient_at, gradient_graph, inner_values, parse, parse_with,
    shape::display,
};

/// A convolution followed by a normalisation, a choice, and a step that is not a node after the import.
const NODES: &str = "c = Conv(x, {2 1 1 1: 1 -2}); n = BatchNormalization(c, {1 2}, {0 1}, {0 1}, {1 4}); r = Relu(n); \
                     same = Identity(r); t = Transpose(same) perm=0,2,3,1; u = Transpose(t) perm=0,3,1,2; \
                     flat = Flatten(u); best = ArgMax(flat) axis=1; s = Shape(x); \
                     y = Gemm(flat, {8 3: 1 0 2 -1 3 0 1 1 -2 0 4 1 2 2 0 1 -1 1 0 0 3 1 2 -2})";

#[test]
fn values_keep_their_names() -> Result<()> {
    let graph = parse(&bytes(13, "1 1 2 2", NODES), None)?.graph;
    let inner = inner_values(&graph);
    let found: Vec<String> = (inner.iter())
        .map(|(name, shape)| format!("{name} {}", display(shape)))
        .collect();
    let expected = [
        "n [N, 2, 2, 2]",
        "r [N, 2, 2, 2]",
        "same [N, 2, 2, 2]",
        "u [N, 2, 2, 2]",
        "flat [N, 8]",
        "y [N, 3]",
    ];
    assert_eq!(found, expected);
    // Gradients are taken in graphs built from the model, which keep the names.
    let gradient = gradient_graph(&graph, Loss::Margin)?;
    assert_eq!(inner_values(&gradient), inner);
    Ok(())
}

#[test]
fn names_that_are_lost_are_told_from_those_that_never_were() -> Result<()> {
    let graph = parse(&bytes(13, "1 1 2 2", NODES), None)?.graph;
    for (name, reason) in [
        (
            "c",
            "no longer exists after import, because it is part of another value or no output needs it; the closest available name is \"n\"",
        ),
        (
            "t",
            "no longer exists after import, because it is part of another value or no output needs it; the closest available name is \"u\"",
        ),
        (
            "best",
            "no longer exists after import, because it is part of another value or no output needs it; the closest",
        ),
        (
            "flatten",
            "is not a value inside the model; the closest available name is \"flat\"",
        ),
    ] {
        let error = gradient_at(&graph, &[name]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    Ok(())
}

/// Operators after the chosen value need not be supported.
#[test]
fn an_inner_value_is_chosen_as_the_output() -> Result<()> {
    let nodes = "h = Relu(x); z = Gemm(h, {2 3: 1 0 2 -1 3 0}); y = LSTM(z)";
    let chosen = |name: &str| {
        let options = LoadOptions {
            output: Some(name.to_owned()),
            ..LoadOptions::default()
        };
        parse_with(&bytes(13, "N 2", nodes), None, &options)
    };
    for (name, expected) in [("z", "[N, 3]"), ("h", "[N, 2]")] {
        let graph = chosen(name)?.graph;
        let [(found, id)] = graph.outputs() else {
            panic!("one output")
        };
        assert_eq!(
            (found.as_str(), &*display(graph.shape(*id))),
            (name, expected)
        );
    }
    for (name, says) in [("y", "\"y\" (LSTM)"), ("q", "LSTM")] {
        let error = chosen(name).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}
