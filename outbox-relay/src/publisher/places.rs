use saga_core::position::Position;

use crate::outbox::window::Window;

/// Whether a position that consumers know is one of an earlier window.
pub(super) fn is_before(place: Position, window: &Window) -> bool {
    (place.epoch, i64::try_from(place.window).unwrap_or(i64::MAX)) < (window.epoch, window.number)
}

/// Whether a position that consumers know is one of the window's.
pub(super) fn is_of(place: Position, window: &Window) -> bool {
    place.epoch == window.epoch && i64::try_from(place.window) == Ok(window.number)
}

/// Whether a position that consumers know is one of a later window.
pub(super) fn is_after(place: Position, window: &Window) -> bool {
    !is_before(place, window) && !is_of(place, window)
}

/// As consumers know it.
pub(super) fn position_in(window: &Window, position: i64) -> Position {
    // Neither is ever negative: a clock in microseconds, and a sequence.
    Position::new(
        window.epoch,
        u64::try_from(window.number).unwrap_or(0),
        u64::try_from(position).unwrap_or(0),
    )
}

pub(super) fn position_of(place: Position) -> i64 {
    i64::try_from(place.position).unwrap_or(0)
}
