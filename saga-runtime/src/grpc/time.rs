use chrono::{DateTime, Timelike, Utc};
use prost_types::Timestamp;

/// An instant to the microsecond, which is what PostgreSQL keeps: so an answer to a command shows the same time
/// as a later read.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    let micros = at.nanosecond() / 1000 % 1_000_000;
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(micros * 1000).expect("less than a second of nanoseconds"),
    }
}
