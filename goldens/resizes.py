"""Resizes pictures by ONNX Runtime in every mode, by every rule and by 200 scales, for the example `resize_parity`.

    python goldens/resizes.py FOLDER

Each family becomes FOLDER/<family>/<model>.onnx, a model with 200 outputs that are each one resized input, beside
<model>.npz:

    x      the input
    y<k>   what ONNX Runtime makes of it, in output k
    w<k>   random weights of that output
    g<k>   the gradient of its weighted sum: resizing is affine, so what ONNX Runtime makes of each unit vector, less what
           it makes of zero, is a column of its matrix

Scales are the decimals from 0.05 on, fractions, and random numbers; those of two axes are different.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SCALES = 200
# Height and width of the inputs, in turn.
SIDES = [(4, 7), (5, 10), (3, 20), (1, 33), (2, 64), (1, 150)]
RULES = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def scales(rng, least):
    """Scales of both axes; at least `least`."""
    decimals = [step / 20 for step in range(1, 61)]
    fractions = [a / b for a in (1, 2, 3, 5, 7, 8) for b in (3, 6, 7, 9, 11)]
    drawn = rng.uniform(0.1, 4.0, SCALES)
    along = np.float32([scale for scale in [*decimals, *fractions, *drawn] if scale >= least][:SCALES])
    return np.stack([np.roll(along, 71), along], 1)


def families():
    """Name, operator set, attributes, order of the axes, and whether sizes instead of scales are stated."""
    yield "Upsample 7, nearest", 7, {"mode": "nearest"}, "NCHW", False
    yield "Upsample 7, linear", 7, {"mode": "linear"}, "NCHW", False
    yield "Upsample 9, nearest", 9, {"mode": "nearest"}, "NCHW", False
    yield "Upsample 9, linear", 9, {"mode": "linear"}, "NCHW", False
    yield "Resize 10, nearest", 10, {"mode": "nearest"}, "NCHW", False
    yield "Resize 10, linear", 10, {"mode": "linear"}, "NCHW", False
    for rule in RULES:
        kinds = [(f"nearest {mode}", {"mode": "nearest", "nearest_mode": mode}) for mode in NEAREST]
        kinds += [
            ("linear", {"mode": "linear"}),
            ("cubic", {"mode": "cubic"}),
            ("cubic, a = -0.5", {"mode": "cubic", "cubic_coeff_a": -0.5}),
            ("cubic, exclude_outside", {"mode": "cubic", "exclude_outside": 1}),
        ]
        filters = [
            ("linear, antialias", {"mode": "linear", "antialias": 1}),
            ("linear, antialias, exclude_outside", {"mode": "linear", "antialias": 1, "exclude_outside": 1}),
            ("cubic, antialias", {"mode": "cubic", "antialias": 1}),
            ("cubic, antialias, exclude_outside", {"mode": "cubic", "antialias": 1, "exclude_outside": 1}),
        ]
        for by_size in (False, True):
            for name, attributes in [*kinds, *filters]:
                attributes = attributes | {"coordinate_transformation_mode": rule}
                if rule == "tf_crop_and_resize":
                    attributes["extrapolation_value"] = -1.5
                opsets = [11, 19] if not by_size else [13]
                if "antialias" in attributes or rule == "half_pixel_symmetric":
                    opsets = [19]
                for opset in opsets:
                    yield f"{name} | {rule}", opset, attributes, "NCHW", by_size
            for layout in ("NHWC", "NCDHW", "HW"):
                attributes = {"mode": "linear", "coordinate_transformation_mode": rule}
                if rule != "tf_crop_and_resize":
                    yield f"linear, {layout} | {rule}", 19, attributes, layout, by_size
    for policy in ("not_larger", "not_smaller"):
        for mode in ("nearest", "linear", "cubic"):
            attributes = {"mode": mode, "keep_aspect_ratio_policy": policy, "axes": [2, 3]}
            yield f"{mode}, {policy} | half_pixel", 18, attributes, "NCHW", True


def laid_out(values, layout, rest):
    """Two values of the last axes as those of all axes; `rest` for the others."""
    height, width = values
    at = {"H": height, "W": width, "D": height}
    return [at.get(axis, rest) for axis in layout]


def model(rng, opset, attributes, layout, by_size, sides):
    """A model with a resized input for each scale."""
    shape = laid_out(sides, layout, 1)
    inputs = [None if axis == "N" else side for axis, side in zip(layout, shape, strict=True)]
    nodes, constants, outputs = [], [], []

    def constant(values):
        constants.append(numpy_helper.from_array(values, f"c{len(constants)}"))
        return constants[-1].name

    # Absent; an empty name is allowed in its place since operator set 13.
    region = "" if opset > 12 else constant(np.float32([]))
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        start, end = laid_out((0.25, -0.1), layout, 0.0), laid_out((1.1, 0.8), layout, 1.0)
        region = constant(np.float32([*start, *end]))
    pairs = scales(rng, 1.0 if opset < 10 else 0.0)
    named = attributes.get("axes")
    for pair in pairs:
        if "keep_aspect_ratio_policy" in attributes:
            # Of a smaller scale for both, an axis may have nothing left.
            pair = np.maximum(pair, np.float32(0.5))
        if any(np.floor(scale * np.float32(side)) < 1 for scale, side in zip(pair, sides, strict=True)):
            pair = np.maximum(pair, np.float32(1.0))
        factors = np.float32(laid_out(pair, layout, 1.0))
        output = f"y{len(outputs)}"
        outputs.append(output)
        if opset < 9:
            inputs_of_node, more = ["x"], {"scales": factors.tolist()}
        elif opset < 11:
            inputs_of_node, more = ["x", constant(factors)], {}
        elif by_size:
            sizes = np.int64(np.floor(factors * np.float32(shape)))
            if named:
                sizes = sizes[named]
            # The batch is 1 in the file; with a batch of more, ONNX Runtime is asked about each alone.
            absent = "" if opset > 12 else constant(np.float32([]))
            inputs_of_node, more = ["x", region, absent, constant(sizes)], {}
        else:
            inputs_of_node, more = ["x", region, constant(factors)], {}
        operator = "Upsample" if opset < 10 else "Resize"
        nodes.append(helper.make_node(operator, inputs_of_node, [output], **attributes, **more))
    if by_size and "N" in layout and not named:
        inputs[0] = 1
    graph = helper.make_graph(
        nodes,
        "resized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made, shape, outputs


def answers(rng, made, shape, outputs):
    """What ONNX Runtime makes of a picture, and of unit vectors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = rng.normal(size=shape).astype(np.float32)
    found = {"x": x}
    count = x.size
    at_once = made.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 0 and len(shape) > 2
    units = np.concatenate([np.zeros([1, count]), np.eye(count)]).astype(np.float32)
    if at_once:
        results = session.run(None, {"x": units.reshape([count + 1, *shape[1:]])})
    else:
        rows = [session.run(None, {"x": unit.reshape(shape)}) for unit in units]
        results = [np.stack(column) for column in zip(*rows, strict=True)]
    for at, (y, units) in enumerate(zip(session.run(None, {"x": x}), results, strict=True)):
        weights = rng.normal(size=y.shape).astype(np.float32)
        units = units.reshape([count + 1, -1]).astype(np.float64)
        found |= {f"y{at}": y, f"w{at}": weights}
        found[f"g{at}"] = ((units[1:] - units[0]) @ weights.ravel()).reshape(shape).astype(np.float32)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    onnxruntime.set_default_logger_severity(4)
    written = 0
    for at, (name, opset, attributes, layout, by_size) in enumerate(families()):
        rng = np.random.default_rng(at)
        made, shape, outputs = model(rng, opset, attributes, layout, by_size, SIDES[at % len(SIDES)])
        family = folder / name.replace(" | ", "@")
        family.mkdir(parents=True, exist_ok=True)
        stem = f"{opset}-{'sizes' if by_size else 'scales'}-{layout}"
        (family / f"{stem}.onnx").write_bytes(made.SerializeToString())
        np.savez(family / f"{stem}.npz", **answers(rng, made, shape, outputs))
        written += 1
    print(f"onnxruntime {onnxruntime.__version__}, {written} models")


if __name__ == "__main__":
    main()
