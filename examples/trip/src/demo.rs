//! Three trips, told: one that takes place, one that does not and costs a fee, one whose ticket was sold silently.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Url};
use saga_core::{Money, Participant as _};
use serde::de::DeserializeOwned;
use trip::hotel::House;
use trip::hotel::service::NewHotel;
use trip::local::Local;
use trip::{Books, Desk, Plan, Trip, airline, euros};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn play(local: &Local) -> Result<()> {
    let stage = Stage {
        http: Client::new(),
        desk: local.desk.clone(),
        hotel: local.hotel.clone(),
        airline: local.airline.clone(),
        house: format!("Alpenhof {}", &Uuid::new_v4().simple().to_string()[..6]),
    };
    let (price, fee) = (euros(120), euros(30));
    println!(
        "{} opens: 2 rooms at {price} a night; to give one back costs {fee}",
        stage.house
    );
    stage.open(&NewHotel { rooms: 2, price, fee }).await?;

    println!("\n1. Ada books two nights, a compact car and flight QD 7");
    stage.travel("Ada", "QD 7", true).await?;

    println!(
        "\n2. Bob wants to fly with {}, which is sold out: the ticket comes last, so all else is undone",
        airline::SOLD_OUT
    );
    stage.travel("Bob", airline::SOLD_OUT, false).await?;

    println!(
        "\n3. Cleo flies with {}: the airline sells the ticket, and its answer is lost",
        airline::SILENT
    );
    stage.travel("Cleo", airline::SILENT, true).await?;

    println!("\nthe books");
    let house = stage.settled_books().await?;
    println!(
        "   {}: {} rooms = {} free + {} booked + {} kept",
        stage.house, house.rooms, house.free, house.booked, house.kept
    );
    ensure!(
        house.kept == 2 && house.balances(),
        "the hotel's books do not balance: {house:?}"
    );
    Ok(())
}

struct Stage {
    http: Client,
    desk: Url,
    hotel: Url,
    airline: Url,
    house: String,
}

impl Stage {
    async fn open(&self, hotel: &NewHotel) -> Result<()> {
        let url = self.hotel.join(&format!("hotels/{}", self.house))?;
        let answer = self.http.put(url).json(hotel).send().await?;
        ensure!(
            answer.status().is_success(),
            "the hotel does not open: {}",
            answer.text().await?
        );
        Ok(())
    }

    /// Books a trip, and tells what becomes of it; it has to take place, or not to.
    async fn travel(&self, passenger: &str, flight: &str, takes_place: bool) -> Result<()> {
        let id = Uuid::new_v4();
        let path = format!("trips/{id}");
        let plan = Plan::new(passenger, &self.house, 2, "compact", flight);
        let answer = self.http.put(self.desk.join(&path)?).json(&plan).send().await?;
        ensure!(
            answer.status().is_success(),
            "it is refused: {}",
            answer.text().await?
        );
        println!("   PUT /{path}");
        let (begun, mut told) = (Instant::now(), String::new());
        let trip = loop {
            let trip: Trip = self.show("desk", &self.desk, &path).await?;
            let line = line(&trip);
            if line != told {
                println!("   {:>5} ms  {line}", begun.elapsed().as_millis());
                told = line;
            }
            if Desk::default().is_ended(&trip) {
                break trip;
            }
            ensure!(begun.elapsed() < PATIENCE, "it does not end: {trip:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let airline: Books = self.show("airline", &self.airline, "tickets").await?;
        let id = id.to_string();
        println!(
            "   the airline has: {}",
            serde_json::to_string(&airline.entry(&id))?
        );
        ensure!(
            trip.is_off() != takes_place && airline.has_sold(&id) == takes_place,
            "it ended otherwise than it should: {trip:?}"
        );
        Ok(())
    }

    /// The hotel's books, once it has heard how each trip ended.
    async fn settled_books(&self) -> Result<House> {
        let begun = Instant::now();
        loop {
            let path = format!("hotels/{}", self.house);
            let house: House = self.show("hotel", &self.hotel, &path).await?;
            if house.booked == 0 {
                return Ok(house);
            }
            ensure!(begun.elapsed() < PATIENCE, "a room is still held: {house:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn show<T: DeserializeOwned>(&self, who: &str, url: &Url, path: &str) -> Result<T> {
        let answer = self.http.get(url.join(path)?).send().await?.error_for_status();
        answer
            .with_context(|| format!("ask {who}"))?
            .json()
            .await
            .map_err(Into::into)
    }
}

fn line(trip: &Trip) -> String {
    let money = |money: Option<Money>| money.map_or_else(|| "–".to_owned(), |money| money.to_string());
    match trip {
        Trip::Absent => "absent".to_owned(),
        Trip::Gathering { hotel, car, .. } => {
            format!("gathering   hotel {}, car {}", money(*hotel), money(*car))
        }
        Trip::Ticketing { hotel, car, .. } => format!("ticketing   hotel {hotel}, car {car}"),
        Trip::Confirmed { bill, .. } => format!(
            "confirmed   hotel {}, car {}, flight {}",
            bill.hotel, bill.car, bill.flight
        ),
        Trip::Cancelled { reason, .. } => format!("cancelled   {reason:?}"),
        Trip::Settled { reason, .. } => {
            format!(
                "settled     {reason:?}, and the hotel wants {}",
                money(trip.fee())
            )
        }
    }
}
