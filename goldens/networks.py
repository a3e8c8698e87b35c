"""The networks to export, with seeded weights: those of torchvision, and families of timm.

Depth, classifier width, number of classes and picture side are reduced if the whole network would only make larger
files with the same operators.
"""

from dataclasses import dataclass
from functools import partial
from typing import Callable

import timm
import torch
import torchvision.models as tv
from torch import nn

CLASSES = 100


@dataclass(frozen=True)
class Network:
    name: str
    build: Callable[[], nn.Module]
    # Height and width of a picture. Small, since more activations mean that more of them lie within rounding of a kink.
    # The older exporter supports pooling to a fixed grid (AlexNet, VGG) only if the grid divides the picture.
    side: int
    # Opsets of the current exporter; 23 has an operator for attention.
    dynamo: tuple[int, ...] = (18,)
    # How many random pictures to search for two with a well-posed gradient.
    draws: int = 20
    # Additional files: `batch1`, `external`, `unfolded`, `weights` (README.md explains them).
    variants: tuple[str, ...] = ()


def torchvision(build, **options):
    return partial(build, weights=None, num_classes=CLASSES, **options)


def of_timm(name, **options):
    return partial(timm.create_model, name, num_classes=CLASSES, **options)


def narrow(build, channels, grid, layers):
    """A network with a classifier of 256 channels on a small grid; the original ones of AlexNet and VGG make half a
    gigabyte."""

    def narrowed():
        network = build(weights=None, num_classes=CLASSES)
        network.avgpool = nn.AdaptiveAvgPool2d(grid)
        first, second, last = layers
        network.classifier[first] = nn.Linear(channels * grid * grid, 256)
        network.classifier[second] = nn.Linear(256, 256)
        network.classifier[last] = nn.Linear(256, CLASSES)
        return network

    return narrowed


def vision_transformer(side, layers):
    """ViT-B/16 with fewer layers."""
    return partial(
        tv.VisionTransformer,
        image_size=side,
        patch_size=16,
        num_layers=layers,
        num_heads=12,
        hidden_dim=768,
        mlp_dim=3072,
        num_classes=CLASSES,
    )


def maxvit():
    """MaxViT-T with fewer layers and windows of four by four."""
    return tv.MaxVit(
        input_size=(128, 128),
        stem_channels=64,
        partition_size=4,
        block_channels=[64, 128, 256, 512],
        block_layers=[1, 1, 2, 1],
        head_dim=32,
        stochastic_depth_prob=0.0,
        num_classes=CLASSES,
    )


def mixer():
    """Mixer-S/16 with fewer layers."""
    return timm.models.MlpMixer(num_classes=CLASSES, img_size=96, patch_size=16, num_blocks=4, embed_dim=512)


NETWORKS = [
    Network(
        "resnet18",
        torchvision(tv.resnet18),
        64,
        (18, 20, 23),
        variants=("batch1", "external", "unfolded", "weights"),
    ),
    Network("resnet50", torchvision(tv.resnet50), 32, draws=100),
    Network("vgg11_bn", narrow(tv.vgg11_bn, 512, 2, (0, 3, 6)), 64),
    Network("vgg16", narrow(tv.vgg16, 512, 2, (0, 3, 6)), 64),
    Network("densenet121", torchvision(tv.densenet121), 32),
    Network("squeezenet1_1", torchvision(tv.squeezenet1_1), 64),
    Network("mobilenet_v2", torchvision(tv.mobilenet_v2), 32, (18, 20), variants=("unfolded",)),
    Network("mobilenet_v3_small", torchvision(tv.mobilenet_v3_small), 64, (18, 23), variants=("weights",)),
    Network("efficientnet_b0", torchvision(tv.efficientnet_b0), 64, (18, 23)),
    Network("convnext_tiny", torchvision(tv.convnext_tiny), 64),
    Network("regnet_y_400mf", torchvision(tv.regnet_y_400mf), 32, draws=100),
    Network("shufflenet_v2_x0_5", torchvision(tv.shufflenet_v2_x0_5), 32),
    Network(
        "inception_v3",
        torchvision(tv.inception_v3, aux_logits=False, transform_input=True, init_weights=False),
        107,
        draws=4,
    ),
    Network(
        "googlenet",
        torchvision(tv.googlenet, aux_logits=False, transform_input=True, init_weights=False),
        32,
    ),
    Network("mnasnet0_5", torchvision(tv.mnasnet0_5), 32),
    Network("alexnet", narrow(tv.alexnet, 256, 2, (1, 4, 6)), 95),
    Network("vit_b_16", vision_transformer(96, 3), 96, (18, 20, 23), variants=("weights",)),
    Network("swin_t", torchvision(tv.swin_t), 112, variants=("weights",)),
    Network("swin_v2_t", torchvision(tv.swin_v2_t), 112),
    Network("maxvit_t", maxvit, 128),
    Network("deit_tiny", of_timm("deit_tiny_distilled_patch16_224", img_size=96), 96, (18, 23)),
    Network("beit_base", of_timm("beit_base_patch16_224", img_size=96, depth=3), 96),
    Network("mixer_s16", mixer, 96),
    Network("coatnet_pico", of_timm("coatnet_pico_rw_224", img_size=64), 64),
    Network("nfnet_l0", of_timm("nfnet_l0", depths=(1, 1, 2, 1)), 64),
    Network("eva02_tiny", of_timm("eva02_tiny_patch14_224", img_size=84, depth=6), 84, (18, 23)),
    Network("levit_128s", of_timm("levit_128s", img_size=96), 96),
    Network("mobilevit_xxs", of_timm("mobilevit_xxs"), 64),
]


def seeded(network):
    """Returns the module in evaluation mode, with weights and normalisation statistics drawn from a fixed seed.

    Fresh layers hide errors: a BatchNorm is the identity, biases are zero, and a layer scale of 1e-6, a zero at the end
    of a residual branch or a head of zeros blocks gradients. So parameters that are constant or almost zero are drawn
    again. The normalisation statistics are those of random pictures, slightly perturbed.
    """
    torch.manual_seed(0)
    module = network.build()
    for parameter in module.parameters():
        redraw(parameter.data)
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        # The running statistics become those of the next batch.
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            module.train()(torch.rand(8, 3, network.side, network.side))
    for norm in norms:
        norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn(norm.num_features)
        norm.running_var *= torch.empty(norm.num_features).uniform_(0.8, 1.25)
    return module.eval().requires_grad_(False)


def redraw(parameter):
    """Turns ones (scales of a normalisation) into scales near one, and other constants and near-zeros into small
    numbers."""
    if (parameter == 1).all():
        parameter.uniform_(0.7, 1.3)
    elif parameter.numel() == 1:
        parameter.uniform_(0.5, 1.0)
    elif parameter.std() < 1e-3:
        parameter.normal_(0.0, 0.1 if parameter.dim() == 1 else 0.05)
