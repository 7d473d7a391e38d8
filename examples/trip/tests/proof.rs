//! The proof of the trip: every interleaving under faults, the choreography drawn and checked, yesterday's trips against
//! today's decisions, and an audit of what the topics held.

use saga_proof::{Audit, Faults, Model, Recorded, Saga, Unproven, prove};
use trip::{Booking, Books, BuyTicket, Cars, Desk, Flights, Hotels, Open, Plan, Rental, Stay, Withdraw};
use trip::{choreography, desk, euros, hotel};

/// One trip for each of these cars; all of them want the only room of a hotel.
fn trips(cars: &[&str], faults: Faults) -> Model<Books> {
    let is_off = |trip: Saga<'_, Books>| trip.of::<Desk>().is_off();
    let flies = |trip: Saga<'_, Books>| trip.outside().has_sold(&trip.key::<String>());
    Model::new("trip", Books::default())
        .participants((Desk::default(), Hotels, Cars::default(), Flights))
        .effect(|airline: &Books, call: &BuyTicket| airline.may_sell(&call.trip_id.to_string()))
        .effect(|airline: &Books, call: &Withdraw| airline.may_withdraw(&call.trip_id.to_string()))
        .before::<Hotels>(hotel::In::Open(Open::new("Alpenhof", 1, euros(120), euros(30))))
        .sagas::<Desk, _>(cars, |trip_id, car| {
            let plan = Plan::new("Ada", "Alpenhof", 2, car, "QD 7");
            desk::In::Book(Booking { trip_id, plan })
        })
        .command::<Desk>("the traveller cancels", |trip| Some(desk::In::Cancel(trip.key())))
        .faults(faults)
        .always("every room is somewhere", |trip| {
            let booked = |trip: &Saga<'_, Books>| matches!(trip.of::<Hotels>(), Stay::Booked { .. });
            let house = trip.shared::<Hotels>(&"Alpenhof".to_owned()).expect("it is open");
            house.balances() && u32::try_from(trip.all().filter(booked).count()) == Ok(house.booked)
        })
        .always("nobody flies if it is off", move |trip| {
            !is_off(trip) || !flies(trip)
        })
        .at_rest("a fee is for a room that was held", move |trip| {
            trip.of::<Desk>().fee().is_some() == (is_off(trip) && trip.told("hotel.booked") > 0)
        })
        .ends(move |trip| match (trip.of::<Hotels>(), trip.of::<Cars>()) {
            (Stay::Kept, Rental::Kept) => flies(trip) && !is_off(trip),
            (Stay::Cancelled | Stay::Refused, Rental::Released | Rental::Refused) => is_off(trip),
            _ => false,
        })
}

#[test]
fn every_interleaving_ends_well_and_the_choreography_is_sound() -> Result<(), Unproven> {
    let one = trips(&["van"], Faults::USUAL)
        .comes_to("it takes place", |trip| trip.told("trip.confirmed") == 1)
        .comes_to("it is off, for a fee", |trip| trip.of::<Desk>().fee().is_some())
        .comes_to("the airline is silent", |trip| trip.is_parked());
    let two = trips(&["van", "yacht"], Faults::NONE)
        .comes_to("the hotel is full", |trip| trip.told("hotel.refused") == 1);
    prove("choreography.md", &choreography(), [one, two])
}

#[test]
fn recorded_trips_are_decided_as_they_were_and_nothing_of_them_is_lost() -> Result<(), Unproven> {
    let recorded = Recorded::in_folder("recorded")?;
    recorded.replay_all((&Desk::default(), &Hotels, &Cars::default(), &Flights))?;
    Audit::of("trip.requested")
        .ends_with("trip.confirmed")
        .ends_with("trip.settled")
        .together("flight.ticketed", "trip.confirmed")
        .check(&recorded)?;
    Ok(())
}
