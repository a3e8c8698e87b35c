"""Checks the interpreter: its forward pass against ONNX Runtime, its gradient against PyTorch modules.

    python goldens/check.py --assets ../shared/assets     every asset model
    python goldens/check.py --exports FOLDER              the files of export_networks.py whose operators it knows

Prints one line per model; exits with 1 if an error is above its bound.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import losses
from assets import ASSETS, load_pictures
from make import picture_gradient
from onnx_in_torch import Model

PICTURES = 8
RELATIVE_BOUND = 2e-5
# Half precision has 11 significant bits, and the errors of about 26 layers add up.
RELATIVE_BOUND_HALF = 2e-2


def runtime_output(path, x):
    """Returns the first output of the model in ONNX Runtime, picture by picture if its batch is fixed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    x = x.detach().numpy().astype(np.float16 if "float16" in picture.type else np.float32)
    pieces = [x] if not isinstance(picture.shape[0], int) else np.split(x, len(x))
    return torch.from_numpy(np.concatenate([session.run(None, {picture.name: p})[0] for p in pieces])).double()


def gap(value, reference):
    """Returns the largest absolute difference, and the same relative to the largest reference entry."""
    worst = (value - reference).abs().max().item()
    return worst, worst / reference.abs().max().item()


def check_asset(asset, root):
    model = asset.load(root)
    pictures = load_pictures(root, asset, range(PICTURES))
    x = asset.preprocess(pictures.x)
    path = root / asset.folder / f"{asset.model}.onnx"
    forward = gap(runtime_output(path, x), model(x))
    # How far plain single precision is from the float64 gradient: the best that an f32 engine can achieve.
    _, exact = picture_gradient(asset, model, pictures, losses.cross_entropy)
    _, single = picture_gradient(asset, asset.load(root, torch.float32), pictures, losses.cross_entropy)
    single = gap(single[:2].double(), exact[:2])
    right = (asset.logits(model, pictures.x).argmax(1) == pictures.labels).sum().item()
    print(
        f"{asset.name:36} forward {forward[0]:.1e} (relative {forward[1]:.1e})"
        f"  float32 gradient {single[0]:.1e} (relative {single[1]:.1e})  {right}/{PICTURES} right"
    )
    return forward[1] <= (RELATIVE_BOUND_HALF if "fp16" in asset.model else RELATIVE_BOUND)


def check_export(path):
    """Returns whether a file passes, or `None` if the interpreter does not implement all of its operators."""
    try:
        model = Model(path)
    except NotImplementedError as error:
        print(error)
        return None
    golden = {k: torch.from_numpy(v) for k, v in np.load(path.with_suffix(".npz")).items()}
    x = golden["x"].double().requires_grad_()
    logits = model(x)
    forward = gap(runtime_output(path, x), logits.detach())
    module = gap(logits.detach(), golden["logits"].double())
    loss = losses.cross_entropy(logits, golden["labels"])
    reference = golden["grad"].double()
    error = (torch.autograd.grad(loss.sum(), x)[0] - reference).flatten(1).norm(dim=1)
    error = (error / reference.flatten(1).norm(dim=1)).tolist()
    ops = " ".join(sorted({n.op_type for n in model.graph.node}))
    print(
        f"{path.stem:32} opset {model.opset}  forward {forward[0]:.1e} (relative {forward[1]:.1e})  "
        f"against the module: logits {module[1]:.1e}, gradient {error[0]:.1e} {error[1]:.1e}\n    {ops}"
    )
    # Exporters fold BatchNorm in single precision, which can push a nearly tied ReLU to its other side.
    bounds = [max(RELATIVE_BOUND, gap) for gap in golden["grad_gap"].tolist()]
    return max(forward[1], module[1]) <= RELATIVE_BOUND and all(e <= b for e, b in zip(error, bounds))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path)
    parser.add_argument("--exports", type=Path)
    args = parser.parse_args()
    passed = [check_asset(a, args.assets) for a in ASSETS] if args.assets else []
    passed += [check_export(p) for p in sorted(args.exports.glob("*.onnx"))] if args.exports else []
    passed = [result for result in passed if result is not None]
    sys.exit(0 if passed and all(passed) else 1)


if __name__ == "__main__":
    main()
