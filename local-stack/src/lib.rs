//! PostgreSQL, Kafka and Redis on this machine, without Docker.
//!
//! For tests: [`TestStack`]. For people: the program `local-stack`, which `just up` calls.
//!
//! Nothing here knows a client library of a server, so that it builds in seconds: it is built before everything else.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What tests use.
mod test_stack;

/// An end for test programs that hang.
mod hang;

/// The stack of a checkout: up, down, reset, and single parts of it.
pub mod stack;

/// What runs where.
mod report;

/// The table of our services, and what each of them reads from its environment.
pub mod services;

/// The servers that a stack has, and how each of them came to be here.
mod parts;

/// One PostgreSQL server.
mod postgres;

/// One Kafka broker.
mod kafka;

/// One worker of Kafka Connect.
mod kafka_connect;

/// How Java servers are started.
mod jvm;

/// A broker's listeners that encrypt, and its users.
mod kafka_security;

/// Certificates of servers.
mod tls;

/// A pooler in front of a PostgreSQL server.
mod pgbouncer;

/// One Redis server.
mod redis;

/// One Jaeger, where its program is at hand.
mod jaeger;

/// Servers in containers.
mod compose;

/// The services' programs.
mod build;

/// What the cargo around us tells us alone.
mod outer_cargo;

/// A process that outlives the program which starts it.
mod daemon;

/// Cleans up after a test process, however it ends.
mod guardian;

/// Questions that only a server which works can answer.
pub mod probe;

/// Waiting by condition, with a bound and visible progress.
mod wait;

/// Fetching the servers' programs.
mod artifacts;

/// Who PostgreSQL runs as, and what that account can reach.
mod account;

/// Places in a checkout.
mod checkout;

/// A line between two parties on which anything can happen.
mod proxy;

/// Ports of a stack, and ports that nobody listens on.
mod ports;

/// Generated passwords.
mod secrets;

/// What can go wrong.
mod error;

pub use build::Programs;
pub use checkout::Checkout;
pub use daemon::Daemon;
pub use error::StackError;
pub use guardian::Guardian;
pub use hang::begin_anew;
pub use jaeger::Jaeger;
pub use kafka::{Kafka, KafkaDetour, KafkaSettings};
pub use kafka_connect::{ConnectPrograms, ConnectSettings, KafkaConnect};
pub use kafka_security::{KafkaSecurity, KafkaUser};
pub use outer_cargo::forget_outer_cargo;
pub use parts::{Part, Placed, Placement, Way, Wishes};
pub use pgbouncer::{PgBouncer, PoolMode};
pub use ports::{Ports, free as free_ports};
pub use postgres::{Postgres, PostgresSettings, PostgresTls};
pub use proxy::{Proxy, Weather};
pub use redis::Redis;
pub use report::Report;
pub use secrets::Secrets;
pub use test_stack::{Addresses, KAFKA_VARIABLE, POSTGRES_VARIABLE, Secure, TestStack, TestStackOptions};
#[cfg(feature = "tls")]
pub use tls::Authority;
pub use tls::Identity;
