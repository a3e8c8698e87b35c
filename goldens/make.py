"""Writes the goldens of the asset models: logits, losses and gradients by PyTorch, numbers only.

    python goldens/make.py --assets ../shared/assets --out crates/hoodwink/tests/goldens

README.md beside this file says what each array is.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import losses
from assets import ASSETS, load_pictures

PICTURES = 2
COORD_STEP = 37
ROUNDING = 3e-7
WEIGHT_ENTRIES = 256


def picture_gradient(asset, model, pictures, loss):
    """Loss values [N] and the gradient of their sum with respect to the pixels [N, C, H, W]."""
    x = pictures.x.clone().requires_grad_()
    values = loss(asset.logits(model, x), pictures.labels, pictures.targets)
    return values.detach(), torch.autograd.grad(values.sum(), x)[0]


def rounding_gap(asset, root, pictures, loss, grad):
    """Relative L2 distance of each picture's gradient to what rounding may turn it into, [N].

    The worst of a single-precision run and of runs on pixels scaled by a few rounding errors, which keep
    exact ties. It is large where a ReLU or a pooling window is nearly tied, and where a softmax is
    saturated; it is 1 where the gradient vanishes.
    """
    runs = [(torch.float32, 1.0), *((torch.float64, 1 + shift) for shift in (-ROUNDING, ROUNDING))]
    distances = []
    for dtype, scale in runs:
        scaled = replace(pictures, x=pictures.x * scale)
        other = picture_gradient(asset, asset.load(root, dtype), scaled, loss)[1]
        distances.append((other - grad).flatten(1).norm(dim=1))
    norm = grad.flatten(1).norm(dim=1)
    return torch.where(norm > 0, torch.stack(distances).amax(0) / norm, 1.0)


def gradient_arrays(asset, root, model, pictures, loss, suffix=""):
    """Values and gradient of one loss; for large pictures a sample of it and each picture's L2 norm."""
    values, grad = picture_gradient(asset, model, pictures, loss)
    arrays = {
        f"loss{suffix}": values,
        f"grad_gap{suffix}": rounding_gap(asset, root, pictures, loss, grad),
    }
    if asset.pictures != "imagenet":
        return arrays | {f"grad{suffix}": grad}
    coords = torch.arange(0, grad.numel(), COORD_STEP)
    return arrays | {
        "coords": coords,
        f"grad_at_coords{suffix}": grad.reshape(-1)[coords],
        f"grad_norm{suffix}": grad.flatten(1).norm(dim=1),
    }


def weight_arrays(asset, model, pictures, loss, suffix=""):
    """Norm and first entries of the gradient of the summed loss in each Conv, Gemm and MatMul parameter."""
    names = [
        name
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul")
        for name in node.input
        if name in model.weights
    ]
    for name in names:
        model.weights[name].requires_grad_()
    values = loss(asset.logits(model, pictures.x), pictures.labels, pictures.targets)
    arrays = {}
    for name, grad in zip(names, torch.autograd.grad(values.sum(), [model.weights[n] for n in names])):
        arrays[f"wgrad{suffix}/{name}"] = grad.reshape(-1)[:WEIGHT_ENTRIES]
        arrays[f"wgrad_norm{suffix}/{name}"] = grad.norm()
    return arrays


def golden(asset, root):
    """All arrays of one model."""
    model = asset.load(root)
    pictures = load_pictures(root, asset, PICTURES)
    arrays = {
        **pictures.source,
        "labels": pictures.labels,
        "logits": asset.logits(model, pictures.x),
        **gradient_arrays(asset, root, model, pictures, losses.cross_entropy),
    }
    if asset.losses:
        arrays["targets"] = pictures.targets
        for name, loss in losses.OTHERS.items():
            arrays |= gradient_arrays(asset, root, model, pictures, loss, f"_{name}")
    if asset.weights:
        arrays |= weight_arrays(asset, model, pictures, losses.cross_entropy)
        arrays |= weight_arrays(asset, model, pictures, losses.margin, "_margin")
    return {key: stored(value) for key, value in arrays.items()}


def stored(value):
    """Reals as float32, integers as int64, strings as they are."""
    value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
    kinds = {"f": np.float32, "i": np.int64}
    return value.astype(kinds.get(value.dtype.kind, value.dtype))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for asset in ASSETS:
        arrays = golden(asset, args.assets)
        path = args.out / f"{asset.name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{path}  {path.stat().st_size} bytes  gap {arrays['grad_gap'].max():.0e}", flush=True)


if __name__ == "__main__":
    main()
