"""Writes photographs as JPEGs of several kinds, each with a PNG of Pillow's decoding.

python jpegs.py PHOTOGRAPHS FOLDER: FOLDER/KIND/NAME.jpg and FOLDER/KIND/NAME.png. Prints the versions of the libraries.
"""

import sys
from pathlib import Path

import PIL
from PIL import Image, features

# Kind, mode, size cut from the top left (None: whole), and the options of Pillow's encoder.
KINDS = [
    ("4:4:4, quality 95", "RGB", None, dict(quality=95, subsampling="4:4:4")),
    ("4:2:2, quality 90", "RGB", None, dict(quality=90, subsampling="4:2:2")),
    ("4:2:0, quality 90", "RGB", None, dict(quality=90, subsampling="4:2:0")),
    ("4:2:0, quality 75", "RGB", None, dict(quality=75, subsampling="4:2:0")),
    ("4:2:0, quality 30", "RGB", None, dict(quality=30, subsampling="4:2:0")),
    ("4:4:4, progressive, quality 75", "RGB", None, dict(quality=75, subsampling="4:4:4", progressive=True)),
    ("4:2:0, progressive, quality 75", "RGB", None, dict(quality=75, subsampling="4:2:0", progressive=True)),
    ("4:2:0, restarts, quality 75", "RGB", None, dict(quality=75, subsampling="4:2:0", restart_marker_blocks=3)),
    ("grey, quality 75", "L", None, dict(quality=75)),
    ("CMYK, quality 75", "CMYK", None, dict(quality=75)),
    ("RGB without YCbCr, quality 75", "RGB", None, dict(quality=75, keep_rgb=True)),
    ("256x256, 4:2:0, quality 75", "RGB", (256, 256), dict(quality=75, subsampling="4:2:0")),
    ("17x33, 4:2:0, quality 75", "RGB", (17, 33), dict(quality=75, subsampling="4:2:0")),
    ("17x33, 4:2:2, quality 75", "RGB", (17, 33), dict(quality=75, subsampling="4:2:2")),
    ("3x5, 4:2:0, quality 75", "RGB", (3, 5), dict(quality=75, subsampling="4:2:0")),
    ("1x1, 4:2:0, quality 75", "RGB", (1, 1), dict(quality=75, subsampling="4:2:0")),
]


def main(photographs, folder):
    for number, (kind, mode, size, how) in enumerate(KINDS):
        # The number keeps the order; some systems do not allow ":" in the name of a folder.
        target = folder / f"{number:02} {kind.replace(':', '-')}"
        target.mkdir(parents=True)
        for photograph in sorted(photographs.glob("*.png")):
            picture = Image.open(photograph).convert(mode)
            if size:
                picture = picture.crop((0, 0, *size))
            file = target / f"{photograph.stem}.jpg"
            picture.save(file, **how)
            decoded = Image.open(file)
            decoded.convert("L" if mode == "L" else "RGB").save(file.with_suffix(".png"), compress_level=1)
    sys.stdout.write(f"Pillow {PIL.__version__} with libjpeg-turbo {features.version('libjpeg_turbo')}")


main(Path(sys.argv[1]), Path(sys.argv[2]))
