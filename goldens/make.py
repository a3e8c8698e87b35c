"""Writes the goldens of the asset models: logits, losses and gradients by PyTorch, numbers only.

    python goldens/make.py --assets ../shared/assets --out crates/hoodwink/tests/goldens

README.md beside this file says what each array is.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import losses
from assets import ASSETS, load_pictures

PICTURES = 2
COORD_STEP = 37
WEIGHT_ENTRIES = 256


def picture_gradient(asset, model, pictures, loss):
    """Loss values [N] and the gradient of their sum with respect to the pixels [N, C, H, W]."""
    x = pictures.x.clone().requires_grad_()
    values = loss(asset.logits(model, x), pictures.labels, pictures.targets)
    return values.detach(), torch.autograd.grad(values.sum(), x)[0]


def gradient_arrays(grad, suffix, whole):
    """The whole gradient, or for large pictures a sample of it and each picture's L2 norm."""
    if whole:
        return {f"grad{suffix}": grad}
    coords = torch.arange(0, grad.numel(), COORD_STEP)
    return {
        "coords": coords,
        f"grad_at_coords{suffix}": grad.reshape(-1)[coords],
        f"grad_norm{suffix}": grad.flatten(1).norm(dim=1),
    }


def weight_arrays(asset, model, pictures):
    """Norm and first entries of the cross-entropy gradient of each Conv, Gemm and MatMul parameter."""
    names = [
        name
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul")
        for name in node.input
        if name in model.weights
    ]
    for name in names:
        model.weights[name].requires_grad_()
    values = losses.cross_entropy(asset.logits(model, pictures.x), pictures.labels)
    arrays = {}
    for name, grad in zip(names, torch.autograd.grad(values.sum(), [model.weights[n] for n in names])):
        arrays[f"wgrad/{name}"] = grad.reshape(-1)[:WEIGHT_ENTRIES]
        arrays[f"wgrad_norm/{name}"] = grad.norm()
    return arrays


def golden(asset, root):
    """All arrays of one model."""
    model = asset.load(root)
    pictures = load_pictures(root, asset, PICTURES)
    whole = asset.pictures != "imagenet"
    values, grad = picture_gradient(asset, model, pictures, losses.cross_entropy)
    arrays = {
        **pictures.source,
        "labels": pictures.labels,
        "logits": asset.logits(model, pictures.x),
        "loss": values,
        **gradient_arrays(grad, "", whole),
    }
    if asset.losses:
        arrays["targets"] = pictures.targets
        for name, loss in losses.OTHERS.items():
            values, grad = picture_gradient(asset, model, pictures, loss)
            arrays |= {f"loss_{name}": values, **gradient_arrays(grad, f"_{name}", whole)}
    if asset.weights:
        arrays |= weight_arrays(asset, model, pictures)
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
        print(f"{path}  {path.stat().st_size} bytes  loss {arrays['loss'].round(4).tolist()}", flush=True)


if __name__ == "__main__":
    main()
