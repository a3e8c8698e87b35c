//! `cargo xtask node-tests`: runs ONNX's own operator tests, with gradients.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{example, onnx_runtime, python, root, run};

/// The package with the tests. It is not the newest, whose operator sets are newer than the supported ones.
const PACKAGES: [&str; 2] = ["onnx==1.19.1", "numpy==2.4.6"];

const HEAD: &str = "\
# ONNX's node tests

The package `onnx` 1.19 contains tests of single operators: a model, its inputs and the expected outputs. `cargo xtask
node-tests` runs them and writes this page. Tests of operator set 24 that are valid in 23 are read as 23.

- *Read*: the model is imported. Exporters write shapes, axes and indices into the file where these tests have inputs,
  and no classifier needs the second output of a pooling or a normalisation. So a test that cannot be read as it is, is
  read with the values of its non-float inputs in the file, or with the values of all inputs except the first, or with
  only its first output. Its batch may be fixed.
- *Forward*: the model is imported, exported and run by the engine. The outputs are within a thousandth of each expected
  entry plus 1e-5 of the largest; tests of half precision may differ by four more of its roundings. Quantised numbers
  stay floats internally.
- *Gradient*: the gradient of a randomly weighted sum of the outputs with respect to each float input is compared with
  central differences along a random direction on the same engine. Noise of a fiftieth moves the inputs off whole
  numbers. Of eight steps between 1e-1 and 3e-5, one must agree to 5e-3 of the root of the sum of the slope's squared
  parts. Directions are drawn so that a gradient with an error of a twentieth does not pass.
- *Zero or none*: no gradient was compared, since there is no gradient of a float output with respect to a float input,
  or it is zero by [convention](conventions.md).
- If ONNX Runtime itself differs from what a test expects, we follow ONNX Runtime: in four tests of `QLinearMatMul`, whose expected
  bytes wrap around, and two of `Resize`. [engines.md](engines.md) compares with ONNX Runtime.

";

/// Runs the tests and writes `docs/node-tests.md`.
pub(crate) fn node_tests() -> Result<()> {
    let root = root();
    let python = python("node-env", &PACKAGES.map(std::ffi::OsStr::new))?;
    let tests = root.join("target/node-tests");
    if tests.exists() {
        fs::remove_dir_all(&tests).with_context(|| tests.display().to_string())?;
    }
    run(Command::new(&python)
        .arg(root.join("goldens/node_tests.py"))
        .arg(&tests))?;
    let table = example("node_tests", &tests, onnx_runtime()?.as_os_str())?;
    let page = root.join("docs/node-tests.md");
    fs::write(&page, format!("{HEAD}{table}")).with_context(|| page.display().to_string())
}
