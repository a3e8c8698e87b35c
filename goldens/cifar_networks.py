"""The CIFAR networks of the assets folder as plain PyTorch modules, with the weights of their ONNX files.

This is how a PyTorch user would run such a network: the batch is free, the batch norms are folded as in the files, mean
and standard deviation are inside, and parameters are frozen. The peers of the bench and the reference attacks use these
modules.
"""

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

# Maximum difference between the logits of a module and those of ONNX Runtime for the same file.
TOLERANCE = 1e-4


class Normalized(nn.Module):
    """Logits [N, 10] for pixels [N, 3, 32, 32] in [0, 1]. The layers of `network` are in the order of the ONNX
    file's."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


def conv3(inner, outer, stride=1):
    return nn.Conv2d(inner, outer, 3, stride, 1)


class Block(nn.Module):
    """Two convolutions and a parallel shortcut: `shortcut`, or the input itself."""

    def __init__(self, inner, outer, stride=1, shortcut=None):
        super().__init__()
        self.first, self.second = conv3(inner, outer, stride), conv3(outer, outer)
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Halved(nn.Module):
    """Every second row and column, with a quarter of the `outer` channels of zeros before and after: the shortcut
    without parameters of He et al., arXiv 1512.03385, section 4.2."""

    def __init__(self, outer):
        super().__init__()
        self.zeros = outer // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))


class ResNet20(Normalized):
    """resnet20_akamaster: three stages of three blocks with 16, 32 and 64 channels."""

    def __init__(self, mean, std):
        super().__init__(mean, std)
        self.network = nn.Sequential(
            conv3(3, 16), nn.ReLU(), *(Block(16, 16) for _ in range(3)),
            Block(16, 32, 2, Halved(32)), Block(32, 32), Block(32, 32),
            Block(32, 64, 2, Halved(64)), Block(64, 64), Block(64, 64),
            nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


class ResNet2b(Normalized):
    """resnet_2b_adv2: two blocks and a hidden layer."""

    def __init__(self, mean, std):
        super().__init__(mean, std)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), Block(8, 16, 2, nn.Conv2d(8, 16, 1, 2)), Block(16, 16),
            nn.Flatten(), nn.Linear(1024, 100), nn.ReLU(), nn.Linear(100, 10),
        )  # fmt: skip


class CnnA(Normalized):
    """cifar_cnn_a_adv: two convolutions and a hidden layer."""

    def __init__(self, mean, std):
        super().__init__(mean, std)
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(2048, 100), nn.ReLU(), nn.Linear(100, 10),
        )  # fmt: skip


NETWORKS = {"resnet20_akamaster": ResNet20, "resnet_2b_adv2": ResNet2b, "cifar_cnn_a_adv": CnnA}


def load(path, mean, std):
    """Loads the module of an ONNX file whose name is in `NETWORKS`, with its weights, frozen, in eval mode."""
    network = NETWORKS[path.stem](mean, std)
    graph = onnx.load(path).graph
    arrays = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    for layer, node in zip(layers, nodes, strict=True):
        _, weight, bias = node.input
        layer.load_state_dict({"weight": arrays[weight], "bias": arrays[bias]})
    return network.eval().requires_grad_(False)


class Runtime(nn.Module):
    """The file itself in ONNX Runtime on one thread: logits without a gradient, for pixels [N, 3, 32, 32] in [0, 1]."""

    def __init__(self, path, mean, std):
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (self.picture,) = self.session.get_inputs()
        self.mean, self.std = (np.array(value, dtype=np.float32).reshape(1, 3, 1, 1) for value in (mean, std))

    @property
    def batch(self):
        """Returns the fixed batch size of the file, or None."""
        size = self.picture.shape[0]
        return size if isinstance(size, int) else None

    def forward(self, x):
        fed = (x.detach().numpy() - self.mean) / self.std
        pieces = np.split(fed, len(fed) // self.batch) if self.batch else [fed]
        logits = [self.session.run(None, {self.picture.name: piece})[0] for piece in pieces]
        return torch.from_numpy(np.concatenate(logits))


def check(network, path, x, mean, std):
    """Raises an error unless the network's logits for the pixels `x` match ONNX Runtime's for its file. Returns the
    largest gap."""
    with torch.no_grad():
        gap = (network(x) - Runtime(path, mean, std)(x)).abs().max().item()
    if not gap <= TOLERANCE:
        raise ValueError(f"{path.name}: logits are {gap:.1e} from ONNX Runtime's, {TOLERANCE:.0e} allowed")
    return gap
