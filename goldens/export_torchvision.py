"""Exports seeded torchvision networks to ONNX together with reference gradients of the modules.

    python goldens/export_torchvision.py FOLDER [--only NAME ...]

The gradients come from autograd on the original nn.Module in float64, so they depend on no reading of
the ONNX file. README.md beside this file says what the arrays are.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models import VisionTransformer, mobilenet_v2, resnet18, vgg11_bn, vit_b_16

PICTURES = 2
LEGACY_OPSET = 17
DYNAMO_OPSETS = (18, 20)


def vit_small():
    return VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=100
    )


def vgg11_narrow():
    """VGG-11 with a classifier of 256 channels; its own would make a file of half a gigabyte."""
    network = vgg11_bn(weights=None, num_classes=100)
    network.classifier[0] = torch.nn.Linear(512 * 7 * 7, 256)
    network.classifier[3] = torch.nn.Linear(256, 256)
    network.classifier[6] = torch.nn.Linear(256, 100)
    return network


def small(build):
    return lambda: build(weights=None, num_classes=100)


# Name: (constructor, side of the input picture in pixels). The older exporter knows the adaptive pooling
# of VGG only where it does nothing, which is at 224.
NETWORKS = {
    "resnet18": (small(resnet18), 64),
    "mobilenet_v2": (small(mobilenet_v2), 64),
    "vgg11_bn": (vgg11_narrow, 224),
    "vit_small": (vit_small, 64),
    "vit_b_16": (lambda: vit_b_16(weights=None), 224),
}


def seeded(build, side):
    """The network in eval mode, its weights and normalisation statistics drawn from a fixed seed.

    A fresh BatchNorm is the identity, which would hide errors in folding it and let the signal of a deep
    network die out; so its statistics are those of random pictures, and mildly disturbed. The head of a
    fresh ViT is zero, which would make every gradient zero.
    """
    torch.manual_seed(0)
    network = build()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.7, 1.3)
        torch.nn.init.normal_(norm.bias, 0.0, 0.1)
        # The running statistics become those of the batch that follows.
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            network.train()(torch.rand(8, 3, side, side))
    for norm in norms:
        norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn(norm.num_features)
        norm.running_var *= torch.empty(norm.num_features).uniform_(0.8, 1.25)
    if isinstance(network, VisionTransformer):
        torch.nn.init.normal_(network.heads.head.weight, 0.0, 0.05)
    return network.eval().requires_grad_(False)


def reference(network, side):
    """Pictures, labels, and the module's logits, losses and gradient, computed in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (PICTURES, 3, side, side), generator=generator).float() / 255
    labels = torch.arange(PICTURES)
    exact = x.double().requires_grad_()
    logits = copy.deepcopy(network).double()(exact)
    loss = F.cross_entropy(logits, labels, reduction="none")
    grad = torch.autograd.grad(loss.sum(), exact)[0]
    reals = {"logits": logits, "loss": loss, "grad": grad}
    return x, {"x": x.numpy(), "labels": labels.numpy()} | {k: v.detach().float().numpy() for k, v in reals.items()}


def export(network, x, path, dynamic=True, **options):
    """One ONNX file; a dynamic batch is named N."""
    names = {"input_names": ["input"], "output_names": ["logits"]}
    if dynamic and options["dynamo"]:
        options["dynamic_shapes"] = ({0: torch.export.Dim("N", min=1, max=1024)},)
    elif dynamic:
        options["dynamic_axes"] = {"input": {0: "N"}, "logits": {0: "N"}}
    torch.onnx.export(network, (x,), path, **names, **options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=NETWORKS, nargs="+", default=list(NETWORKS))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    # The fused attention kernel of inference has no ONNX form in the older exporter.
    torch.backends.mha.set_fastpath_enabled(False)
    for name in args.only:
        build, side = NETWORKS[name]
        network = seeded(build, side)
        x, arrays = reference(network, side)
        variants = {f"legacy{LEGACY_OPSET}": {"dynamo": False, "opset_version": LEGACY_OPSET}}
        for opset in DYNAMO_OPSETS:
            variants[f"dynamo{opset}"] = {"dynamo": True, "opset_version": opset, "external_data": False}
        if name == "resnet18":
            variants["legacy17_batch1"] = variants["legacy17"] | {"dynamic": False}
            variants["dynamo18_external"] = variants["dynamo18"] | {"external_data": True}
        if name in ("resnet18", "mobilenet_v2", "vit_small"):
            # By default both exporters fold every BatchNorm away; these two keep it.
            preserve = torch.onnx.TrainingMode.PRESERVE
            variants["legacy17_unfolded"] = variants["legacy17"] | {"training": preserve, "do_constant_folding": False}
            variants["dynamo18_unfolded"] = variants["dynamo18"] | {"optimize": False}
        if name == "vit_b_16":
            del variants["dynamo20"]
        for variant, options in variants.items():
            path = args.folder / f"{name}_{variant}.onnx"
            example = x if options.get("dynamic", True) else x[:1]
            export(network, example, path, **options)
            np.savez_compressed(path.with_suffix(".npz"), **arrays)
            print(f"{path}  {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
