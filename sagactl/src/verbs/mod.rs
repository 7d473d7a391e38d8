/// Databases, roles, tables and topics.
pub(crate) mod migrate;
