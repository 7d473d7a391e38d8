//! Newcomer on a real PostgreSQL and a real Apache Kafka, which the tests start by themselves.

/// What it makes of what it hears.
mod course;
/// Its tables.
mod tables;

use newcomer::events::SagaId;
use uuid::Uuid;

fn new_saga() -> SagaId {
    SagaId(Uuid::new_v4())
}
