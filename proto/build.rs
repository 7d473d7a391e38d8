//! Generates the gRPC code in pure Rust, so that nobody needs protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The files that hold a service; messages come in through their imports.
const SERVICES: [&str; 4] = [
    "quadrille/inventory/v1/inventory_service.proto",
    "quadrille/order/v1/order_service.proto",
    "quadrille/payment/v1/payment_service.proto",
    "quadrille/product/v1/product_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=quadrille");

    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([&root])?;
    // Source info carries the comments, which grpcurl shows.
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(SERVICES.map(Path::new))?;

    // prost would drop what it does not know; these bytes are what reflection hands out.
    fs::write(out.join("quadrille.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        // Written by hand, so that a request in a log does not show the card's token.
        .skip_debug(["quadrille.order.v1.Card"])
        .include_file("quadrille.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
