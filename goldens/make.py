"""Writes the goldens of the asset models: PyTorch's logits, losses and gradients, as numbers only.

    python goldens/make.py --assets ../shared/assets --out crates/hoodwink/tests/goldens

README.md in this folder describes the arrays.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import losses
from assets import ASSETS, load_pictures

PICTURES = 2
COORD_STEP = 37
# Sums of products in single precision are off by 1e-7 to 3e-7 of the root of the sum of their squares. A few draws of
# slightly larger noise cross every kink that an engine may cross.
ROUNDING = 5e-7
DRAWS = 4
# A picture is well posed if such noise moves no gradient further, in the relative L2 norm.
WELL_POSED = 1e-4
WEIGHT_ENTRIES = 256


def picture_gradient(asset, model, pictures, loss):
    """Returns loss values [N] and the gradient of their sum with respect to the pixels [N, C, H, W]."""
    x = pictures.x.clone().requires_grad_()
    values = loss(asset.logits(model, x), pictures.labels, pictures.targets)
    return values.detach(), torch.autograd.grad(values.sum(), x)[0]


def rounding_gap(asset, model, pictures, loss, grad):
    """Returns the largest relative L2 distance by which rounding moves each picture's gradient, [N]; 1 if there is no
    gradient.

    It is large where a ReLU, a clip or a pooling window is nearly tied, since rounding decides the side.
    """
    distances = []
    model.rounding, model.generator = ROUNDING, torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        other = picture_gradient(asset, model, pictures, loss)[1]
        distances.append((other - grad).flatten(1).norm(dim=1))
    model.rounding = 0.0
    norm = grad.flatten(1).norm(dim=1)
    return torch.where(norm > 0, torch.stack(distances).amax(0) / norm, 1.0)


def chosen(asset, root, model):
    """Returns the first pictures that are well posed for every loss of the asset, or else the least ill-posed ones."""
    step, last = (2, 20) if asset.pictures == "imagenet" else (20, 200)
    worst = {}
    for first in range(0, last, step):
        rows = range(first, first + step)
        pictures = load_pictures(root, asset, rows)
        gaps = torch.zeros(step)
        for loss in [losses.cross_entropy, *(losses.OTHERS.values() if asset.losses else [])]:
            grad = picture_gradient(asset, model, pictures, loss)[1]
            gaps = torch.maximum(gaps, rounding_gap(asset, model, pictures, loss, grad))
            if (gaps > WELL_POSED).all():
                break
        worst.update(zip(rows, gaps.tolist()))
        well_posed = [row for row, gap in worst.items() if gap <= WELL_POSED]
        if len(well_posed) >= PICTURES:
            return well_posed[:PICTURES]
    return sorted(sorted(worst, key=worst.get)[:PICTURES])


def gradient_arrays(asset, model, pictures, loss, suffix=""):
    """Returns values and gradient of one loss. For large pictures, a sample of the gradient and each picture's L2
    norm."""
    values, grad = picture_gradient(asset, model, pictures, loss)
    arrays = {
        f"loss{suffix}": values,
        f"grad_gap{suffix}": rounding_gap(asset, model, pictures, loss, grad),
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
    """Returns norm and first entries of the summed loss's gradient in each Conv, Gemm and MatMul parameter."""
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
    """Returns all arrays of one model."""
    model = asset.load(root)
    pictures = load_pictures(root, asset, chosen(asset, root, model))
    arrays = {
        **pictures.source,
        "labels": pictures.labels,
        "logits": asset.logits(model, pictures.x),
        **gradient_arrays(asset, model, pictures, losses.cross_entropy),
    }
    if asset.losses:
        arrays["targets"] = pictures.targets
        for name, loss in losses.OTHERS.items():
            arrays |= gradient_arrays(asset, model, pictures, loss, f"_{name}")
    if asset.weights:
        arrays |= weight_arrays(asset, model, pictures, losses.cross_entropy)
        arrays |= weight_arrays(asset, model, pictures, losses.margin, "_margin")
    return {key: stored(value) for key, value in arrays.items()}


def stored(value):
    """Converts reals to float32 and integers to int64; strings stay unchanged."""
    value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
    kinds = {"f": np.float32, "i": np.int64}
    return value.astype(kinds.get(value.dtype.kind, value.dtype))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[asset.name for asset in ASSETS])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for asset in [asset for asset in ASSETS if asset.name in args.only]:
        arrays = golden(asset, args.assets)
        path = args.out / f"{asset.name}.npz"
        np.savez_compressed(path, **arrays)
        gap = max(value.max() for key, value in arrays.items() if key.startswith("grad_gap"))
        print(f"{path}  {path.stat().st_size} bytes  rows {arrays['rows']}  gap {gap:.0e}", flush=True)


if __name__ == "__main__":
    main()
