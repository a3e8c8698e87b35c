"""PyTorch's side of `cargo xtask bench peers`: loss and input gradient of the networks that the engines run.

    python benches/peers.py export FOLDER                       writes the networks with random weights as ONNX
    python benches/peers.py serve NETWORK BATCH THREADS [ONNX]   answers every line that names a way with its seconds

The parameters are frozen, so that PyTorch computes only what is asked for. A published model that exists only as an
ONNX file is a module of goldens/cifar_networks.py if there is one. Otherwise it runs operator by operator through
goldens/onnx_in_torch.py.
"""

import copy
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

WAYS = ("eager", "channels-last", "compile")


def resnet18_for_32():
    from torchvision.models import resnet18

    network = resnet18(weights=None, num_classes=10)
    network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = torch.nn.Identity()
    return network


def resnet50():
    from torchvision.models import resnet50

    return resnet50(weights=None)


def vit_s():
    import timm

    return timm.create_model("vit_small_patch16_224", pretrained=False)


# Name: (constructor, side of the picture in pixels).
NETWORKS = {"resnet18_32": (resnet18_for_32, 32), "resnet50": (resnet50, 224), "vit_s": (vit_s, 224)}


def seeded(name):
    torch.manual_seed(0)
    return NETWORKS[name][0]().eval().requires_grad_(False)


def export(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, side) in NETWORKS.items():
        path = folder / f"{name}.onnx"
        if not path.exists():
            names = {"input_names": ["input"], "output_names": ["logits"], "dynamic_axes": {"input": {0: "N"}}}
            x = torch.rand(2, 3, side, side)
            torch.onnx.export(seeded(name), (x,), path, dynamo=False, opset_version=17, **names)


def network(name, path):
    """Returns the network, and the shape of its input without the batch."""
    if name in NETWORKS:
        return seeded(name), (3, NETWORKS[name][1], NETWORKS[name][1])
    sys.path.append(str(Path(__file__).parent.parent / "goldens"))
    import cifar_networks
    import onnx
    from onnx_in_torch import Model

    if Path(path).stem in cifar_networks.NETWORKS:
        # The engines run without mean and standard deviation here too.
        return cifar_networks.load(Path(path), [0.0] * 3, [1.0] * 3).network, (3, 32, 32)
    file = onnx.load(path)
    weights = {tensor.name for tensor in file.graph.initializer}
    x = next(value for value in file.graph.input if value.name not in weights)
    shape = tuple(dim.dim_value for dim in x.type.tensor_type.shape.dim)[1:]
    return Model(path, dtype=torch.float32), shape


def gradient(forward, x, labels):
    x.grad = None
    logits = forward(x).flatten(1)
    F.cross_entropy(logits, labels, reduction="sum").backward()
    return x.grad


def serve(name, batch, threads, path):
    torch.set_num_threads(threads)
    forward, shape = network(name, path)
    picture = torch.rand(batch, *shape)
    labels = torch.arange(batch) % 10
    passes = {}

    def add(way, forward, x):
        gradient(forward, x, labels)
        passes[way] = lambda: gradient(forward, x, labels)

    add("eager", forward, picture.clone().requires_grad_())
    if isinstance(forward, torch.nn.Module):
        # The other ways need a module.
        try:
            add("compile", torch.compile(copy.deepcopy(forward)), picture.clone().requires_grad_())
        except Exception as error:
            print(f"torch.compile: {error}", file=sys.stderr)
        last = picture.to(memory_format=torch.channels_last).requires_grad_()
        add("channels-last", copy.deepcopy(forward).to(memory_format=torch.channels_last), last)
    print(" ".join(way for way in WAYS if way in passes), flush=True)
    for line in sys.stdin:
        run = passes[line.strip()]
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


def main():
    match sys.argv[1:]:
        case ["export", folder]:
            export(Path(folder))
        case ["serve", name, batch, threads, *path]:
            serve(name, int(batch), int(threads), *path or [None])
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
