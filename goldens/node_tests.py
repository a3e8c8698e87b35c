"""Lays out ONNX's own node tests for the example `node_tests`.

    python goldens/node_tests.py FOLDER

They come with the package `onnx`. Each becomes FOLDER/<operator>/<test>/ with `values.npz`, its inputs and expected
outputs by name, and the model in up to three forms: `0.onnx` unchanged; `1.onnx` with the values of all non-float
inputs in the file, as exporters write shapes, axes and indices; `2.onnx` with the values of all inputs except the
first. Operators expanded into others are in `function bodies`.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from onnx import TensorProto, numpy_helper

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
# Supported operator sets.
OLDEST, NEWEST = 7, 23
# Distance from one to the next number; results of these types are rounded to it.
EPSILON = {TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}


def tensors(folder, kind, values):
    """Returns the tensors of a test by the names of the graph's inputs or outputs, or `None` if some are not numeric
    tensors."""
    found = {}
    for at, value in enumerate(values):
        if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type == TensorProto.STRING:
            return None
        tensor = TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{at}.pb").read_bytes())
        tensor.name = value.name
        found[value.name] = tensor
    return found


def plain(tensor):
    """Converts the elements to one of the three types that the engines take."""
    array = numpy_helper.to_array(tensor)
    if array.dtype == bool:
        return array
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)


def with_values(model, inputs):
    """Returns the model with some inputs turned into initialisers."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    kept = [value for value in model.graph.input if value.name not in inputs]
    del fixed.graph.input[:]
    fixed.graph.input.extend(kept)
    fixed.graph.initializer.extend(inputs.values())
    return fixed


def forms(model, inputs):
    """Returns the distinct forms of the model. All of them store inputs without elements in the file."""
    first, *_ = [value.name for value in model.graph.input]
    empty = {n: t for n, t in inputs.items() if 0 in t.dims and n != first}
    integers = empty | {n: t for n, t in inputs.items() if t.data_type not in FLOATS and n != first}
    rest = {n: t for n, t in inputs.items() if n != first}
    found = [with_values(model, empty)]
    if len(integers) > len(empty):
        found.append(with_values(model, integers))
    if len(rest) > len(integers):
        found.append(with_values(model, rest))
    yield from found
    if len(model.graph.output) > 1:
        for form in found:
            alone = onnx.ModelProto()
            alone.CopyFrom(form)
            del alone.graph.output[1:]
            yield alone


def adjust_opset(model):
    """Declares another operator set if the declared one is not supported and the operator is the same in both.

    The newest set mostly allowed additional element types.
    """
    (opset, *_), node = model.opset_import, model.graph.node[0]
    if opset.version < OLDEST and onnx.defs.get_schema(node.op_type, OLDEST).since_version == opset.version:
        opset.version = OLDEST
    if opset.version > NEWEST:
        former, opset.version = opset.version, NEWEST
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            opset.version = former


def lay_out(source, target):
    """Writes one test. Returns whether that was possible."""
    model = onnx.load(source / "model.onnx")
    if any(node.domain for node in model.graph.node):
        return False
    adjust_opset(model)
    folder = source / "test_data_set_0"
    inputs = tensors(folder, "input", model.graph.input)
    outputs = tensors(folder, "output", model.graph.output)
    if not inputs or not outputs:
        return False
    nodes = model.graph.node
    target = target / (nodes[0].op_type if len(nodes) == 1 else "function bodies") / source.name
    target.mkdir(parents=True, exist_ok=True)
    for at, form in enumerate(forms(model, inputs)):
        (target / f"{at}.onnx").write_bytes(form.SerializeToString())
    values = {f"input/{name}": plain(tensor) for name, tensor in inputs.items()}
    values |= {f"output/{name}": plain(tensor) for name, tensor in outputs.items()}
    types = [tensor.data_type for tensor in [*inputs.values(), *outputs.values()]]
    values["epsilon"] = np.float32(max(EPSILON.get(kind, 0.0) for kind in types))
    np.savez(target / "values.npz", **values)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    tests = sorted((Path(onnx.backend.test.__file__).parent / "data/node").iterdir())
    written = sum(lay_out(test, folder) for test in tests)
    print(f"{written} of {len(tests)} tests; the others have other domains or non-numeric tensors")


if __name__ == "__main__":
    main()
