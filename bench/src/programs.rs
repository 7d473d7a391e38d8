use std::path::PathBuf;

use anyhow::Result;
use failure_tests::system::PROGRAMS;
use local_stack::{Checkout, Programs};

/// Builds what the shop consists of, and returns the folder that it is in.
pub(crate) async fn shop() -> Result<PathBuf> {
    released(PROGRAMS.iter().copied().chain(["sagactl"]).collect()).await
}

/// Builds programs as they are released, and returns the folder that they are in.
pub(crate) async fn released(names: Vec<&'static str>) -> Result<PathBuf> {
    tokio::task::spawn_blocking(move || {
        let checkout = Checkout::find()?;
        let programs = Programs::find(&checkout, true)?;
        programs.build(&checkout, &names)?;
        Ok(programs.folder().to_owned())
    })
    .await?
}
