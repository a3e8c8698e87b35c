//! The folder of models and pictures, which are not part of the repository.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folder that `HOODWINK_ASSETS` names.
pub(crate) fn folder() -> PathBuf {
    let folder = env::var_os("HOODWINK_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/assets"),
        PathBuf::from,
    );
    assert!(
        folder.is_dir(),
        "the models and pictures for this test are not at {}; set HOODWINK_ASSETS to their folder",
        folder.display()
    );
    folder
}
