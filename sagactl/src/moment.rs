//! Times for people.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use prost_types::Timestamp;

/// From an answer.
pub(crate) fn from_wire(wire: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let wire = wire?;
    DateTime::from_timestamp(wire.seconds, u32::try_from(wire.nanos).ok()?)
}

/// For a cell of a table: `2026-08-01T12:00:00Z`.
pub(crate) fn cell(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// Since the beginning of something: `+0.041 s`, `+2 min 03 s`.
pub(crate) fn after(delta: TimeDelta) -> String {
    let ms = delta.num_milliseconds();
    let (sign, ms) = if ms < 0 { ('-', -ms) } else { ('+', ms) };
    if ms < 100_000 {
        return format!("{sign}{}.{:03} s", ms / 1000, ms % 1000);
    }
    format!("{sign}{}", span(TimeDelta::milliseconds(ms)))
}

/// A time span, with as much of it as anybody wants to know: `4 s`, `14 min 20 s`, `3 h 12 min`, `2 d 5 h`.
pub(crate) fn span(delta: TimeDelta) -> String {
    let s = delta.num_seconds().abs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {:02} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_say_what_matters() {
        let say = |s| span(TimeDelta::seconds(s));
        assert_eq!(say(0), "0 s");
        assert_eq!(say(-59), "59 s");
        assert_eq!(say(860), "14 min 20 s");
        assert_eq!(say(25 * 3600 - 1), "1 d 0 h");
        assert_eq!(say(11_520), "3 h 12 min");
        assert_eq!(after(TimeDelta::milliseconds(41)), "+0.041 s");
        assert_eq!(after(TimeDelta::milliseconds(-7)), "-0.007 s");
        assert_eq!(after(TimeDelta::seconds(123)), "+2 min 03 s");
    }
}
