//! The gRPC face of the shop: messages, clients and servers that tonic generates from the `.proto` files beside
//! this crate, and the reflection that shows them.
//!
//! One module per package: [`order::v1`], [`product::v1`], [`inventory::v1`], [`payment::v1`] and the values that
//! they share, [`type::v1`](mod@type::v1). There is no logic here: a request is checked and translated by the service that takes
//! it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Keeps a card's token out of logs.
mod redact;
/// Reflection for a server, so that `grpcurl` works without files.
mod reflection;

pub use crate::generated::quadrille::{inventory, order, payment, product, r#type};
pub use crate::reflection::reflection;

/// The encoded `google.protobuf.FileDescriptorSet` of all services, with imports and comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quadrille.bin"));

/// What the build script writes; the generators do not document everything that they add.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/quadrille.rs"));
}
