//! Every step of a trip against every fault, with real processes: a sample here, the whole with `just trip-certificate`.

use anyhow::{Result, ensure};
use local_stack::Addresses;
use quadrille_process::fault::Point;
use reqwest::{Client, RequestBuilder};
use saga_proof::certificate::{self, Certified, Path, Saga, Setting, Words};
use saga_proof::stage::{Part, Parts, System, wait::until};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Name, what happens, what is wanted of hotel, rental and airline, and how desk, hotel, rental and flight see the end.
type Row = (&'static str, &'static str, [&'static str; 3], [&'static str; 4]);
#[rustfmt::skip]
const PATHS: [Row; 7] = [
    ("booked",    "Room and car are held, then the ticket is bought.", ["Alpenhof", "van", "QD 7"],  TAKES_PLACE),
    ("silent",    "As booked; the airline's first answer is lost.",    ["Alpenhof", "van", "QD 13"], TAKES_PLACE),
    ("sold_out",  "No seat: all else is given back.",                  ["Alpenhof", "van", "QD 0"],  REFUSED),
    ("full",      "No room: the car is given back.",                   ["Nowhere", "van", "QD 7"],   NO_ROOM),
    ("no_car",    "No car: the room is given back for a fee.",         ["Alpenhof", "yacht", "QD 7"], NO_CAR),
    ("cancelled", "The traveller cancels before there is a car.",      ["Alpenhof", "van", "QD 7"],  IS_OFF),
    ("overdue",   "There is no car before the desk's deadline.",       ["Alpenhof", "van", "QD 7"],  IS_OFF),
];
const TAKES_PLACE: [&str; 4] = ["confirmed", "kept", "kept", "ticketed"];
const REFUSED: [&str; 4] = ["settled", "cancelled", "released", "refused"];
const NO_ROOM: [&str; 4] = ["settled", "refused", "released", "-"];
const NO_CAR: [&str; 4] = ["settled", "cancelled", "refused", "-"];
const IS_OFF: [&str; 4] = ["settled", "cancelled", "released", "-"];
const STATUS: [(&str, &str); 4] = [
    ("desk", "select state->>'status' from trip where key = $1"),
    ("hotel", "select state->>'status' from stay where key = $1"),
    ("car", "select state->>'status' from rental where key = $1"),
    ("flight", "select state->>'status' from seat where key = $1"),
];

struct Trips(System, Client);

impl Trips {
    async fn connection(&self, database: &str) -> Result<PgConnection> {
        let mut databases = self.0.databases();
        let (_, url) = databases
            .find(|(name, _)| name == database)
            .expect("a database of ours");
        Ok(PgConnection::connect(&url).await?)
    }
}

impl Certified for Trips {
    const WORDS: Words = Words {
        saga: "trip saga",
        command: "just trip-certificate",
        books: "all four agree on how the trip ended, and a ticket was sold if and only if it takes place",
        ..Words::PLAIN
    };
    const NEVER: &'static [(&'static [Point], &'static str)] = &[(
        &[Point::WebhookBeforeNote, Point::WebhookAfterNote],
        "the airline calls nobody back",
    )];

    fn paths() -> Vec<Path> {
        PATHS.map(|(name, story, ..)| Path::new(name, story)).into()
    }

    async fn open(servers: &Addresses) -> Result<Self> {
        let parts = Parts::of_workspace(env!("CARGO_MANIFEST_DIR"))
            .of_program("trip")
            .topics(trip::contracts::TOPICS)
            .with(Part::stranger("airline").listening("LISTEN"))
            .with(Part::service("desk").listening("LISTEN"))
            .with(Part::service("hotel").listening("LISTEN"))
            .with(Part::service("car"))
            .with(Part::service("flight").set("AIRLINE_URL", "http://{airline}/"));
        let trips = Self(System::start(servers, parts).await?, Client::new());
        let euros = |euros: i64| saga_core::Money::new(100 * euros, saga_core::Currency::EUR);
        let hotel = json!({"rooms": 1_000_000, "price": euros(120), "fee": euros(30)});
        ask(trips
            .1
            .put(trips.0.address("hotel") + "/hotels/Alpenhof")
            .json(&hotel))
        .await?;
        Ok(trips)
    }

    fn setting(&self) -> Setting<'_> {
        self.0.setting()
    }

    async fn walk(&self, Saga { path, key, .. }: &Saga) -> Result<()> {
        let (_, _, [hotel, car, flight], _) = row(path);
        let trip = format!("{}/trips/{key}", self.0.address("desk"));
        let plan = json!({"passenger": "Ada", "hotel": hotel, "nights": 2, "car": car, "flight": flight});
        // Who holds the row of a car keeps it from being rented, for as long as something has to come before that.
        // On a connection of his own: so long nobody else could have it.
        let mut rental = None;
        if ["cancelled", "overdue"].contains(path) {
            let mut holder = self.connection("car").await?;
            holder.execute("begin").await?;
            let held = sqlx::query("insert into rental (key) values ($1)").bind(key);
            held.execute(&mut holder).await?;
            rental = Some(holder);
        }
        until("the booking", async || ask(self.1.put(&trip).json(&plan)).await).await?;
        if *path == "cancelled" {
            until("the cancel", async || ask(self.1.delete(&trip)).await).await?;
        } else if *path == "overdue" {
            let due = sqlx::query("update saga.timer set due_at = now() where saga = $1").bind(key);
            due.execute(self.0.database("desk")).await?;
        }
        let comes_to = async |status: [&'static str; 2]| {
            until("the trip to end", async || {
                let trip = ask(self.1.get(&trip)).await?;
                ensure!(status.iter().any(|status| trip["status"] == *status), "{trip}");
                Ok(())
            })
            .await
        };
        if let Some(holder) = rental {
            comes_to(["cancelled", "settled"]).await?;
            holder.close().await?;
        }
        comes_to(["confirmed", "settled"]).await
    }

    async fn balance(&self, Saga { path, key, .. }: &Saga) -> Result<Vec<String>> {
        let (.., wanted) = row(path);
        let mut wrong = Vec::new();
        for ((service, status), wanted) in STATUS.into_iter().zip(wanted) {
            let found = sqlx::query_scalar(status).bind(key);
            let found: Option<String> = found.fetch_optional(self.0.database(service)).await?;
            if found.as_deref().unwrap_or("-") != wanted {
                wrong.push(format!("{service} has it as {found:?} and not as {wanted}"));
            }
        }
        let tickets = ask(self.1.get(self.0.address("airline") + "/tickets")).await?;
        if (tickets[key]["status"] == "issued") != (wanted == TAKES_PLACE) {
            wrong.push(format!("the airline has it as {}", tickets[key]));
        }
        Ok(wrong)
    }
}

fn row(path: &str) -> Row {
    *PATHS.iter().find(|row| row.0 == path).expect("a path of ours")
}

async fn ask(request: RequestBuilder) -> Result<Value> {
    Ok(request.send().await?.error_for_status()?.json().await?)
}

#[test]
fn a_sample_of_the_certificate() -> Result<()> {
    certificate::sample::<Trips>()
}

#[test]
#[ignore = "minutes: just trip-certificate"]
fn the_whole_certificate() -> Result<()> {
    certificate::whole::<Trips>(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/certificate.md").as_ref())
}
