//! The adapter to the payment provider's HTTP API: what [`crate::participant::effects`] asks of a provider,
//! said in its words.
//!
//! What counts as an answer, and what does not:
//!
//! | the provider says | that is |
//! |---|---|
//! | 2xx with a final status | the answer, with the amount of its books |
//! | 2xx with `processing`, or a body that cannot be read | no answer |
//! | 400 `invalid_request` to a charge or page | a refusal: nothing was booked, and the same body never will be |
//! | 404 `not_found` to a question | "not there", which is not "no" |
//! | 409 `idempotency_key_in_use`, 425, 429, 5xx, a lost connection, a timeout | no answer; `Retry-After` is heeded |
//! | 422 `idempotency_key_reused` | something else was booked under the key: the books are asked what |
//! | 409 `refund_exceeds_charge` | it may have been given back before: the books are asked |
//! | 401, 403 | no answer, and an error in the log: our key is wrong, which says nothing about any payment |
//! | any other 4xx, or one without a code of the provider's | no answer: something between us may have said it |
//!
//! What is not an answer is tried again under the effect's policy. At its end stands a question, and after
//! that a [`Close`](crate::participant::effects::Close); so a refusal that is wrongly not taken for one costs
//! time, and never money.

use std::time::Duration;

use quadrille_process::config::{Env, Secret};
use reqwest::Url;
use saga_core::{Currency, Money};
use saga_runtime::Failure;
use serde::Deserialize;

use self::client::Client;

/// Requests and answers.
mod client;

/// Charges a card, and asks what became of it.
mod charge;
/// Shuts the door, for what is there and for what may still arrive.
mod close;
/// Opens a page, and asks what became of it.
mod page;
/// Gives money back.
mod refund;

/// ISO 4217's code for "no currency": what stands in the provider's books under it is nobody's money.
const NO_CURRENCY: &str = "XXX";

/// How to reach the provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Where its API is, without `/v1`.
    pub url: Url,
    /// Our key.
    pub key: Secret<String>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

/// Performs every effect of the payment participant.
#[derive(Clone, Debug)]
pub struct Provider {
    client: Client,
}

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The key cannot be sent.
    #[error("the provider's key holds characters that a header cannot hold")]
    Key,
    /// The client cannot be made.
    #[error("making the provider's client")]
    Client(#[source] reqwest::Error),
}

impl ProviderConfig {
    /// Reads `PROVIDER_URL`, `PROVIDER_KEY` and `PROVIDER_CONNECT_TIMEOUT_MS`.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        const URL: &str = "http[s]://host[:port]";
        let url = env.required::<Url>("PROVIDER_URL", URL);
        let key = env.secret("PROVIDER_KEY", "bearer token of the provider's API");
        let connect_timeout = env.duration_ms("PROVIDER_CONNECT_TIMEOUT_MS", Duration::from_secs(3));
        if let Some(url) = &url
            && !(matches!(url.scheme(), "http" | "https") && url.has_host())
        {
            env.problem("PROVIDER_URL", Some(url.as_str()), URL);
        }
        Some(Self {
            url: url?,
            key: key?,
            connect_timeout,
        })
    }
}

impl Provider {
    /// `connections` is how many calls are made at the same time: so many connections are kept open.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn new(config: &ProviderConfig, connections: usize) -> Result<Self, ProviderError> {
        Ok(Self {
            client: Client::new(config, connections)?,
        })
    }
}

/// An amount in an answer.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Amount {
    amount_minor: i64,
    currency: Currency,
}

impl From<Amount> for Money {
    fn from(amount: Amount) -> Money {
        Money::new(amount.amount_minor, amount.currency)
    }
}

/// The provider says something that is not final, or that we do not know.
fn not_final(what: &'static str, status: impl std::fmt::Debug) -> Failure {
    Failure::new(format_args!("the provider says that the {what} is {status:?}"))
}
