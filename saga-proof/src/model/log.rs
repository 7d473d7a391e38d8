//! Topics, as one saga has them: order within a key is all that Kafka promises, so a log per saga is a partition's worth.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::erased::digest;

/// An event as it was published.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) topic: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) data: Vec<u8>,
    digest: u64,
}

/// A record in its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) record: Arc<Record>,
    /// Published before, and once more under a new position.
    pub(crate) again: bool,
}

/// Where somebody reads a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cursor {
    pub(crate) next: usize,
    /// A record that a later one overtook.
    pub(crate) held_back: Option<usize>,
}

impl Record {
    pub(crate) fn new(topic: &'static str, name: &'static str, schema: &str, data: Vec<u8>) -> Self {
        let version = schema.rsplit('/').next().and_then(|version| version.parse().ok());
        Self {
            digest: digest(&(topic, name, schema, &data)),
            topic,
            name,
            version: version.unwrap_or(1),
            data,
        }
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && (self.topic, self.name, &self.data) == (other.topic, other.name, &other.data)
    }
}

impl Eq for Record {}

impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}
