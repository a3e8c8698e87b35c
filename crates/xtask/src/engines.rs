//! `cargo xtask measure engines`: what both engines make of operators, beside ONNX Runtime running the file itself.

use std::{ffi::OsStr, fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{example, library_of, python, root, run};

/// The packages that make models and answer them: of ONNX not the newest, whose operator sets are beyond those that are read.
const PACKAGES: [&str; 3] = ["onnx==1.19.1", "onnxruntime==1.32.0", "numpy==2.4.6"];

const HEAD: &str = "\
# What engines make of operators

A model is imported, written again for an engine and run, or, if it cannot be imported, run as it is. Either way the answer is
to be ONNX Runtime's about the file itself, or there is none. `cargo xtask measure engines` compares them and writes this page.

";

const RESIZE: &str = "\
## Resize and Upsample

Every mode, by every rule for coordinates, by 200 scales and 200 sizes each, in operator sets from 7 to 19: the resized picture
and the gradient of its randomly weighted sum, on rten, beside ONNX Runtime's. Its gradient is known without derivatives, as
resizing is affine: what it makes of each unit vector is a column of its matrix. A difference is counted from 1e-4 of the
largest entry on, another element is far above.

Lengths and positions are computed in single precision and in ONNX Runtime's order, since a scale of 0.7 is not 7/10. Where
ONNX Runtime and ONNX's reference implementation differ, the former is followed:

- Where no axis changes its length, nothing is done, whatever the scales and the region say.
- An axis whose scale is 1 is not cropped by `tf_crop_and_resize` either.
- `round_prefer_floor` and `round_prefer_ceil` take positions within 1e-6 of the middle between two elements for halfway.
- With `antialias`, an axis that keeps its length is copied.

";

const OPERATORS: &str = "
## Operators on integers, and all others

ONNX's node tests and cases of our own, which vary what engines differ in: integers that wrap, zero points, padding, attributes
that are left out. Each is a classifier of one row of floats, which is cut into the operator's inputs; half of them are kept
from being imported by a loop that does nothing. An answer counts as ONNX Runtime's if each entry is within a thousandth, and
1e-5 of the largest. `ORT` is ONNX Runtime too, running what was imported.

- *Quantised products* (`ConvInteger`, `QLinearConv`, `MatMulInteger`, …) are products of floats that hold integers. Sums up to
  2^24 are exact, larger ones rounded to single precision.
- *Quotients that are rounded* are exact on rten too, which else multiplies by the reciprocal of a single divisor.
- *Integers of 8 and 16 bits* wrap around in arithmetic and casts, as in the file. Those of 32 and 64 bits have the engine's
  width: 32 bits on rten, 64 on ORT. Only what overflows tells, and is what differs below in `Pow`, `ReduceProd` and
  `ReduceSumSquare`.
- *Files that rten runs as they are* have the defaults they leave out stated, and quantisation, conversions to truth values and
  bytes, and old softmaxes spelled out. What rten 0.27 is known to compute otherwise is refused: padded `ConvInteger`, `SAME_LOWER`, cubic
  resizing and scales other than powers of two, quantisation by channel, `ArgMax`, `Sign`, `Softplus`, `CastLike`.
- The scale that `DynamicQuantizeLinear` answers for nothing but zeros is 0 on rten and 1 on ONNX Runtime; the numbers it stands
  for are 0 in both.

";

/// Lays both comparisons out, runs them, and writes `docs/engines.md`.
pub(crate) fn measure() -> Result<()> {
    let root = root();
    let python = python("engines-env", &PACKAGES.map(OsStr::new))?;
    let library = library_of(&python)?;
    let mut page = HEAD.to_owned();
    for (script, program, text) in [
        ("resizes.py", "resize_parity", RESIZE),
        ("predictions.py", "predictions", OPERATORS),
    ] {
        let folder = root.join("target").join(program);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        run(Command::new(&python)
            .arg(root.join("goldens").join(script))
            .arg(&folder))?;
        page += text;
        page += &example(program, &folder, library.as_os_str())?;
    }
    let path = root.join("docs/engines.md");
    fs::write(&path, page).with_context(|| path.display().to_string())
}
