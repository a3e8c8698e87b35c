"""Writes the small models beside this file that onnx-grad cannot import, and what ONNX Runtime answers about two pictures.

Run with onnx, numpy and onnxruntime: python make.py
"""

import json
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SIDE, HIDDEN, CLASSES = 4, 5, 3
OPSET = 17
dice = numpy.random.default_rng(0)


def weight(name, *shape):
    return numpy_helper.from_array(dice.uniform(-0.8, 0.8, shape).astype(numpy.float32), name)


def numbers(name, *values):
    return numpy_helper.from_array(numpy.array(values, numpy.int64), name)


def recurrent(operator, gates, **attributes):
    """Nodes and weights that read a picture's rows, `rows` [rows, N, columns], one after the other."""
    inputs = ["rows", "w", "r", "b"]
    node = helper.make_node(operator, inputs, ["", "last"], "rnn", hidden_size=HIDDEN, **attributes)
    weights = [
        weight("w", 1, gates * HIDDEN, SIDE),
        weight("r", 1, gates * HIDDEN, HIDDEN),
        weight("b", 1, 2 * gates * HIDDEN),
    ]
    return node, weights


def dense(rows):
    nodes = [helper.make_node("Gemm", [rows, "dense.w", "dense.b"], ["scores"], "dense")]
    return nodes, [weight("dense.w", HIDDEN, CLASSES), weight("dense.b", CLASSES)]


def rows_of(pixels):
    """A picture [N, 1, 4, 4] as `rows` [4, N, 4]."""
    nodes = [
        helper.make_node("Squeeze", [pixels, "channel"], ["square"], "square"),
        helper.make_node("Transpose", ["square"], ["rows"], "rows", perm=[1, 0, 2]),
    ]
    return nodes, [numbers("channel", 1)]


def save(name, nodes, weights, batch="N", pixels=TensorProto.FLOAT, domains=(), elsewhere=False):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", pixels, [batch, 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="make.py")
    if not domains:
        onnx.checker.check_model(model)
    path = HERE / f"{name}.onnx"
    if elsewhere:
        weights_file = f"{name}.bin"
        (HERE / weights_file).unlink(missing_ok=True)
        onnx.save(
            model, path, save_as_external_data=True, location=weights_file, size_threshold=64, convert_attribute=True
        )
    else:
        onnx.save(model, path)
    return path


def lstm(name, elsewhere=False):
    before, axes = rows_of("pixels")
    node, weights = recurrent("LSTM", 4)
    flat = helper.make_node("Squeeze", ["last", "direction"], ["flat"], "flat")
    after, more = dense("flat")
    return save(
        name, [*before, node, flat, *after], [*axes, *weights, numbers("direction", 0), *more], elsewhere=elsewhere
    )


def gru_on_bytes():
    """Eats bytes, and answers probabilities."""
    before, axes = rows_of("floats")
    node, weights = recurrent("GRU", 3, linear_before_reset=1)  # as PyTorch writes it
    cast = helper.make_node("Cast", ["pixels"], ["wide"], "cast", to=TensorProto.FLOAT)
    scale = helper.make_node("Div", ["wide", "largest"], ["floats"], "scale")
    flat = helper.make_node("Squeeze", ["last", "direction"], ["flat"], "flat")
    after, more = dense("flat")
    after[0].output[0] = "logits"
    softmax = helper.make_node("Softmax", ["logits"], ["scores"], "softmax", axis=1)
    largest = numpy_helper.from_array(numpy.array(255, numpy.float32), "largest")
    nodes = [cast, scale, *before, node, flat, *after, softmax]
    return save(
        "bytes", nodes, [*axes, *weights, numbers("direction", 0), largest, *more], pixels=TensorProto.UINT8
    )


def loop():
    """Three steps of a state, for one picture at a time."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "turn"], ["turned"], "turn"),
            helper.make_node("Tanh", ["turned"], ["next"], "bend"),
            helper.make_node("Identity", ["going"], ["on"], "on"),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, HIDDEN]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, HIDDEN]),
        ],
    )
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], "flat"),
        helper.make_node("MatMul", ["flat", "into"], ["first"], "first"),
        helper.make_node("Loop", ["three", "", "first"], ["last"], "again", body=body),
    ]
    after, more = dense("last")
    three = numpy_helper.from_array(numpy.array(3, numpy.int64), "three")
    weights = [weight("into", SIDE * SIDE, HIDDEN), weight("turn", HIDDEN, HIDDEN), three, *more]
    return save("loop", [*nodes, *after], weights, batch=1)


def contributed():
    """An operator of ONNX Runtime's own."""
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], "flat"),
        helper.make_node("FusedMatMul", ["flat", "into"], ["first"], "fused", domain="com.microsoft", alpha=0.5),
    ]
    after, more = dense("first")
    weights = [weight("into", SIDE * SIDE, HIDDEN), *more]
    return save("contributed", [*nodes, *after], weights, domains=["com.microsoft"])


def again(inner):
    """Nodes that repeat a value once and so keep a file from being imported."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"], "on"), helper.make_node("Identity", ["state"], ["same"], "same")],
        "body",
        [
            info("step", TensorProto.INT64, []),
            info("going", TensorProto.BOOL, []),
            info("state", TensorProto.FLOAT, None),
        ],
        [info("on", TensorProto.BOOL, []), info("same", TensorProto.FLOAT, None)],
    )
    nodes = [helper.make_node("Loop", ["once", "", inner], ["kept"], "again", body=body)]
    return nodes, [numpy_helper.from_array(numpy.array(1, numpy.int64), "once")]


def bare():
    """Attributes left to their defaults, bytes that wrap, and probabilities."""
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["filtered"], "filter"),
        helper.make_node("MaxPool", ["filtered"], ["largest"], "pool", kernel_shape=[2, 2]),
        helper.make_node("Mul", ["largest", "gain"], ["loud"], "amplify"),
        helper.make_node("Cast", ["loud"], ["bytes"], "cut", to=TensorProto.UINT8),
        helper.make_node("Cast", ["bytes"], ["wide"], "widen", to=TensorProto.FLOAT),
        helper.make_node("Div", ["wide", "gain"], ["quiet"], "soften"),
        helper.make_node("Flatten", ["quiet"], ["flat"], "flat"),
    ]
    repeated, more = again("flat")
    nodes += [*repeated, helper.make_node("Gemm", ["kept", "dense.w"], ["logits"], "dense")]
    nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], "softmax"))
    gain = numpy_helper.from_array(numpy.array(200, numpy.float32), "gain")
    return save("bare", nodes, [weight("kernel", 2, 1, 2, 2), gain, *more, weight("dense.w", 8, CLASSES)], batch=1)


def padded():
    """A convolution of bytes whose padding is its zero point."""
    nodes = [
        helper.make_node("QuantizeLinear", ["pixels", "scale", "zero"], ["bytes"], "quantise"),
        helper.make_node("ConvInteger", ["bytes", "kernel", "zero"], ["sums"], "filter", pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["sums"], ["wide"], "widen", to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["wide"], ["flat"], "flat"),
    ]
    repeated, more = again("flat")
    nodes += [*repeated, helper.make_node("Gemm", ["kept", "dense.w"], ["scores"], "dense")]
    kernel = dice.integers(-9, 9, (1, 1, 3, 3)).astype(numpy.int8)
    constants = [
        numpy_helper.from_array(numpy.array(0.05, numpy.float32), "scale"),
        numpy_helper.from_array(numpy.array(100, numpy.uint8), "zero"),
        numpy_helper.from_array(kernel, "kernel"),
    ]
    dense = numpy_helper.from_array(dice.uniform(-8e-4, 8e-4, (16, CLASSES)).astype(numpy.float32), "dense.w")
    return save("padded", nodes, [*constants, *more, dense], batch=1)


def pictures():
    """Two pictures of bytes."""
    at = numpy.arange(2 * SIDE * SIDE)
    return ((at * 37 + at // 16 * 11) % 256).astype(numpy.uint8).reshape(2, 1, SIDE, SIDE)


def answers(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    bytes_ = pictures()
    wanted = session.get_inputs()[0].type
    fed = bytes_ if wanted == "tensor(uint8)" else ((bytes_ / numpy.float32(255) - 0.5) / 0.25).astype(numpy.float32)
    return [session.run(["scores"], {"pixels": one[None]})[0][0].tolist() for one in fed]


models = [lstm("lstm"), lstm("elsewhere", elsewhere=True), gru_on_bytes(), loop(), contributed(), bare(), padded()]
goldens = {path.stem: answers(path) for path in models}
(HERE / "goldens.json").write_text(json.dumps(goldens, indent=1) + "\n")
