use std::path::PathBuf;

use anyhow::Result;
use failure_tests::system::PROGRAMS;
use local_stack::{Checkout, Programs};

/// Builds the programs as they are released, and returns the folder that they are in.
pub(crate) async fn released() -> Result<PathBuf> {
    tokio::task::spawn_blocking(|| {
        let checkout = Checkout::find()?;
        let programs = Programs::find(&checkout, true)?;
        let names: Vec<&str> = PROGRAMS.iter().copied().chain(["sagactl"]).collect();
        programs.build(&checkout, &names)?;
        Ok(programs.folder().to_owned())
    })
    .await?
}
