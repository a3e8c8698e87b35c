"""Lays out small classifiers with ONNX Runtime's answers for the example `predictions`: what each engine makes of operators.

    python goldens/predictions.py FOLDER

Each is FOLDER/<operator>/<case>.onnx with <case>.npz: `x`, one row of floats, and `y`, the row that ONNX Runtime answers. The
row is cut into the operator's inputs, which are cast to their types; its outputs are cast to floats and joined. The cases
are ONNX's own node tests and those of `CASES` below, which vary what engines differ in: integers that wrap, zero points,
padding, attributes that are left out. `as it is` behind a name: a loop that does nothing stands behind the operator, so that
the file cannot be imported.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime
from node_tests import adjust_opset, tensors
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64]
MICROSOFT = "com.microsoft"


def of_type(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class Case:
    """One node with its inputs: arrays that are cut from the row, constants, or `None`."""

    def __init__(self, name, operator, inputs, constants=(), outputs=1, domain="", opset=OPSET, **attributes):
        self.name, self.operator, self.outputs, self.opset = name, operator, outputs, opset
        names, self.given, self.constants = [], {}, []
        for at, value in enumerate(inputs):
            if value is None:
                names.append("")
                continue
            names.append(f"i{at}")
            if at in constants:
                self.constants.append(numpy_helper.from_array(np.asarray(value), f"i{at}"))
            else:
                self.given[f"i{at}"] = np.asarray(value)
        results = [f"o{at}" for at in range(outputs)]
        self.nodes = [helper.make_node(operator, names, results, domain=domain, **attributes)]


def classifier(nodes, given, constants, outputs, opset, functions=(), loops=False):
    """The model, and its row."""
    before, behind, start = [], [], 0
    weights = list(constants)

    def constant(values, name):
        weights.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    for name, array in given.items():
        cut, shaped = f"{name}/cut", f"{name}/shaped"
        ends = [constant([start], f"{name}/from"), constant([start + array.size], f"{name}/to")]
        before.append(helper.make_node("Slice", ["row", *ends, constant([1], f"{name}/axis")], [cut]))
        before.append(helper.make_node("Reshape", [cut, constant(array.shape, f"{name}/shape")], [shaped]))
        before.append(helper.make_node("Cast", [shaped], [name], to=of_type(array.dtype)))
        start += array.size
    parts = []
    for name in outputs:
        before_join = [f"{name}/float", f"{name}/part"]
        behind.append(helper.make_node("Cast", [name], [before_join[0]], to=TensorProto.FLOAT))
        behind.append(helper.make_node("Reshape", [before_join[0], constant([1, -1], f"{name}/row")], [before_join[1]]))
        parts.append(before_join[1])
    joined = "joined" if loops else "scores"
    behind.append(helper.make_node("Concat", parts, [joined], axis=1))
    if loops:
        info = helper.make_tensor_value_info
        body = helper.make_graph(
            [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Identity", ["kept"], ["same"])],
            "nothing",
            [
                info("turn", TensorProto.INT64, []),
                info("on", TensorProto.BOOL, []),
                info("kept", TensorProto.FLOAT, None),
            ],
            [info("still", TensorProto.BOOL, []), info("same", TensorProto.FLOAT, None)],
        )
        weights.append(numpy_helper.from_array(np.int64(1), "turns"))
        weights.append(numpy_helper.from_array(np.bool_(True), "go on"))
        behind.append(helper.make_node("Loop", ["turns", "go on", "joined"], ["scores"], body=body))
    graph = helper.make_graph(
        [*before, *nodes, *behind],
        "classifier",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, start])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, None])],
        weights,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions)
    rows = [array.astype(np.float32).ravel() for array in given.values()]
    return made, np.concatenate(rows)[None]


def write(folder, name, made, row):
    """Writes a case if ONNX Runtime answers it; says whether it does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        (y,) = session.run(None, {"row": row})
    except Exception:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(made.SerializeToString())
    np.savez(folder / f"{name}.npz", x=row, y=y)
    return True


def both(folder, name, *model):
    written = write(folder, name, *classifier(*model))
    return written and write(folder, f"{name}, as it is", *classifier(*model, loops=True)) + 1


def node_test(source, target):
    """Lays out one of ONNX's tests, with all inputs but integers of 64 bits cut from the row, and with only the first."""
    model = onnx.load(source / "model.onnx")
    if any(node.domain for node in model.graph.node):
        return 0
    adjust_opset(model)
    inputs = tensors(source / "test_data_set_0", "input", model.graph.input)
    if not inputs:
        return 0
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in inputs.items()}
    first = next(iter(arrays))

    def goes_in(name, array):
        exact = array.dtype != np.int64 and array.size > 0
        return exact and (array.astype(np.float32).astype(array.dtype) == array).all()

    given = {n: a for n, a in arrays.items() if goes_in(n, a)}
    written = 0
    for form, names in enumerate([list(given), [first]]):
        cut = {name: given[name] for name in names if name in given}
        if not cut or (form == 1 and len(given) == 1):
            continue
        constants = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name not in cut]
        constants += [tensor for tensor in model.graph.initializer]
        outputs = [value.name for value in model.graph.output]
        nodes = list(model.graph.node)
        operator = nodes[0].op_type if len(nodes) == 1 else "function bodies"
        opset = max(model.opset_import[0].version, 13)
        if opset != model.opset_import[0].version:
            # The nodes around the operator are of operator set 13.
            return written
        name = source.name + (", weights in the file" if form else "")
        parts = (nodes, cut, constants, outputs, opset, list(model.functions))
        written += both(target / operator, name, *parts)
    return written


def integer_arithmetic(rng):
    for dtype in INTEGERS:
        range_ = np.iinfo(dtype)
        low, high = max(range_.min, -40_000), min(range_.max, 40_000)
        a, b = (rng.integers(low, high, [2, 8], endpoint=True).astype(dtype) for _ in range(2))
        small = rng.integers(1, 4, [2, 8]).astype(dtype)
        name = np.dtype(dtype).name
        for operator in ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "BitwiseAnd", "BitwiseOr", "BitwiseXor"):
            for constants in ((), (1,)):
                right = small if operator in ("Div", "Mod") else b
                yield Case(f"{name}, constant {constants}", operator, [a, right], constants)
        yield Case(f"{name}, fmod", "Mod", [a, small], (1,), fmod=1)
        yield Case(name, "Pow", [a, small], (1,))
        for operator in ("Neg", "Abs", "Sign", "Relu", "BitwiseNot"):
            yield Case(name, operator, [a])
        for operator in ("Equal", "Less", "Greater"):
            yield Case(name, operator, [a, b])
        yield Case(name, "Clip", [a, dtype(3), dtype(90)], (1, 2))
        yield Case(name, "Where", [rng.random([2, 8]) < 0.5, a, b])
        yield Case(name, "Concat", [a, b], axis=1)
        yield Case(name, "Pad", [a, np.int64([0, 1, 0, 2]), dtype(7)], (1, 2))
        yield Case(name, "Gather", [a, np.int64([3, 0, 5])], (1,), axis=1)
        yield Case(name, "Transpose", [a])
        yield Case(name, "Sum", [a, b])
        yield Case(name, "Mean", [a, b])
        for operator in ("ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "ReduceProd", "ReduceSumSquare", "ReduceL1"):
            yield Case(name, operator, [a, np.int64([1])], (1,))
        yield Case(name, "ArgMax", [a], axis=1)
        yield Case(name, "CumSum", [a, np.int64(1)], (1,))
        yield Case(name, "TopK", [a, np.int64([3])], (1,), outputs=2)
        yield Case(name, "MatMul", [a, b.T])
        yield Case(name, "Gemm", [a, b], transB=1)
        yield Case(name, "MaxPool", [a.reshape(1, 1, 4, 4)], kernel_shape=[2, 2])
        yield Case(name, "BitShift", [a, small], direction="LEFT")
        for mode in ("nearest", "linear"):
            scales = np.float32([1, 1, 1.4, 0.7])
            yield Case(f"{name}, {mode}", "Resize", [a.reshape(1, 1, 4, 4), None, scales], (2,), mode=mode)
        for to in [*INTEGERS, np.float32, np.bool_]:
            yield Case(f"{name} to {np.dtype(to).name}", "Cast", [a], to=of_type(to))


def casts(rng):
    x = np.float32([0, 0.5, 0.99, 1, 1.5, 2.5, -0.5, -1, -1.5, -2.5, 127, 128, 200.7, 255, 256, 300, -128, -129, 40_000, -40_000])
    for to in [*INTEGERS, np.bool_]:
        yield Case(f"float to {np.dtype(to).name}", "Cast", [x], to=of_type(to))


def quantised(rng):
    def integers(shape, dtype):
        range_ = np.iinfo(dtype)
        return rng.integers(range_.min, range_.max, shape, endpoint=True).astype(dtype)

    def scales(shape=()):
        return rng.uniform(0.01, 0.1, shape).astype(np.float32)

    x = rng.normal(0, 3, [2, 3, 4, 4]).astype(np.float32)
    for dtype in (np.uint8, np.int8, np.uint16, np.int16):
        name, zero = np.dtype(dtype).name, np.iinfo(dtype).max // 2
        yield Case(name, "QuantizeLinear", [x, np.float32(0.02), dtype(zero)], (1, 2))
        yield Case(f"{name}, without a zero point", "QuantizeLinear", [x, np.float32(0.02)], (1,), output_dtype=of_type(dtype))
        yield Case(f"{name}, by axis", "QuantizeLinear", [x, scales(3), integers([3], dtype)], (1, 2))
        yield Case(f"{name}, by the last axis", "QuantizeLinear", [x, scales(4), integers([4], dtype)], (1, 2), axis=-1)
        q = integers([2, 3, 4, 4], dtype)
        yield Case(name, "DequantizeLinear", [q, np.float32(0.02), dtype(zero)], (1, 2))
        yield Case(f"{name}, by axis", "DequantizeLinear", [q, scales(3), integers([3], dtype)], (1, 2))
        yield Case(f"{name}, by axis 3", "DequantizeLinear", [q, scales(4), integers([4], dtype)], (1, 2), axis=3)
    yield Case("int32", "DequantizeLinear", [integers([2, 3], np.int16).astype(np.int32), np.float32(0.02)], (1,))
    for shift in (-5, 0, 5):
        yield Case(f"around {shift}", "DynamicQuantizeLinear", [x + np.float32(shift)], outputs=3)
    yield Case("zeros", "DynamicQuantizeLinear", [x * 0], outputs=3)

    windows = {
        "plain": {},
        "pads": {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]},
        "pads, strides": {"pads": [0, 1, 2, 1], "strides": [2, 2]},
        "dilations": {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
        "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        "valid": {"auto_pad": "VALID"},
    }
    for (name, window), (a, w) in product(windows.items(), product((np.uint8, np.int8), repeat=2)):
        q, kernel = integers([1, 4, 6, 6], a), integers([4, 4, 3, 3], w)
        types = f"{np.dtype(a).name} by {np.dtype(w).name}"
        zeros = [a(100), w(3)]
        for constants in ((1, 2, 3), (2, 3), ()):
            label = f"{name}, {types}, constant {constants}"
            yield Case(label, "ConvInteger", [q, kernel, *zeros], constants, **window)
        yield Case(f"{name}, {types}, no zero points", "ConvInteger", [q, kernel], (1,), **window)
        yield Case(f"{name}, {types}, no second zero point", "ConvInteger", [q, kernel, zeros[0]], (1, 2), **window)
        grouped = [q, kernel[:, :2], zeros[0], integers([4], w)]
        yield Case(f"{name}, {types}, groups, by channel", "ConvInteger", grouped, (1, 2, 3), group=2, **window)
        bias = rng.integers(-20_000, 20_000, 4).astype(np.int32)
        for constants in (range(1, 9), ()):
            inputs = [q, scales(), zeros[0], kernel, scales(), zeros[1], np.float32(30), a(90), bias]
            yield Case(f"{name}, {types}, {constants}", "QLinearConv", inputs, constants, **window)
        inputs[4], inputs[5] = scales(4), np.zeros(4, w)
        yield Case(f"{name}, {types}, by channel", "QLinearConv", inputs, range(1, 9), **window)
    for a, b in product((np.uint8, np.int8), repeat=2):
        types = f"{np.dtype(a).name} by {np.dtype(b).name}"
        left, right = integers([2, 3, 7], a), integers([2, 7, 5], b)
        for constants in ((1, 2, 3), (2, 3), ()):
            yield Case(f"{types}, {constants}", "MatMulInteger", [left, right, a(100), b(3)], constants)
        yield Case(f"{types}, plain", "MatMulInteger", [left, right])
        yield Case(f"{types}, matrices, by column", "MatMulInteger", [left[0], right[0], a(9), integers([5], b)], (1, 2, 3))
        yield Case(f"{types}, matrices, by row", "MatMulInteger", [left[0], right[0], integers([3], a)], (1, 2))
        inputs = [left, scales(), a(100), right, scales(), b(3), np.float32(9), a(90)]
        for constants in (range(1, 8), ()):
            yield Case(f"{types}, {constants}", "QLinearMatMul", inputs, constants)
        yield Case(f"{types}, opset 13", "QLinearMatMul", inputs, range(1, 8), opset=13)
        floats = [left, right, scales(), scales(), a(100), b(3), rng.normal(size=5).astype(np.float32)]
        yield Case(types, "MatMulIntegerToFloat", floats, range(1, 7), domain=MICROSOFT)
        gemm = [left[0], scales(), a(9), right[0], scales(), b(1), np.int32([5, 0, 900, -7, 3]), np.float32(2), a(90)]
        yield Case(types, "QGemm", gemm, range(1, 9), domain=MICROSOFT)
        yield Case(f"{types}, to float", "QGemm", gemm[:7], range(1, 7), domain=MICROSOFT)
        dynamic = [x[0], right[:1, :4].repeat(3, 0), scales(), b(3), rng.normal(size=5).astype(np.float32)]
        yield Case(types, "DynamicQuantizeMatMul", dynamic, range(1, 5), domain=MICROSOFT)
    for dtype in (np.uint8, np.int8):
        name = np.dtype(dtype).name
        q, p = integers([1, 3, 5, 5], dtype), integers([1, 3, 1, 1], dtype)
        y = [np.float32(0.07), dtype(60)]
        for operator in ("QLinearAdd", "QLinearMul"):
            inputs = [q, scales(), dtype(50), p, scales(), dtype(20), *y]
            yield Case(name, operator, inputs, (1, 2, 4, 5, 6, 7), domain=MICROSOFT)
            yield Case(f"{name}, constant", operator, inputs, range(1, 8), domain=MICROSOFT)
        one = [q, np.float32(0.03), dtype(50), *y]
        yield Case(name, "QLinearLeakyRelu", one, range(1, 5), domain=MICROSOFT, alpha=0.1)
        yield Case(name, "QLinearSigmoid", [*one[:3], np.float32(1 / 256), dtype(0)], range(1, 5), domain=MICROSOFT)
        yield Case(name, "QLinearGlobalAveragePool", one, range(1, 5), domain=MICROSOFT)
        for (at, pads), ceil, included in product(enumerate([[0] * 4, [1, 1, 1, 1], [0, 1, 1, 0]]), (0, 1), (0, 1)):
            attributes = {"kernel_shape": [2, 3], "strides": [2, 2], "pads": pads}
            attributes |= {"ceil_mode": ceil, "count_include_pad": included}
            label = f"{name}, pads {at}, ceil {ceil}, included {included}"
            yield Case(label, "QLinearAveragePool", one, range(1, 5), domain=MICROSOFT, **attributes)
        joined = [*y, q, np.float32(0.03), dtype(50), q, np.float32(0.1), dtype(10)]
        yield Case(name, "QLinearConcat", joined, (0, 1, 3, 4, 6, 7), domain=MICROSOFT, axis=1)


def windows_of_floats(rng):
    x = rng.normal(size=[1, 2, 7, 6]).astype(np.float32)
    kinds = {
        "plain": {},
        "strides": {"strides": [2, 3]},
        "pads": {"pads": [1, 0, 1, 2]},
        "pads, strides": {"pads": [1, 1, 0, 1], "strides": [2, 2]},
        "dilations": {"dilations": [2, 1], "pads": [1, 1, 1, 1]},
        "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        "lower, kernel of 2": {"auto_pad": "SAME_LOWER"},
        "valid": {"auto_pad": "VALID", "strides": [2, 2]},
    }
    for name, kind in kinds.items():
        kernel = [2, 2] if "2" in name else [3, 2]
        w, transposed = (rng.normal(size=[*shape, *kernel]).astype(np.float32) for shape in ([4, 2], [2, 3]))
        for constants in ((), (1,)):
            yield Case(f"{name}, constant {constants}", "Conv", [x, w], constants, **kind)
            yield Case(f"{name}, kernel_shape, {constants}", "Conv", [x, w], constants, kernel_shape=kernel, **kind)
            yield Case(f"{name}, constant {constants}", "ConvTranspose", [x, transposed], constants, **kind)
        yield Case(f"{name}, groups", "Conv", [x, w[:, :1]], (1,), group=2, **kind)
        line = {key: value[:1] if len(value) == 2 else value[::2] for key, value in kind.items() if key != "auto_pad"}
        yield Case(f"{name}, one axis", "Conv", [x[0], w[..., 0]], (1,), **line)
        for ceil in (0, 1):
            for included in (0, 1):
                label = f"{name}, ceil {ceil}, included {included}"
                attributes = {"kernel_shape": kernel, "ceil_mode": ceil, "count_include_pad": included, **kind}
                for opset in (13, 19, 22):
                    yield Case(f"{label}, opset {opset}", "AveragePool", [x], opset=opset, **attributes)
            attributes = {"kernel_shape": kernel, "ceil_mode": ceil, **kind}
            for opset in (13, 22):
                yield Case(f"{name}, ceil {ceil}, opset {opset}", "MaxPool", [x], opset=opset, **attributes)
            yield Case(f"{name}, ceil {ceil}", "LpPool", [x], opset=18, **attributes)
    yield Case("output_shape", "ConvTranspose", [x, transposed], (1,), strides=[2, 2], output_shape=[15, 13])
    yield Case("output_padding", "ConvTranspose", [x, transposed], (1,), strides=[2, 2], output_padding=[1, 1])


def others(rng):
    x = rng.normal(size=[2, 3, 4]).astype(np.float32)
    for operator in ("Softmax", "LogSoftmax", "Hardmax"):
        yield Case("no axis", operator, [x], opset=13)
    for mode, rule in product(("nearest", "linear", "cubic"), ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")):
        for scale in (0.6, 0.7, 1.2, 2.0, 2.9):
            scales = np.float32([1, 1, scale, 1.3])
            attributes = {"mode": mode, "coordinate_transformation_mode": rule}
            yield Case(f"{mode}, {rule}, {scale}", "Resize", [x[None], None, scales], (2,), opset=13, **attributes)
    yield Case("axes", "Pad", [x, np.int64([1, 2]), None, np.int64([-1])], (1, 3), opset=18)
    yield Case("axes, no constant", "Pad", [x, np.int64([1, 2]), np.float32(7), np.int64([1])], (1, 2, 3), opset=18)


def own(target):
    written = 0
    rng = np.random.default_rng(0)
    for make in (integer_arithmetic, casts, quantised, windows_of_floats, others):
        for case in make(rng):
            outputs = [f"o{at}" for at in range(case.outputs)]
            parts = (case.nodes, case.given, case.constants, outputs, case.opset)
            written += both(target / case.operator, f"own, {case.name}", *parts)
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    onnxruntime.set_default_logger_severity(4)
    written = own(folder)
    tests = sorted((Path(onnx.backend.test.__file__).parent / "data/node").iterdir())
    written += sum(node_test(test, folder) for test in tests)
    print(f"onnxruntime {onnxruntime.__version__}, {written} models")


if __name__ == "__main__":
    main()
