"""Writes what the image processors of transformers, and the transforms of timm, make of pictures.

python preprocessing.py transformers|timm FILE. Each entry of the list that is written has

    name      of the configuration
    file      the text that users have: a preprocessor_config.json, or the config.json of timm
    config    the config.json beside it, if the processor is only known from that
    lines     per channel in the order that the model is fed: what becomes of 0 and of 255
    pictures  height and width before and after, and the SHA-256 of the bytes that are fed: planes in the order that the model
              is fed, as 0 to 255 again

Pictures are drawn by `picture`; the tests of preprocessing/goldens.rs draw the same.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = [(240, 300), (231, 187), (64, 90), (511, 400)]
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
RESCALE = {"do_rescale": True, "rescale_factor": 0.00392156862745098}


def square(side):
    return {"height": side, "width": side}


# As published beside models of the hub, or with one thing changed.
TRANSFORMERS = {
    "vit": dict(do_normalize=True, do_resize=True, **HALF, **RESCALE, resample=2, size=square(224),
                image_processor_type="ViTImageProcessor"),
    "vit, one number, by the model": (dict(do_normalize=True, do_resize=True, **HALF, resample=2, size=224), "vit"),
    "vit, nearest": dict(do_normalize=True, do_resize=True, **HALF, resample=0, size=square(160),
                         image_processor_type="ViTFeatureExtractor"),
    "vit, box": dict(do_normalize=True, do_resize=True, **HALF, resample=4, size={"height": 96, "width": 160},
                     image_processor_type="ViTImageProcessor"),
    "vit, hamming": dict(do_normalize=True, do_resize=True, **HALF, resample=5, size=[96, 160],
                         image_processor_type="ViTImageProcessor"),
    "vit, lanczos, one mean": dict(do_normalize=True, do_resize=True, image_mean=0.4, image_std=0.25, resample=1,
                                   size=square(224), image_processor_type="ViTImageProcessorFast"),
    "vit, defaults": dict(image_processor_type="ViTImageProcessor"),
    "vit, 0 to 255": dict(do_rescale=False, do_normalize=False, image_processor_type="ViTImageProcessor"),
    "vit, normalised without rescaling": dict(do_rescale=False, image_mean=[120, 115, 100], image_std=[60, 57, 55],
                                              image_processor_type="ViTImageProcessor"),
    "vit, other factor": dict(rescale_factor=0.0078125, image_processor_type="ViTImageProcessor"),
    "swin, by the model": (dict(do_normalize=True, do_resize=True, **IMAGENET, resample=3, size=224), "swin"),
    "deit": dict(crop_size=224, do_center_crop=True, do_normalize=True, do_resize=True, **IMAGENET, resample=3, size=256,
                 image_processor_type="DeiTFeatureExtractor"),
    "deit, defaults": dict(image_processor_type="DeiTImageProcessor"),
    "beit": dict(crop_size=224, do_center_crop=False, do_normalize=True, do_resize=True, **HALF, resample=2, size=224,
                 reduce_labels=False, feature_extractor_type="BeitFeatureExtractor"),
    "beit, crop": dict(crop_size=square(217), do_center_crop=True, do_normalize=True, do_resize=True, **HALF, resample=2,
                       size=square(256), image_processor_type="BeitImageProcessor"),
    "levit": dict(crop_size=square(224), do_center_crop=True, do_normalize=True, do_resize=True, **IMAGENET, **RESCALE,
                  resample=3, size={"shortest_edge": 224}, image_processor_type="LevitImageProcessor"),
    "levit, one number": dict(crop_size=224, do_center_crop=True, do_normalize=True, do_resize=True, **IMAGENET,
                              resample=3, size=224, feature_extractor_type="LevitFeatureExtractor"),
    "levit, exact": dict(crop_size=224, size=square(240), image_processor_type="LevitImageProcessor"),
    "mobilevit": dict(crop_size=square(256), do_center_crop=True, do_flip_channel_order=True, do_resize=True, **RESCALE,
                      resample=2, size={"shortest_edge": 288}, image_processor_type="MobileViTImageProcessor"),
    "mobilevit, one number": dict(crop_size=256, do_center_crop=True, do_flip_channel_order=False, do_resize=True,
                                  resample=2, size=288, image_processor_type="MobileViTFeatureExtractor"),
    "mobilevit, defaults": dict(image_processor_type="MobileViTImageProcessor"),
    "efficientnet": dict(crop_size=square(289), do_center_crop=False, do_normalize=True, do_rescale=True, do_resize=True,
                         image_mean=IMAGENET["image_mean"], image_std=[0.47853944, 0.4732864, 0.47434163],
                         include_top=True, resample=0, rescale_factor=0.00392156862745098, rescale_offset=False,
                         size=square(224), image_processor_type="EfficientNetImageProcessor"),
    "efficientnet, offset": dict(do_normalize=False, include_top=False, resample=2, rescale_factor=1 / 127.5,
                                 rescale_offset=True, size=square(224), image_processor_type="EfficientNetImageProcessor"),
    "efficientnet, defaults": dict(image_processor_type="EfficientNetImageProcessor"),
    "clip": dict(crop_size=square(224), do_center_crop=True, do_convert_rgb=True, do_normalize=True, do_rescale=True,
                 do_resize=True, **CLIP, resample=3, rescale_factor=0.00392156862745098, size={"shortest_edge": 224},
                 image_processor_type="CLIPImageProcessor"),
    "clip, numbers": dict(crop_size=224, do_center_crop=True, do_normalize=True, do_resize=True, **CLIP, resample=3,
                          size=224, feature_extractor_type="CLIPFeatureExtractor"),
    "clip, rectangle": dict(crop_size={"height": 200, "width": 160}, size={"shortest_edge": 203},
                            image_processor_type="CLIPImageProcessor"),
    "clip, squares": dict(size=224, use_square_size=True, image_processor_type="CLIPImageProcessor"),
    "clip, no crop": dict(do_center_crop=False, size=square(224), image_processor_type="CLIPImageProcessor"),
    "dinov2": dict(crop_size=square(224), do_center_crop=True, do_convert_rgb=True, do_normalize=True, **RESCALE,
                   do_resize=True, **IMAGENET, resample=3, size={"shortest_edge": 256},
                   image_processor_type="BitImageProcessor"),
    "bit": dict(crop_size=square(448), do_center_crop=True, do_normalize=True, **RESCALE, do_resize=True, **HALF,
                resample=2, size={"shortest_edge": 448}, image_processor_type="BitImageProcessor"),
    "mobilenet v1": dict(crop_size=square(192), do_center_crop=True, do_normalize=True, **RESCALE, do_resize=True, **HALF,
                         resample=2, size={"shortest_edge": 219}, image_processor_type="MobileNetV1ImageProcessor"),
    "mobilenet v2": dict(crop_size=square(224), do_center_crop=True, do_normalize=True, **RESCALE, do_resize=True, **HALF,
                         resample=2, size={"shortest_edge": 256}, image_processor_type="MobileNetV2ImageProcessor"),
    "convnext": dict(crop_pct=0.875, do_normalize=True, do_resize=True, **IMAGENET, resample=3,
                     size={"shortest_edge": 224}, image_processor_type="ConvNextImageProcessor"),
    "resnet, one number": dict(crop_pct=0.875, do_normalize=True, do_resize=True, **IMAGENET, resample=3, size=224,
                               feature_extractor_type="ConvNextFeatureExtractor"),
    "resnet, no crop_pct": dict(crop_pct=None, do_normalize=True, do_resize=True, **IMAGENET, resample=3, size=224,
                                feature_extractor_type="ConvNextFeatureExtractor"),
    "regnet, by the model": (dict(crop_pct=0.9, do_normalize=True, do_resize=True, **IMAGENET, resample=3, size=224),
                             "regnet"),
    "convnext, 384": dict(crop_pct=0.875, do_normalize=True, do_resize=True, **IMAGENET, resample=3,
                          size={"shortest_edge": 384}, image_processor_type="ConvNextImageProcessor"),
    "convnext, 383": dict(crop_pct=0.95, do_normalize=True, do_resize=True, **IMAGENET, resample=3,
                          size={"shortest_edge": 383}, image_processor_type="ConvNextImageProcessor"),
    "convnext, defaults": dict(image_processor_type="ConvNextImageProcessor"),
    "poolformer": dict(crop_pct=0.95, crop_size=square(224), do_center_crop=True, do_normalize=True, do_resize=True,
                       **IMAGENET, resample=3, size={"shortest_edge": 224}, image_processor_type="PoolFormerImageProcessor"),
    "poolformer, exact": dict(crop_pct=0.9, size=square(224), image_processor_type="PoolFormerImageProcessor"),
    "poolformer, rectangle": dict(crop_pct=0.9, size={"height": 230, "width": 224},
                                  image_processor_type="PoolFormerImageProcessor"),
    "poolformer, no crop_pct": dict(crop_pct=None, size={"height": 230, "width": 224},
                                    image_processor_type="PoolFormerImageProcessor"),
    "poolformer, no crop_pct, short side": dict(crop_pct=None, size=251, image_processor_type="PoolFormerImageProcessor"),
    "pvt": dict(do_normalize=True, do_resize=True, **IMAGENET, **RESCALE, resample=2, size=square(224),
                image_processor_type="PvtImageProcessor"),
    "siglip": dict(do_convert_rgb=None, do_normalize=True, **RESCALE, do_resize=True, **HALF, resample=3, size=square(224),
                   processor_class="SiglipProcessor", image_processor_type="SiglipImageProcessor"),
    "segformer": dict(do_normalize=True, do_resize=True, **IMAGENET, resample=2, reduce_labels=False, size=512,
                      feature_extractor_type="SegformerFeatureExtractor"),
    "efficientformer": dict(crop_size=square(224), do_center_crop=True, do_normalize=True, do_resize=True, **IMAGENET,
                            resample=3, size={"shortest_edge": 224}, image_processor_type="EfficientFormerImageProcessor"),
    "vit hybrid": dict(crop_size=square(384), do_center_crop=True, do_normalize=True, do_resize=True, **HALF, resample=3,
                       size={"shortest_edge": 384}, image_processor_type="ViTHybridImageProcessor"),
}

# Parts of pretrained_cfg.
TIMM = {
    "resnet50": dict(input_size=[3, 224, 224], crop_pct=0.95, interpolation="bicubic", crop_mode="center",
                     test_input_size=[3, 288, 288], test_crop_pct=1.0, mean=IMAGENET["image_mean"],
                     std=IMAGENET["image_std"], fixed_input_size=False, pool_size=[7, 7]),
    "defaults": dict(input_size=[3, 224, 224]),
    "bilinear": dict(input_size=[3, 299, 299], crop_pct=0.875, interpolation="bilinear", mean=[0.5] * 3, std=[0.5] * 3),
    "nearest": dict(input_size=[3, 160, 160], crop_pct=0.9, interpolation="nearest"),
    "box": dict(input_size=[3, 160, 160], crop_pct=0.9, interpolation="box"),
    "lanczos": dict(input_size=[3, 160, 160], crop_pct=0.93, interpolation="lanczos"),
    "squash": dict(input_size=[3, 160, 160], crop_pct=0.9, crop_mode="squash"),
    "squash, whole": dict(input_size=[3, 288, 288], crop_pct=1.0, crop_mode="squash"),
    "squash, rectangle": dict(input_size=[3, 160, 96], crop_pct=0.9, crop_mode="squash"),
}


def picture(height, width):
    y, x, c = np.ogrid[:height, :width, :3]
    values = x * (5 + c) + y * (3 + 2 * c) + (x * y) % (17 + c) * 7 + (x ^ y) * c
    return (values % 256).astype(np.uint8)


def fed_by(process):
    """What becomes of black and white in each channel, and of the pictures."""
    black, white = (process(np.full((256, 256, 3), level, np.uint8)) for level in (0, 255))
    centre = [side // 2 for side in black.shape[1:]]
    lines = [[float(black[c][*centre]), float(white[c][*centre])] for c in range(3)]
    pictures = []
    for height, width in SIZES:
        fed = process(picture(height, width)).astype(np.float64)
        low, high = np.array(lines).T[:, :, None, None]
        levels = (fed - low) / (high - low) * 255
        assert np.abs(levels - levels.round()).max() < 1e-2
        pictures.append({
            "before": [height, width],
            "after": list(fed.shape[1:]),
            "sha256": hashlib.sha256(levels.round().astype(np.uint8).tobytes()).hexdigest(),
        })
    return {"lines": lines, "pictures": pictures}


def transformers_entries():
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.deprecated.efficientformer import image_processing_efficientformer as efficientformer
    from transformers.models.deprecated.vit_hybrid import image_processing_vit_hybrid as vit_hybrid

    assert transformers.__version__ == "4.49.0"
    for name, file in TRANSFORMERS.items():
        file, model = file if isinstance(file, tuple) else (file, None)
        kind = file.get("image_processor_type") or file.get("feature_extractor_type")
        if kind is None:
            kind = IMAGE_PROCESSOR_MAPPING_NAMES[model][0]
        kind = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
        homes = [transformers, efficientformer, vit_hybrid]
        processor = next(getattr(home, kind) for home in homes if hasattr(home, kind)).from_dict(file)
        entry = fed_by(lambda array: np.asarray(
            processor(Image.fromarray(array), return_tensors="np")["pixel_values"][0]))
        config = json.dumps({"model_type": model}) if model else None
        yield {"name": name, "file": json.dumps(file), "config": config, **entry}


def timm_entries():
    from timm.data import create_transform, resolve_data_config

    for name, config in TIMM.items():
        transform = create_transform(**resolve_data_config({}, pretrained_cfg=config), is_training=False)
        entry = fed_by(lambda array: transform(Image.fromarray(array)).numpy())
        yield {"name": name, "file": json.dumps({"pretrained_cfg": config}), "config": None, **entry}


def main(which, file):
    entries = {"transformers": transformers_entries, "timm": timm_entries}[which]()
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    Path(file).write_text(f"[\n{lines}\n]\n")


main(*sys.argv[1:])
