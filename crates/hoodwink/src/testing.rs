//! What tests share.

use std::path::{Path, PathBuf};

/// The folder of real models and pictures, which are too large for the repository.
pub(crate) fn assets() -> PathBuf {
    let folder = std::env::var_os("HOODWINK_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/assets"),
        PathBuf::from,
    );
    assert!(
        folder.is_dir(),
        "this test needs real models and pictures, and there is no folder {}: set HOODWINK_ASSETS \
         to the folder that holds imagenet/, cifar10/ and mnist/",
        folder.display()
    );
    folder
}
