//! Three trips, told: one that takes place, one that does not and costs a fee, one whose ticket was sold silently.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Url};
use saga_core::{Currency, Money};
use serde_json::{Value, json};
use trip::airline;
use trip::hotel::service::NewHotel;
use trip::local::Local;
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
    let euros = |euros: i64| Money::new(100 * euros, Currency::EUR);
    let (price, fee) = (euros(120), euros(30));
    println!(
        "{} opens: 2 rooms at {price} a night; to give one back costs {fee}",
        stage.house
    );
    stage.open(&NewHotel { rooms: 2, price, fee }).await?;

    println!("\n1. Ada books two nights, a compact car and flight QD 7");
    stage.travel("Ada", "QD 7", "confirmed").await?;

    println!(
        "\n2. Bob wants to fly with {}, which is sold out: the ticket comes last, so all else is undone",
        airline::SOLD_OUT
    );
    stage.travel("Bob", airline::SOLD_OUT, "settled").await?;

    println!(
        "\n3. Cleo flies with {}: the airline sells the ticket, and its answer is lost",
        airline::SILENT
    );
    stage.travel("Cleo", airline::SILENT, "confirmed").await?;

    println!("\nthe books");
    let house = stage.settled_books().await?;
    println!(
        "   {}: {} rooms = {} free + {} booked + {} kept",
        stage.house, house["rooms"], house["free"], house["booked"], house["kept"]
    );
    ensure!(house["kept"] == 2, "the hotel's books do not balance: {house}");
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

    /// Books a trip, and tells what becomes of it.
    async fn travel(&self, passenger: &str, flight: &str, end: &str) -> Result<()> {
        let id = Uuid::new_v4();
        let path = format!("trips/{id}");
        let plan = json!({
            "passenger": passenger, "hotel": self.house, "nights": 2, "car": "compact", "flight": flight,
        });
        let answer = self.http.put(self.desk.join(&path)?).json(&plan).send().await?;
        ensure!(
            answer.status().is_success(),
            "it is refused: {}",
            answer.text().await?
        );
        println!("   PUT /{path}");
        let (begun, mut told) = (Instant::now(), String::new());
        loop {
            let trip = self.show("desk", &self.desk, &path).await?;
            let line = line(&trip);
            if line != told {
                println!("   {:>5} ms  {line}", begun.elapsed().as_millis());
                told = line;
            }
            if trip["status"] == end {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "it does not come to '{end}': {trip}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let tickets = self.show("airline", &self.airline, "tickets").await?;
        println!("   the airline has: {}", tickets[id.to_string()]);
        Ok(())
    }

    /// The hotel's books, once it has heard how each trip ended.
    async fn settled_books(&self) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let house = self
                .show("hotel", &self.hotel, &format!("hotels/{}", self.house))
                .await?;
            if house["booked"] == 0 {
                return Ok(house);
            }
            ensure!(begun.elapsed() < PATIENCE, "a room is still held: {house}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn show(&self, who: &str, url: &Url, path: &str) -> Result<Value> {
        let answer = self.http.get(url.join(path)?).send().await?.error_for_status();
        answer
            .with_context(|| format!("ask {who}"))?
            .json()
            .await
            .map_err(Into::into)
    }
}

fn line(trip: &Value) -> String {
    let money = |value: &Value| {
        serde_json::from_value::<Money>(value.clone())
            .map_or_else(|_| "–".to_owned(), |money| money.to_string())
    };
    match trip["status"].as_str().unwrap_or_default() {
        "gathering" => format!(
            "gathering   hotel {}, car {}",
            money(&trip["hotel"]),
            money(&trip["car"])
        ),
        "ticketing" => format!(
            "ticketing   hotel {}, car {}",
            money(&trip["hotel"]),
            money(&trip["car"])
        ),
        "confirmed" => format!(
            "confirmed   hotel {}, car {}, flight {}",
            money(&trip["bill"]["hotel"]),
            money(&trip["bill"]["car"]),
            money(&trip["bill"]["flight"])
        ),
        "cancelled" => format!("cancelled   {}", trip["reason"].as_str().unwrap_or_default()),
        "settled" => format!(
            "settled     {}, and the hotel wants {}",
            trip["reason"].as_str().unwrap_or_default(),
            money(&trip["fee"])
        ),
        other => other.to_owned(),
    }
}
