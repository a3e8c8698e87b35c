"""Exports seeded networks of torchvision and timm to ONNX, with reference gradients of the modules.

    python goldens/export_networks.py FOLDER [--only NAME ...]

The gradients come from autograd on the original nn.Module in float64, so they are independent of the ONNX file.
README.md in this folder describes the arrays.
"""

import argparse
import contextlib
import copy
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.utils._python_dispatch import TorchDispatchMode

from make import DRAWS, ROUNDING, WEIGHT_ENTRIES, WELL_POSED
from networks import NETWORKS, seeded

PICTURES = 2
LEGACY_OPSET = 17


class Rounding(TorchDispatchMode):
    """Adds normal noise to every sum of products, with a size relative to the root of the sum of its squared
    products."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        value = func(*args, **(kwargs or {}))
        aten = torch.ops.aten
        if func == aten.convolution.default:
            x, weight, _, *rest = args
            squares = func(x.square(), weight.square(), None, *rest)
        elif func in (aten.mm.default, aten.bmm.default):
            squares = func(args[0].square(), args[1].square())
        elif func == aten.addmm.default:
            squares = torch.mm(args[1].square(), args[2].square())
        else:
            return value
        noise = torch.randn(value.shape, generator=self.generator, dtype=value.dtype)
        return value.add_(squares.sqrt() * noise, alpha=ROUNDING)


def gradient(module, x, labels, mode=None):
    """Returns logits, losses, and the gradient of their sum with respect to the pixels, in the module's precision."""
    x = x.to(next(module.parameters()).dtype, copy=True).requires_grad_()
    with mode or contextlib.nullcontext():
        logits = module(x)
    loss = F.cross_entropy(logits, labels, reduction="none")
    return logits.detach(), loss.detach(), torch.autograd.grad(loss.sum(), x)[0]


def rounding_gap(module, x, labels, enough=float("inf")):
    """Returns the largest relative L2 distance by which rounding moves each picture's gradient, [N].

    Stops drawing noise once all are above `enough`.
    """
    generator = torch.Generator().manual_seed(0)
    grad = gradient(module, x, labels)[2]
    norm = grad.flatten(1).norm(dim=1)
    gap = torch.zeros(len(x))
    for _ in range(DRAWS):
        other = gradient(module, x, labels, Rounding(generator))[2]
        gap = torch.maximum(gap, ((other - grad).flatten(1).norm(dim=1) / norm).float())
        if (gap > enough).all():
            break
    return gap


def reference(network, module):
    """Returns two random pictures that are well posed, or the least ill-posed ones, with the module's answers in
    float64.

    They are labelled 0 and 1. The search runs in single precision, which is faster and whose own rounding is smaller
    than the noise. Pictures that look well posed there are confirmed in double precision with other noise.
    """
    generator = torch.Generator().manual_seed(1)
    exact = copy.deepcopy(module).double()
    labels = torch.arange(PICTURES)
    best, least = torch.zeros(PICTURES, 3, network.side, network.side), torch.full((PICTURES,), float("inf"))
    for _ in range(0, network.draws, PICTURES):
        x = torch.randint(0, 256, best.shape, generator=generator).float() / 255
        gap = rounding_gap(module, x, labels, WELL_POSED)
        if (gap < least).any():
            gap = torch.maximum(gap, rounding_gap(exact, x, labels))
        better = gap < least
        best[better], least[better] = x[better], gap[better]
        if (least <= WELL_POSED).all():
            break
    logits, loss, grad = gradient(exact, best, labels)
    reals = {"x": best, "logits": logits, "loss": loss, "grad": grad, "grad_gap": rounding_gap(exact, best, labels)}
    return {key: value.float().numpy() for key, value in reals.items()} | {"labels": labels.numpy()}


def weight_arrays(module, arrays):
    """Returns the norm and first entries of the summed loss's gradient in each parameter of at least two axes.

    Exporters rename parameters, and store those of linear layers transposed. So the first entries of the parameter
    itself are included to identify it, and a matrix is stored both ways.
    """
    exact = copy.deepcopy(module).double().requires_grad_()
    x, labels = torch.from_numpy(arrays["x"]).double(), torch.from_numpy(arrays["labels"])
    loss = F.cross_entropy(exact(x), labels, reduction="sum")
    named = [(name, weight) for name, weight in exact.named_parameters() if weight.dim() >= 2]
    weights = {}
    for (name, weight), grad in zip(named, torch.autograd.grad(loss, [weight for _, weight in named])):
        ways = {name: (weight, grad)}
        if weight.dim() == 2:
            ways[f"{name}.T"] = (weight.T, grad.T)
        for way, (values, slopes) in ways.items():
            first = {"weight": values.reshape(-1)[:WEIGHT_ENTRIES], "wgrad": slopes.reshape(-1)[:WEIGHT_ENTRIES]}
            first |= {"wgrad_norm": slopes.norm()}
            weights |= {f"{key}/{way}": value.detach().float().numpy() for key, value in first.items()}
    return weights


def has_batch_norm(module):
    return any(isinstance(m, nn.BatchNorm2d) for m in module.modules())


def files(network, module, arrays):
    """Yields for each file of a network: its suffix, the module, the arrays and the exporter's options."""
    legacy = {"dynamo": False, "opset_version": LEGACY_OPSET}
    dynamo = [{"dynamo": True, "opset_version": opset, "external_data": False} for opset in network.dynamo]
    modern = f"dynamo{network.dynamo[0]}"
    if "weights" in network.variants:
        # Folding a normalisation into a convolution changes the weights, so it is folded before the comparison.
        folded = fuse(module) if has_batch_norm(module) else module
        weights = arrays | weight_arrays(folded, arrays)
        if has_batch_norm(module):
            yield f"legacy{LEGACY_OPSET}_folded", folded, weights, legacy
            yield f"{modern}_folded", folded, weights, dynamo[0]
        else:
            arrays = weights
    yield f"legacy{LEGACY_OPSET}", module, arrays, legacy
    for options in dynamo:
        yield f"dynamo{options['opset_version']}", module, arrays, options
    if "batch1" in network.variants:
        yield f"legacy{LEGACY_OPSET}_batch1", module, arrays, legacy | {"dynamic": False}
    if "external" in network.variants:
        yield f"{modern}_external", module, arrays, dynamo[0] | {"external_data": True}
    if "unfolded" in network.variants:
        # By default both exporters fold every normalisation away.
        preserve = torch.onnx.TrainingMode.PRESERVE
        unfolded = {"training": preserve, "do_constant_folding": False}
        yield f"legacy{LEGACY_OPSET}_unfolded", module, arrays, legacy | unfolded
        yield f"{modern}_unfolded", module, arrays, dynamo[0] | {"optimize": False}


def export(module, x, path, dynamic=True, **options):
    """Writes one ONNX file; a dynamic batch is named N."""
    names = {"input_names": ["input"], "output_names": ["logits"]}
    if dynamic and options["dynamo"]:
        options["dynamic_shapes"] = ({0: torch.export.Dim("N", min=1, max=1024)},)
    elif dynamic:
        options["dynamic_axes"] = {"input": {0: "N"}, "logits": {0: "N"}}
    torch.onnx.export(module, (x,), path, **names, **options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=[n.name for n in NETWORKS], nargs="+")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    # The fused attention kernel for inference has no ONNX form in the older exporter.
    torch.backends.mha.set_fastpath_enabled(False)
    for network in NETWORKS:
        if args.only and network.name not in args.only:
            continue
        module = seeded(network)
        arrays = reference(network, module)
        print(f"{network.name}  gap {arrays['grad_gap']}", flush=True)
        for suffix, exported, numbers, options in files(network, module, arrays):
            path = args.folder / f"{network.name}_{suffix}.onnx"
            example = torch.from_numpy(arrays["x"])
            example = example if options.get("dynamic", True) else example[:1]
            try:
                export(exported, example, path, **options)
            except (RuntimeError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
                reason = " ".join(str(error).split())[:200]
                path.with_suffix(".txt").write_text(f"{type(error).__name__}: {reason}\n")
                path.unlink(missing_ok=True)
                continue
            np.savez_compressed(path.with_suffix(".npz"), **numbers)
            print(f"{path}  {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
