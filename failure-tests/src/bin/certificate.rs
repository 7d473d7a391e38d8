//! `just certificate`: every step of the order saga against every fault that it can have.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use failure_tests::certificate::Shop;
use saga_proof::certificate;

fn main() -> Result<ExitCode> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/certificate.md");
    certificate::main::<Shop>(&page)
}
