//! What a client sees of the services without having their files.

/// The descriptor set is whole and carries the comments.
mod descriptors;
/// A card's token stays out of logs.
mod redact;
/// A server answers the questions of grpcurl.
mod reflection;
