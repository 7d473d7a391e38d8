use saga_core::testkit::given;
use uuid::Uuid;

use super::*;

const NEWCOMER: Newcomer = Newcomer { units_max: 3 };
const SAGA: SagaId = SagaId(Uuid::from_u128(1));

fn requested(units: u32) -> In {
    In::Requested(Requested { saga_id: SAGA, units })
}

fn cancelled() -> In {
    In::Cancelled(Cancelled { saga_id: SAGA })
}

#[test]
fn what_is_asked_for_is_reserved() {
    given(&NEWCOMER)
        .when(requested(3))
        .emits(&[Out::Reserved(Reserved {
            saga_id: SAGA,
            units: 3,
        })])
        .leaves(&Reservation::Reserved { units: 3 });
}

#[test]
fn nothing_and_too_much_are_refused() {
    for units in [0, 4] {
        given(&NEWCOMER)
            .when(requested(units))
            .emits(&[Out::Refused(Refused { saga_id: SAGA })])
            .leaves(&Reservation::Closed(Closing::Refused));
    }
}

#[test]
fn what_is_cancelled_is_released_once() {
    given(&NEWCOMER)
        .state(Reservation::Reserved { units: 2 })
        .when(cancelled())
        .emits(&[Out::Released(Released {
            saga_id: SAGA,
            units: 2,
        })])
        .leaves(&Reservation::Closed(Closing::Released))
        .and([])
        .when(cancelled())
        .emits(&[])
        .leaves(&Reservation::Closed(Closing::Released));
}

#[test]
fn a_cancel_that_comes_first_leaves_a_barrier() {
    given(&NEWCOMER)
        .when(cancelled())
        .emits(&[])
        .leaves(&Reservation::Closed(Closing::Released))
        .and([])
        .when(requested(1))
        .emits(&[])
        .leaves(&Reservation::Closed(Closing::Released));
}

#[test]
fn what_comes_twice_counts_once() {
    given(&NEWCOMER)
        .when(requested(1))
        .leaves(&Reservation::Reserved { units: 1 })
        .and([])
        .when(requested(1))
        .emits(&[])
        .leaves(&Reservation::Reserved { units: 1 });
}
