"""The models and pictures of the assets folder: the picture set and preprocessing of each model."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from onnx_in_torch import Model

IMAGENET_NORM = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CIFAR_NORM = ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616])
CIFAR_NORM_B = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
KW_NORM = ([0.485, 0.456, 0.406], [0.225, 0.225, 0.225])


@dataclass(frozen=True)
class Asset:
    """One model file, its picture set, and the way from [0,1] NCHW pixels to its input.

    The input is `(x[:, channels] - mean) / std` in the layout `layout` ("flat": [N, pixels, 1]).
    """

    folder: str
    model: str
    pictures: str
    norm: tuple = ([0.0], [1.0])
    layout: str = "NCHW"
    bgr: bool = False
    losses: bool = False
    weights: bool = False

    @property
    def name(self):
        """The file stem of the golden: `<set>__<model>`."""
        return f"{Path(self.folder).name if 'vnncomp' in self.folder else self.pictures}__{self.model}"

    def load(self, root, dtype=torch.float64):
        """Returns the interpreted model."""
        return Model(Path(root) / self.folder / f"{self.model}.onnx", dtype)

    def preprocess(self, x):
        """Returns the model input for the pixels `x`, [N, C, H, W] in [0, 1]."""
        mean, std = (torch.tensor(v, dtype=x.dtype).reshape(-1, 1, 1) for v in self.norm)
        x = ((x.flip(1) if self.bgr else x) - mean) / std
        return {"NCHW": x, "NHWC": x.permute(0, 2, 3, 1), "flat": x.reshape(len(x), -1, 1)}[self.layout]

    def logits(self, model, x):
        """Returns the logits [N, classes] for the pixels `x`, from before a final Softmax."""
        last = model.graph.node[-1]
        value = model(self.preprocess(x), last.input[0] if last.op_type == "Softmax" else None)
        return value.reshape(len(x), -1)


def pixel_scale(mean, std):
    """Returns `norm` of a network that takes pixels 0..255 minus `mean`, divided by `std`."""
    return [m / 255 for m in mean], [s / 255 for s in std]


CIFAR, MNIST, FASHION = "cifar10/models", "mnist/models", "fashion/models"
IMAGENET, OVAL = "imagenet/models", "vnncomp/2021_oval21"
CAFFE = {"norm": pixel_scale([103.94, 116.78, 123.68], [1, 1, 1]), "bgr": True}
TFLITE = {"norm": ([0.5], [0.5])}

ASSETS = [
    Asset(CIFAR, "resnet20_akamaster", "cifar10", IMAGENET_NORM, losses=True),
    Asset(CIFAR, "resnet20_akamaster_slim", "cifar10", IMAGENET_NORM, losses=True, weights=True),
    Asset(CIFAR, "resnet_2b_adv2", "cifar10", CIFAR_NORM, losses=True, weights=True),
    Asset(CIFAR, "cifar_cnn_a_adv", "cifar10", CIFAR_NORM, losses=True, weights=True),
    Asset(CIFAR, "cifar_cnn_a_mix", "cifar10", CIFAR_NORM),
    Asset(CIFAR, "cifar_wide_kw", "cifar10", KW_NORM),
    Asset(CIFAR, "marabou_cifar10_small", "cifar10", layout="NHWC", losses=True),
    Asset(CIFAR, "vit_pgd_2_3_16", "cifar10", CIFAR_NORM_B, losses=True, weights=True),
    Asset(MNIST, "mnist-net_256x2", "mnist", layout="flat", losses=True),
    Asset(MNIST, "mnist_relu_9_200", "mnist"),
    Asset(MNIST, "Convnet_avgpool", "mnist", losses=True, weights=True),
    Asset(MNIST, "fastadv_pgd_eps03", "mnist"),
    Asset(MNIST, "kw_mnist_eps01", "mnist"),
    Asset(MNIST, "eran_conv_small_nat", "mnist", ([0.1307], [0.3081])),
    Asset(MNIST, "onnxzoo_mnist", "mnist", pixel_scale([0], [1]), losses=True),
    Asset(FASHION, "kw_fashion_eps01", "fashion"),
    Asset(IMAGENET, "squeezenet1_1_f32", "imagenet", **CAFFE, losses=True),
    Asset(IMAGENET, "SqueezeNet_fp16_original", "imagenet", **CAFFE),
    Asset(IMAGENET, "mobilenet_v1_050_160", "imagenet", **TFLITE),
    Asset(IMAGENET, "mobilenet_v2_100_224", "imagenet", **TFLITE, losses=True),
    *(Asset("vnncomp/2021_mnistfc", f"mnist-net_256x{n}", "mnist", layout="flat") for n in (2, 4, 6)),
    *(Asset(OVAL, f"cifar_{kind}_kw", "cifar10", KW_NORM) for kind in ("base", "deep", "wide")),
    *(Asset("vnncomp/2021_verivital", f"Convnet_{kind}", "mnist") for kind in ("avgpool", "maxpool")),
]


@dataclass(frozen=True)
class Pictures:
    """Pixels [N, C, H, W] in [0, 1], true labels, a wrong label as the target, and where the pictures come from."""

    x: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor
    source: dict


def load_pictures(root, asset, rows, dtype=torch.float64):
    """Loads these rows of the asset's picture set. ImageNet pictures are centre-cropped, never resized."""
    root = Path(root)
    if asset.pictures == "imagenet":
        side = asset.load(root).input_shape[-1]
        with open(root / "imagenet/images/labels.csv", newline="", encoding="utf-8") as f:
            lines = list(csv.DictReader(f))
        lines = [lines[row] for row in rows]
        pixels = np.stack([centre_crop(root / "imagenet/images" / line["file"], side) for line in lines])
        labels, targets = (np.array([int(line[k]) for line in lines]) for k in ("label", "target_label"))
        source = {"rows": np.array(rows), "files": np.array([line["file"] for line in lines], dtype="S")}
    else:
        stem = {"cifar10": "test_0-499", "mnist": "test_2500", "fashion": "sprite450"}[asset.pictures]
        suffix = "_x_u8_NHWC" if asset.pictures == "cifar10" else "_x_u8"
        pixels = np.load(root / asset.pictures / f"{stem}{suffix}.npy")[list(rows)]
        pixels = pixels if pixels.ndim == 4 else pixels[..., None]
        labels = np.load(root / asset.pictures / f"{stem}_y.npy")[list(rows)].astype(np.int64)
        targets, source = (labels + 1) % 10, {"rows": np.array(rows)}
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype) / 255
    return Pictures(x, torch.from_numpy(labels), torch.from_numpy(targets), source)


def centre_crop(path, side):
    """Returns the central `side` x `side` RGB bytes of a picture, [side, side, 3]; odd margins round down."""
    pixels = np.array(Image.open(path).convert("RGB"))
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]
