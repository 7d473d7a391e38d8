//! A trip of a hotel, a car and a flight: a second choreography, written against the public API alone.
//!
//! | participant | if the trip does not come about |
//! |---|---|
//! | [`desk`] | takes the trip, says when all is ready for the ticket, and how it ended |
//! | [`hotel`] | the room is given back, **for a fee** |
//! | [`car`] | the car is given back, for nothing |
//! | [`flight`] | **a ticket cannot be given back**: it is bought last, and then nothing turns the trip back |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The airline's stand-in, which knows nothing of us.
pub mod airline;
/// Cars, which are given back for nothing.
pub mod car;
/// The whole that nobody leads.
pub mod choreography;
/// What the participants tell each other.
pub mod contracts;
/// The traveller's side.
pub mod desk;
/// The ticket, which cannot be given back.
pub mod flight;
/// Rooms, which are given back for a fee.
pub mod hotel;
/// What the services with an API share.
mod http;
/// Everything on this machine.
pub mod local;

pub use airline::Books;
pub use car::{Cars, Rental};
pub use choreography::choreography;
pub use contracts::{Plan, TripId, euros};
pub use desk::{Booking, Desk, Trip};
pub use flight::{BuyTicket, Flights, Withdraw};
pub use hotel::{Hotels, Open, Stay};
