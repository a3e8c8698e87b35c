use super::*;
use crate::testing::{Program, floats};

const KINDS: [Lowering; 2] = [Lowering::Portable, Lowering::OnnxRuntime];

/// A graph with clashing names, and outputs that share a value, are inputs, or are constants.
fn tangled() -> Result<Graph> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, vec![Dim::Batch(1), Dim::Fixed(3)]);
    let first = graph.add_named("twin", Op::Exp, &[x])?;
    let second = graph.add_named("twin", Op::Exp, &[first])?;
    let two = graph.named_constant("x", Tensor::scalar(2.0));
    let y = graph.add_named("y", Op::Mul, &[second, two])?;
    let one = graph.scalar(1.0);
    let shape = vec![Dim::Batch(3)];
    let ones = graph.add(Op::Expand { shape }, &[one])?;
    let outputs = [("y", y), ("same", y), ("again", y), ("given", x)];
    for (name, id) in outputs
        .into_iter()
        .chain([("two", two), ("also two", two), ("ones", ones)])
    {
        graph.output(name, id);
    }
    Ok(graph)
}

#[test]
fn names_are_unique_and_the_bytes_repeat() -> Result<()> {
    let graph = tangled()?;
    for kind in KINDS {
        let bytes = to_onnx(&graph, kind)?;
        assert_eq!(bytes, to_onnx(&graph, kind)?);
        let file = ModelProto::decode(&bytes[..]).expect("what was written can be read");
        let file = file.graph.expect("a graph");
        let inputs = file.input.iter().map(|value| &value.name);
        let initializers = file.initializer.iter().map(|tensor| &tensor.name);
        let computed = file.node.iter().flat_map(|node| &node.output);
        let names: Vec<&String> = inputs.chain(initializers).chain(computed).collect();
        let unique: BTreeSet<&String> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len(), "{names:?}");
        let outputs: Vec<&str> = file
            .output
            .iter()
            .map(|value| value.name.as_str())
            .collect();
        assert_eq!(
            outputs,
            ["y", "same", "again", "given", "two", "also two", "ones"]
        );
    }
    Ok(())
}

#[test]
fn every_output_has_its_value() -> Result<()> {
    let x = Tensor::f32([2, 3], vec![0.0; 6])?;
    let outputs = Program::new(&tangled()?).run(std::slice::from_ref(&x));
    for shared in &outputs[..3] {
        assert_eq!(floats(shared), [2.0 * std::f32::consts::E; 6]);
    }
    assert_eq!(outputs[3], x);
    assert_eq!(floats(&outputs[4]), [2.0]);
    assert_eq!(floats(&outputs[5]), [2.0]);
    assert_eq!(floats(&outputs[6]), [1.0; 6]);
    Ok(())
}

#[test]
fn two_outputs_of_one_name_are_refused_and_an_input_gives_way() -> Result<()> {
    let mut graph = tangled()?;
    let (_, y) = graph.outputs()[0];
    graph.output("x", y);
    assert!(to_onnx(&graph, Lowering::Portable).is_ok());
    graph.output("y", y);
    let error = to_onnx(&graph, Lowering::Portable).unwrap_err();
    assert!(error.to_string().contains("\"y\""), "{error}");
    Ok(())
}

#[test]
fn the_batch_needs_an_input() -> Result<()> {
    let mut graph = Graph::new();
    let one = graph.scalar(1.0);
    let shape = vec![Dim::Batch(1)];
    let ones = graph.add(Op::Expand { shape }, &[one])?;
    graph.output("ones", ones);
    let error = to_onnx(&graph, Lowering::Portable).unwrap_err();
    assert!(error.to_string().contains("batch"), "{error}");
    Ok(())
}
