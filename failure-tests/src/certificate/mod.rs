//! The failure certificate of the order saga: see [`saga_proof::certificate`]. Here is what is the shop's own: the ways through
//! an order, and what has to be true of one in the end.

/// The ways through the saga.
mod path;
/// The shop, as the certificate sees it.
mod shop;

pub use path::Path;
pub use shop::Shop;
