//! Where an event stands in the order of one outbox.
//!
//! A position is what an idempotent consumer remembers instead of one inbox row per message: it grows
//! along each partition and is the same after a crash of the relay.

use std::fmt;
use std::str::FromStr;

/// (epoch, window, position) of an event, compared in this order.
///
/// * `epoch` changes when the database's history does (restore, promotion);
/// * `window` numbers what one snapshot sees and the one before did not; it never goes back;
/// * `position` is drawn from a sequence while the aggregate's row is locked. On its own it is *not*
///   monotone across windows: a slow transaction draws early and commits late.
///
/// On the wire it is fixed-width hexadecimal, so that it sorts as text (`ce_sequence`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which history of the database the event belongs to.
    pub epoch: u32,
    /// The relay's window that published it.
    pub window: u64,
    /// The outbox row's own number.
    pub position: u64,
}

/// A `ce_sequence` that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not a position; expected EEEEEEEE-WWWWWWWWWWWWWWWW-PPPPPPPPPPPPPPPP in hexadecimal")]
pub struct Malformed {
    /// The text as it came.
    pub found: String,
}

impl Position {
    /// A position from its three parts.
    pub const fn new(epoch: u32, window: u64, position: u64) -> Self {
        Self {
            epoch,
            window,
            position,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08x}-{:016x}-{:016x}",
            self.epoch, self.window, self.position
        )
    }
}

impl FromStr for Position {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        parse(text).ok_or_else(|| Malformed {
            found: text.chars().take(64).collect(),
        })
    }
}

fn parse(text: &str) -> Option<Position> {
    // from_str_radix takes a sign, which would give one position two spellings.
    if text.len() != 42
        || !text
            .bytes()
            .all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return None;
    }
    let mut parts = text.split('-');
    let (epoch, window, position) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || epoch.len() != 8 || window.len() != 16 || position.len() != 16 {
        return None;
    }
    Some(Position {
        epoch: u32::from_str_radix(epoch, 16).ok()?,
        window: u64::from_str_radix(window, 16).ok()?,
        position: u64::from_str_radix(position, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_sorts_as_the_position_does() {
        let mut positions = [
            Position::new(1, 0, 0),
            Position::new(0, u64::MAX, 1),
            Position::new(0, 9, u64::MAX),
            Position::new(0, 10, 0),
        ];
        let mut texts: Vec<String> = positions.iter().map(ToString::to_string).collect();
        positions.sort();
        texts.sort();
        assert_eq!(
            texts,
            positions.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
    }

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let position = Position::new(3, 0x0006_1234_5678_9abc, 42);
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in [
            "",
            "1-2-3",
            "+0000003-0000000000000001-0000000000000001",
            "00000003-0000000000000001-000000000000000G",
        ] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
