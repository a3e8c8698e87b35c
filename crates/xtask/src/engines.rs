//! `cargo xtask measure engines`: compares both engines with ONNX Runtime on the file itself, operator by operator.

use std::{ffi::OsStr, fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{example, library_of, python, root, run};

/// The packages that make and run the models. ONNX is not the newest, because its operator sets would be too new for the importer.
const PACKAGES: [&str; 3] = ["onnx==1.19.1", "onnxruntime==1.32.0", "numpy==2.4.6"];

const HEAD: &str = "\
# Engines compared with ONNX Runtime

A model is imported and compiled for an engine. A model that cannot be imported is run as it is. Either way the answer should be
that of ONNX Runtime on the file itself, or the model should be refused. `cargo xtask measure engines` compares them and writes this page.

";

const RESIZE: &str = "\
## Resize and Upsample

This table covers every mode and every coordinate rule, with 200 scales and 200 sizes each, in operator sets from 7 to 19. It
compares the resized picture, and the gradient of a randomly weighted sum of it, on rten with ONNX Runtime. Resizing is affine, so
the reference gradient needs no derivatives: the image of each unit vector is a column of its matrix. A difference counts from
1e-4 of the largest entry; picking another element makes a much larger one.

Lengths and positions are computed in single precision and in ONNX Runtime's order, because a scale of 0.7 is not 7/10. If
ONNX Runtime and ONNX's reference implementation differ, we follow ONNX Runtime:

- If no axis changes its length, nothing is done, whatever the scales and the region say.
- An axis with the scale 1 is not cropped by `tf_crop_and_resize`.
- `round_prefer_floor` and `round_prefer_ceil` treat positions within 1e-6 of the middle between two elements as halfway.
- With `antialias`, an axis that keeps its length is copied.

";

const OPERATORS: &str = "
## Operators on integers and others

This table has ONNX's node tests and our own cases for what differs between engines: integer overflow, zero points, padding and
missing attributes. Each test is a classifier of one row of floats, which is split into the operator's inputs. Half of the tests
contain a loop that does nothing, which prevents their import. An answer agrees with ONNX Runtime if each entry is within a
thousandth, and within 1e-5 of the largest. `ORT` is ONNX Runtime running the imported model.

- *Quantised products* (`ConvInteger`, `QLinearConv`, `MatMulInteger`, …) are products of floats that hold integers. Sums up to
  2^24 are exact; larger ones are rounded to single precision.
- *Quotients that are rounded* are exact on rten too, which otherwise multiplies by the reciprocal of a single divisor.
- *Integers of 8 and 16 bits* wrap around in arithmetic and casts, as in the file. Those of 32 and 64 bits have the engine's
  width: 32 bits on rten, 64 on ORT. They differ only on overflow, which causes the differences in `Pow`, `ReduceProd` and
  `ReduceSumSquare` below.
- *Files that rten runs as they are* get explicit values for missing attributes, and quantisation, conversions to booleans and
  bytes, and old softmaxes are written out. Where rten 0.27 is known to differ, the file is refused: padded `ConvInteger`, `SAME_LOWER`, cubic
  resizing and scales other than powers of two, quantisation by channel, `ArgMax`, `Sign`, `Softplus`, `CastLike`.
- For an input of zeros, the scale that `DynamicQuantizeLinear` returns is 0 on rten and 1 on ONNX Runtime; the dequantised numbers
  are 0 in both.

";

/// Prepares both comparisons, runs them, and writes `docs/engines.md`.
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
