"""Writes small classifiers that eat bytes, what ONNX Runtime answers to them, and gradients by hand.

python make.py. Their scores are W v + b of the values v that they make of bytes, so the gradient of the cross-entropy with
respect to pixels from 0 to 1 is 255 times that of v with respect to a byte times W^T (softmax - one-hot).
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper, save

HERE = Path(__file__).parent
C, H, W, CLASSES = 3, 2, 2, 4
LABEL = 1
rng = np.random.default_rng(5)
WEIGHT = rng.normal(size=(C * H * W, CLASSES)).astype(np.float32)
BIAS = rng.normal(size=CLASSES).astype(np.float32)
PICTURE = rng.integers(0, 256, (C, H, W)).astype(np.uint8)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


HEAD = [node("Flatten", "v", "flat", axis=1), node("Gemm", "flat w b", "scores")]
SHAPE = {"nchw": [None, C, H, W], "nhwc": [None, H, W, C], "one": [1, C, H, W]}
SCALE = np.float32(1 / 127.5)

# Name: element type, layout, nodes from x to v, further constants, and v as a line over bytes.
MODELS = {
    "cast": ("uint8", "nchw", [node("Cast", "x", "f", to=1), node("Div", "f full", "v")], {"full": np.float32(255)}, (1 / 255, 0)),
    "cast_half": ("uint8", "nchw", [node("Cast", "x", "f", to=10), node("Cast", "f", "v", to=1)], {}, (1, 0)),
    "nhwc": ("uint8", "nhwc", [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Cast", "t", "f", to=1),
                               node("Div", "f full", "v")], {"full": np.float32(255)}, (1 / 255, 0)),
    "dequantize": ("uint8", "nchw", [node("DequantizeLinear", "x scale zero", "v")],
                   {"scale": SCALE, "zero": np.uint8(128)}, (1 / 127.5, -128 / 127.5)),
    "dequantize_int8": ("int8", "nchw", [node("DequantizeLinear", "x scale zero", "v")],
                        {"scale": SCALE, "zero": np.int8(-128)}, (1 / 127.5, 0)),
    "cast_int8": ("int8", "one", [node("Cast", "x", "f", to=1), node("Mul", "f scale", "v")], {"scale": SCALE},
                  (1 / 127.5, -128 / 127.5)),
    "moved": ("uint8", "one", [node("Identity", "x", "i"), node("Reshape", "i shape", "r"), node("Unsqueeze", "r axis", "u"),
                               node("Squeeze", "u axis", "s"), node("Cast", "s", "v", to=1)],
              {"shape": np.array([1, C, H * W], np.int64), "axis": np.array([1], np.int64)}, (1, 0)),
    # Integers that wrap around, and that are computed with: no gradient.
    "wraps": ("uint8", "nchw", [node("Add", "x more", "a"), node("Cast", "a", "v", to=1)], {"more": np.uint8(100)}, None),
    "integers": ("uint8", "nchw", [node("Cast", "x", "i", to=6), node("Sub", "i mean", "d"), node("Cast", "d", "v", to=1)],
                 {"mean": np.int32(128)}, None),
}


def write(name):
    kind, layout, nodes, constants, line = MODELS[name]
    shape = ["N" if side is None else side for side in SHAPE[layout]]
    element = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}[kind]
    constants = constants | {"w": WEIGHT, "b": BIAS}
    graph = helper.make_graph(
        nodes + HEAD, name, [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], CLASSES])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, HERE / f"{name}.onnx")
    fed = PICTURE if kind == "uint8" else (PICTURE.astype(np.int16) - 128).astype(np.int8)
    fed = (fed.transpose(1, 2, 0) if layout == "nhwc" else fed)[None]
    [[scores]] = onnxruntime.InferenceSession(HERE / f"{name}.onnx").run(None, {"x": fed})
    entry = {"layout": "nhwc" if layout == "nhwc" else "nchw", "scores": scores.tolist(), "gradient": None}
    if line:
        factor, offset = line
        values = factor * PICTURE.reshape(-1).astype(np.float64) + offset
        by_hand = values @ WEIGHT + BIAS
        assert np.allclose(by_hand, scores, rtol=1e-4, atol=1e-4)
        softmax = np.exp(by_hand - by_hand.max())
        softmax /= softmax.sum()
        softmax[LABEL] -= 1
        entry["gradient"] = (255 * factor * (WEIGHT @ softmax)).tolist()
    return entry


goldens = {"picture": PICTURE.reshape(-1).tolist(), "label": LABEL, "models": {name: write(name) for name in MODELS}}
(HERE / "goldens.json").write_text(json.dumps(goldens, indent=1))
