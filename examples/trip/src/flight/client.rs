use reqwest::{RequestBuilder, Url};
use saga_runtime::{Call, Failure, Perform};

use super::{Bought, BuyTicket, Withdraw, Withdrawn};
use crate::airline::{Entry, Wish};

/// The airline, over HTTP. Only what can no longer change is an answer; everything else is tried again.
#[derive(Clone, Debug)]
pub struct Airline {
    http: reqwest::Client,
    url: Url,
}

impl Airline {
    /// The one at this address.
    pub fn at(url: Url) -> Self {
        Self {
            http: reqwest::Client::new(),
            url,
        }
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        self.url.join(path).map_err(Failure::new)
    }
}

impl Perform<BuyTicket> for Airline {
    async fn perform(&self, call: Call<BuyTicket>) -> Result<Bought, Failure> {
        let BuyTicket {
            trip_id,
            passenger,
            flight,
        } = call.effect;
        let url = self.url(&format!("tickets/{trip_id}"))?;
        let request = self.http.put(url).json(&Wish { passenger, flight });
        send(request).await.map(Bought::from)
    }
}

impl Perform<Withdraw> for Airline {
    async fn perform(&self, call: Call<Withdraw>) -> Result<Withdrawn, Failure> {
        let url = self.url(&format!("tickets/{}/withdrawal", call.effect.trip_id))?;
        send(self.http.post(url)).await.map(Withdrawn::from)
    }
}

async fn send(request: RequestBuilder) -> Result<Entry, Failure> {
    let response = request.send().await.and_then(reqwest::Response::error_for_status);
    let response = response.map_err(|error| Failure::new(error.without_url()))?;
    response
        .json()
        .await
        .map_err(|error| Failure::new(error.without_url()))
}

impl From<Entry> for Bought {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Issued { ticket, fare } => Bought::Issued { ticket, fare },
            Entry::Refused { code } => Bought::Refused { code },
            Entry::Withdrawn => Bought::Refused {
                code: "withdrawn".to_owned(),
            },
        }
    }
}

impl From<Entry> for Withdrawn {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Issued { ticket, fare } => Withdrawn::Issued { ticket, fare },
            Entry::Refused { .. } | Entry::Withdrawn => Withdrawn::Withdrawn,
        }
    }
}
