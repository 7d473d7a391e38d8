//! The proof of the trip: every interleaving under faults, the choreography drawn and checked, yesterday's trips against
//! today's decisions, and an audit of what the topics held.

use std::error::Error;

use saga_core::{Currency, Money};
use saga_proof::audit::Audit;
use saga_proof::model::{Faults, Model, Saga};
use saga_proof::page;
use saga_proof::record::Recorded;
use trip::airline::{Books, Entry};
use trip::car::{Cars, Rental};
use trip::choreography::choreography;
use trip::contracts::{Plan, TripId};
use trip::desk::{self, Booking, Desk, Trip};
use trip::flight::{BuyTicket, Flights, Withdraw};
use trip::hotel::{self, Hotels, Open, Stay};

/// One trip for each of these cars; all of them want the only room of a hotel.
fn trips(cars: &[&str], faults: Faults) -> Model<Books> {
    let [price, fee] = [120, 30].map(|euros| Money::new(100 * euros, Currency::EUR));
    let open = Open {
        hotel: "Alpenhof".to_owned(),
        rooms: 1,
        price,
        fee,
    };
    let model = Model::new("trip", Books::default())
        .participant(Desk::default())
        .participant(Hotels)
        .participant(Cars::default())
        .participant(Flights)
        .effect(|airline: &Books, call: &BuyTicket| airline.may_sell(&call.trip_id.to_string()))
        .effect(|airline: &Books, call: &Withdraw| airline.may_withdraw(&call.trip_id.to_string()))
        .before::<Hotels>(hotel::In::Open(open))
        .command::<Desk>("the traveller cancels", |trip| Some(desk::In::Cancel(trip.key())))
        .faults(faults)
        .always("every room is somewhere", |trip| {
            let booked = |trip: &Saga<'_, Books>| matches!(trip.of::<Hotels>(), Stay::Booked { .. });
            let house = trip.shared::<Hotels>(&"Alpenhof".to_owned()).expect("it is open");
            house.balances() && u32::try_from(trip.all().filter(booked).count()) == Ok(house.booked)
        })
        .always("nobody flies if it is off", |trip| !is_off(trip) || !flies(trip))
        .at_rest("a fee is for a room that was held", |trip| {
            !is_off(trip) || has_fee(trip) == (trip.told("hotel.booked") > 0)
        })
        .ends(|trip| match (trip.of::<Hotels>(), trip.of::<Cars>()) {
            (Stay::Kept, Rental::Kept) => flies(trip) && !is_off(trip),
            (Stay::Cancelled | Stay::Refused, Rental::Released | Rental::Refused) => is_off(trip),
            _ => false,
        });
    (1..).zip(cars).fold(model, |model, (n, car)| {
        let trip_id = TripId(uuid::Uuid::from_u128(n));
        let plan = Plan {
            passenger: "Ada".to_owned(),
            hotel: "Alpenhof".to_owned(),
            nights: 2,
            car: (*car).to_owned(),
            flight: "QD 7".to_owned(),
        };
        model.saga::<Desk>(trip_id, desk::In::Book(Booking { trip_id, plan }))
    })
}

fn is_off(trip: Saga<'_, Books>) -> bool {
    matches!(trip.of::<Desk>(), Trip::Cancelled { .. } | Trip::Settled { .. })
}

fn has_fee(trip: Saga<'_, Books>) -> bool {
    matches!(trip.of::<Desk>(), Trip::Settled { fee: Some(_), .. })
}

fn flies(trip: Saga<'_, Books>) -> bool {
    let ticket = trip.outside().entry(&trip.key::<TripId>().to_string());
    matches!(ticket, Some(Entry::Issued { .. }))
}

#[test]
fn every_interleaving_ends_well_and_the_choreography_is_sound() -> Result<(), Box<dyn Error>> {
    let one = trips(&["van"], Faults::USUAL)
        .comes_to("it takes place", |trip| trip.told("trip.confirmed") == 1)
        .comes_to("it is off, for a fee", has_fee)
        .comes_to("the airline is silent", |trip| trip.is_parked());
    let two = trips(&["van", "yacht"], Faults::NONE)
        .comes_to("the hotel is full", |trip| trip.told("hotel.refused") == 1);
    let mut seen = one.check()?.observed;
    seen.merge(two.check()?.observed);
    choreography().check(&seen)?;
    page::draw("choreography.md", &choreography(), &seen)?;
    Ok(page::data("choreography.json", &choreography(), &seen)?)
}

#[test]
fn recorded_trips_are_decided_as_they_were_and_nothing_of_them_is_lost() -> Result<(), Box<dyn Error>> {
    let recorded = Recorded::in_folder("recorded")?;
    recorded.replay(&Desk::default())?;
    recorded.replay(&Hotels)?;
    recorded.replay(&Cars::default())?;
    recorded.replay(&Flights)?;
    let audit = Audit::of("trip.requested")
        .ends_with("trip.confirmed")
        .ends_with("trip.settled")
        .holds("who flies travels", |trip| {
            trip.has("flight.ticketed") == trip.has("trip.confirmed")
        });
    assert!(audit.check(&recorded)?.ended > 0);
    Ok(())
}
