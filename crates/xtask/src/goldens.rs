//! `cargo xtask goldens`: compares the gradients of PyTorch's exports with PyTorch's own.

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{example, library_of, python, root, run, say};

const HEAD: &str = "\
# Gradients compared with PyTorch's

Two comparisons, both on rten and ONNX Runtime (ORT):

- `cargo xtask test` compares published models with numbers that PyTorch computed once in float64.
  [goldens/README.md](../goldens/README.md) says which pictures and tolerances it uses, and where the comparison is ill-posed.
- `cargo xtask goldens` exports networks of torchvision and timm with both of PyTorch's exporters, compares the gradients
  of the files with those of the modules in float64, and writes this page. It installs PyTorch into
  `target/torch-env` and needs about 8 GB of disk; it is not part of `cargo xtask test`.

The networks are in evaluation mode, with seeded random weights and perturbed normalisation statistics; some are reduced in size (see
`goldens/networks.py`). `legacy` is the TorchScript exporter (`dynamo=False`), `dynamo` the current one; the number is the
opset. Errors are relative L2 distances of the logits and of the gradient of cross-entropy with respect to the pixels, one for
each of two random pictures. Signs are compared where PyTorch's gradient exceeds a millionth of its largest entry. *Weights* is
the largest error among the gradients of a network's weights, followed by the number of weight tensors.

*Gap* is how far PyTorch's own gradient moves when noise is added to every sum of products of the forward pass, with a size of 5e-7 of
the root of the sum of its squared products; that is slightly more than the rounding error of single precision. Where the gap exceeds 1e-4, some activation lies within
rounding of a kink of a ReLU, a clip or a pooling window, so no single gradient is right. The script therefore searches
a few random pictures for two with a gap below 1e-4; if a network has none, it uses those with the smallest gap.

";

/// Exports all networks, or those named, and writes `docs/gradients.md`. Prints instead if some are named.
pub(crate) fn goldens(networks: &[&str]) -> Result<()> {
    let root = root();
    let requirements = root.join("goldens/requirements.txt");
    let python = python("torch-env", &["-r".as_ref(), requirements.as_os_str()])?;
    let exports = root.join("target/torch-exports");
    if exports.exists() {
        fs::remove_dir_all(&exports).with_context(|| exports.display().to_string())?;
    }
    let mut export = Command::new(&python);
    export
        .arg(root.join("goldens/export_networks.py"))
        .arg(&exports);
    if !networks.is_empty() {
        export.arg("--only").args(networks);
    }
    run(&mut export)?;
    let library = match env::var_os("ORT_DYLIB_PATH") {
        Some(path) => path,
        None => library_of(&python)?.into_os_string(),
    };
    let table = example("torch_exports", &exports, &library)?;
    if !networks.is_empty() {
        say(&table);
        return Ok(());
    }
    let page = root.join("docs/gradients.md");
    fs::write(&page, format!("{HEAD}{table}")).with_context(|| page.display().to_string())
}
