use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use metrics::{counter, gauge};
use quadrille_process::Chain;
use quadrille_process::webhook::{self, WebhookSecret};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::store::{Due, Store};

/// One attempt may take so long; a merchant should answer before he works.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A claimed webhook is due again after this, should we die with it. Longer than an attempt.
const LEASE: Duration = Duration::from_secs(20);
/// Attempts at the same time.
const WIDTH: i64 = 32;
const IDLE: Duration = Duration::from_millis(250);
/// The wait doubles so often and no further.
const DOUBLINGS: u32 = 6;

/// Sends what is due, at least once each, until it is taken or given up.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) secret: WebhookSecret,
    pub(crate) retry: Duration,
    pub(crate) attempts_max: i32,
    /// Rung when a webhook was written, so that it need not wait for the next round.
    pub(crate) bell: Arc<Notify>,
    /// What is not sent. Locked while webhooks are claimed: who changed it knows that no claim of before is still under
    /// way, so that a webhook written after "held" was answered is held.
    pub(crate) held: Arc<Mutex<Held>>,
}

/// What a test wants to be late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// All webhooks.
    pub(crate) all: bool,
    /// Those about these references.
    pub(crate) references: BTreeSet<String>,
}

/// The client that webhooks are sent with. A redirect is a failure, as the specification asks.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("quadrille-payment-sandbox/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl Sender {
    /// Runs until it is told to stop; an attempt under way is finished.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let sent = match self.round().await {
                Ok(sent) => sent,
                Err(error) => {
                    tracing::warn!(cause = %Chain(&error), "no webhooks could be sent");
                    0
                }
            };
            if sent == 0 {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.bell.notified() => {}
                    () = tokio::time::sleep(IDLE) => {}
                }
            } else if stop.is_cancelled() {
                return;
            }
        }
    }

    async fn round(&self) -> Result<usize, crate::store::StoreError> {
        let due = self.claim().await?;
        let sent = due.len();
        for outcome in join_all(due.iter().map(|due| self.attempt(due))).await {
            outcome?;
        }
        if sent > 0 {
            let pending = self.store.webhooks_pending().await?;
            gauge!("sandbox_webhooks_pending").set(f64::from(i32::try_from(pending).unwrap_or(i32::MAX)));
        }
        Ok(sent)
    }

    async fn claim(&self) -> Result<Vec<Due>, crate::store::StoreError> {
        let held = self.held.lock().await;
        if held.all {
            return Ok(Vec::new());
        }
        let references: Vec<String> = held.references.iter().cloned().collect();
        self.store.claim_webhooks(LEASE, WIDTH, &references).await
    }

    async fn attempt(&self, due: &Due) -> Result<(), crate::store::StoreError> {
        match self.post(due).await {
            Ok(status) => {
                counter!("sandbox_webhook_attempts_total", "outcome" => "taken").increment(1);
                self.store.webhook_delivered(due.id, &status).await
            }
            Err(answer) => {
                counter!("sandbox_webhook_attempts_total", "outcome" => "failed").increment(1);
                let again_in = self.pause(due.attempts);
                match again_in {
                    Some(pause) => tracing::info!(
                        webhook = %due.id, attempt = due.attempts, answer, again_in_ms = pause.as_millis(),
                        "webhook was not taken"
                    ),
                    None => {
                        tracing::warn!(webhook = %due.id, attempts = due.attempts, answer, "webhook is given up")
                    }
                }
                self.store.webhook_failed(due.id, again_in, &answer).await
            }
        }
    }

    /// What the merchant answered; an error is anything but success.
    async fn post(&self, due: &Due) -> Result<String, String> {
        let id = due.id.to_string();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let answer = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header(
                webhook::SIGNATURE,
                webhook::sign(&self.secret, &id, now, due.body.as_bytes()),
            )
            .header(webhook::TIMESTAMP, now)
            .header(webhook::ID, id)
            .body(due.body.clone())
            .send()
            .await
            .map_err(|error| Chain(&error.without_url()).to_string())?;
        let status = answer.status();
        if status.is_success() {
            Ok(status.to_string())
        } else {
            Err(status.to_string())
        }
    }

    fn pause(&self, attempts: i32) -> Option<Duration> {
        if attempts >= self.attempts_max {
            return None;
        }
        let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(DOUBLINGS);
        Some(self.retry * 2_u32.pow(doublings))
    }
}
