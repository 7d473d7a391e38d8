//! The airline's stand-in: another company, which knows nothing of sagas, reached over HTTP like a real one.
//!
//! It keeps the three promises that [`flight`](crate::flight) is built on: one ticket per reference, however often it is
//! asked for; a reference that was withdrawn never gets one; and what it has answered stays so. Its books are in
//! memory. The model runs the same books.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use quadrille_process::config::Env;
use quadrille_process::{Failure, Process};
use saga_core::{Currency, Money};
use serde::{Deserialize, Serialize};

/// What the airline knows, by its customers' references.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Books {
    entries: BTreeMap<String, Entry>,
}

/// What became of one reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Entry {
    /// A ticket was sold. It cannot be given back.
    Issued {
        /// Its number.
        ticket: String,
        /// What it costs.
        fare: Money,
    },
    /// There was none to be had.
    Refused {
        /// Why.
        code: String,
    },
    /// Nobody wants it any more.
    Withdrawn,
}

/// A seat of this flight costs so much.
const FARE: Money = Money::new(19_900, Currency::EUR);

/// Every seat of this flight is sold.
pub const SOLD_OUT: &str = "QD 0";

/// The airline sells a seat of this flight, and its first answer is lost on the way.
pub const SILENT: &str = "QD 13";

impl Books {
    /// Sells a ticket, if there is one to be had, or says what became of the reference.
    pub fn sell(&mut self, reference: &str, available: bool) -> &Entry {
        let number = self.entries.len() + 1;
        let entry = match available {
            true => Entry::Issued {
                ticket: format!("T-{number:04}"),
                fare: FARE,
            },
            false => Entry::Refused {
                code: "sold_out".into(),
            },
        };
        self.entries.entry(reference.to_owned()).or_insert(entry)
    }

    /// Makes sure that no ticket will be sold under a reference, or says that one was.
    pub fn withdraw(&mut self, reference: &str) -> &Entry {
        self.entries
            .entry(reference.to_owned())
            .or_insert(Entry::Withdrawn)
    }

    /// All that may come of somebody's wish: the books afterwards, and the answer.
    pub fn may_sell<A: From<Entry>>(&self, reference: &str) -> Vec<(Self, A)> {
        let way = |available| {
            let mut books = self.clone();
            let answer = books.sell(reference, available).clone().into();
            (books, answer)
        };
        vec![way(true), way(false)]
    }

    /// The same of a withdrawal.
    pub fn may_withdraw<A: From<Entry>>(&self, reference: &str) -> Vec<(Self, A)> {
        let mut books = self.clone();
        let answer = books.withdraw(reference).clone().into();
        vec![(books, answer)]
    }

    /// What became of a reference.
    pub fn entry(&self, reference: &str) -> Option<&Entry> {
        self.entries.get(reference)
    }

    /// Whether somebody flies under a reference.
    pub fn has_sold(&self, reference: &str) -> bool {
        matches!(self.entry(reference), Some(Entry::Issued { .. }))
    }
}

/// What somebody wants to fly with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// Who.
    pub passenger: String,
    /// Where.
    pub flight: String,
}

type Shared = Arc<Mutex<Books>>;

/// Where the stand-in listens.
pub fn read(env: &mut Env) -> Option<SocketAddr> {
    env.required("LISTEN", "address:port of the airline's API")
}

/// Sells tickets until it is told to stop.
///
/// # Errors
/// If the port is not to be had.
pub async fn serve(listen: SocketAddr, process: Process) -> Result<(), Failure> {
    let router = Router::new()
        .route("/tickets", get(all))
        .route("/tickets/{reference}", put(sell))
        .route("/tickets/{reference}/withdrawal", post(withdraw))
        .with_state(Shared::default());
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(Failure::unavailable)?;
    axum::serve(listener, router)
        .with_graceful_shutdown(process.shutdown.cancelled_owned())
        .await?;
    Ok(())
}

async fn sell(
    State(books): State<Shared>,
    Path(reference): Path<String>,
    Json(wish): Json<Wish>,
) -> Result<Json<Entry>, StatusCode> {
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = books.entry(&reference).is_none();
    let entry = books.sell(&reference, wish.flight != SOLD_OUT).clone();
    match wish.flight == SILENT && is_first {
        true => Err(StatusCode::GATEWAY_TIMEOUT),
        false => Ok(Json(entry)),
    }
}

async fn withdraw(State(books): State<Shared>, Path(reference): Path<String>) -> Json<Entry> {
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    Json(books.withdraw(&reference).clone())
}

async fn all(State(books): State<Shared>) -> Json<Books> {
    let books = books.lock().unwrap_or_else(PoisonError::into_inner);
    Json(books.clone())
}
