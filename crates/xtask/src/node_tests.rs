//! `cargo xtask node-tests`: ONNX's own tests of operators, with gradients.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{example, onnx_runtime, python, root, run};

/// The package with the tests: not the newest, whose operator sets are beyond those that are read.
const PACKAGES: [&str; 2] = ["onnx==1.19.1", "numpy==2.4.6"];

const HEAD: &str = "\
# ONNX's node tests

The package `onnx` 1.19 carries tests of single operators: a model, its inputs and the expected outputs. `cargo xtask
node-tests` runs them and writes this page. Those of operator set 24 that are valid in 23 are read as such.

- *Read*: the model is imported. Exporters write shapes, axes and indices into the file where these tests have inputs, and no
  classifier needs a second output of a pooling or a normalisation; so a test that is not read as it is, is read with the
  values of its inputs that are not floats in the file, or with those of all inputs but the first, or with its first output
  alone. Its batch may be fixed.
- *Forward*: imported, written again and run by the engine, the outputs are within a thousandth of each expected entry and
  1e-5 of the largest; of tests of half precision within four of its roundings more. Quantised numbers stay floats inside.
- *Gradient*: the gradient of a randomly weighted sum of the outputs with respect to each float input, against central
  differences along a random direction on the same engine. The inputs are moved off whole numbers by noise of a fiftieth; of
  eight steps between 1e-1 and 3e-5 one must agree to 5e-3 of the root of the sum of the slope's squared parts. Directions are
  drawn such that a gradient wrong by a twentieth does not pass.
- *Zero or none*: no gradient was compared, since none of an output of floats with respect to an input of floats is there, or
  it is zero by [convention](conventions.md).
- Where ONNX Runtime itself answers otherwise than a test expects, it is followed: in four tests of `QLinearMatMul`, whose expected
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
