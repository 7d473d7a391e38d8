use anyhow::{Context as _, Result, ensure};
use quadrille_contracts::{OrderId, PaymentId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::books::Entry;
use crate::environment::{PROVIDER_KEY, WEBHOOK_SECRET};
use crate::system::System;

/// The sandbox, as somebody sees it who works there: its books, its pages, and its bad days.
#[derive(Clone, Debug)]
pub struct Provider {
    http: reqwest::Client,
    url: String,
    webhook: String,
}

/// What a page or webhook is known by on our side.
pub fn reference(order: OrderId) -> String {
    PaymentId::of(order).to_string()
}

impl Provider {
    /// The provider of this shop.
    ///
    /// # Errors
    /// If there is no HTTP client to be made.
    pub fn of(system: &System) -> Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder()
                .timeout(std::time::Duration::from_secs(10))
                .build()?,
            url: system.address("payment-sandbox"),
            webhook: format!("{}/webhooks/payments", system.address("webhook")),
        })
    }

    /// Its whole books.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn books(&self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/books?limit=10000{after}");
            let page = self.call(Method::GET, &path, None).await?;
            let entries: Vec<Entry> = serde_json::from_value(page["entries"].clone())?;
            all.extend(entries);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(all),
            }
        }
    }

    /// What its books say of one order, in the order's currency.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn entry(&self, order: OrderId) -> Result<Option<Entry>> {
        let entries = self.entries(order).await?;
        Ok(entries.into_iter().find(|entry| entry.currency == "EUR"))
    }

    /// What its books say of one order, in each currency.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn entries(&self, order: OrderId) -> Result<Vec<Entry>> {
        let path = format!("/v1/books?reference={}", reference(order));
        let page = self.call(Method::GET, &path, None).await?;
        Ok(serde_json::from_value(page["entries"].clone())?)
    }

    /// The next calls go wrong: `{"fault": "lose_answer", "operation": "charge", "calls": 3, "reference": "…"}`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn misbehave(&self, fault: Value) -> Result<()> {
        self.call(Method::POST, "/v1/test/faults", Some(fault))
            .await
            .map(drop)
    }

    /// No call goes wrong any more.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn behave(&self) -> Result<()> {
        self.call(Method::DELETE, "/v1/test/faults", None).await.map(drop)
    }

    /// Has all webhooks wait, or lets them go.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn hold_webhooks(&self, held: bool) -> Result<()> {
        self.call(Method::POST, "/v1/test/webhooks", Some(json!({ "held": held })))
            .await
            .map(drop)
    }

    /// Has the webhooks about one order wait, or lets them go.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn hold_webhooks_about(&self, order: OrderId, held: bool) -> Result<()> {
        let hold = json!({ "held": held, "reference": reference(order) });
        self.call(Method::POST, "/v1/test/webhooks", Some(hold))
            .await
            .map(drop)
    }

    /// The webhooks about an order.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn webhooks(&self, order: OrderId) -> Result<Vec<Value>> {
        let path = format!("/v1/webhooks?reference={}", reference(order));
        let page = self.call(Method::GET, &path, None).await?;
        Ok(page["entries"].as_array().cloned().unwrap_or_default())
    }

    /// Sends a webhook once more.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn resend(&self, webhook: &Value) -> Result<()> {
        let id = webhook["id"].as_str().context("a webhook has an id")?;
        self.call(Method::POST, &format!("/v1/webhooks/{id}/resend"), None)
            .await
            .map(drop)
    }

    /// Presses a button of a page, `pay` or `decline`: whether that was in time.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn press(&self, page_url: &str, button: &str) -> Result<bool> {
        let response = self.http.post(format!("{page_url}/{button}")).send().await?;
        let status = response.status();
        ensure!(
            status.is_success() || status == StatusCode::CONFLICT,
            "{button} on {page_url}: {status} {}",
            response.text().await?
        );
        Ok(status.is_success())
    }

    /// Posts a webhook to the shop as somebody who has this secret, and says how it was answered.
    ///
    /// # Errors
    /// If the shop does not answer.
    pub async fn forge(&self, secret: &str, id: &str, sent_at: u64, body: &str) -> Result<StatusCode> {
        let secret = secret.parse()?;
        let signature = quadrille_process::webhook::sign(&secret, id, sent_at, body.as_bytes());
        let request = self
            .http
            .post(&self.webhook)
            .header(quadrille_process::webhook::ID, id)
            .header(quadrille_process::webhook::TIMESTAMP, sent_at.to_string())
            .header(quadrille_process::webhook::SIGNATURE, signature)
            .body(body.to_owned());
        Ok(request.send().await?.status())
    }

    /// The secret that the provider signs with.
    pub fn secret(&self) -> &'static str {
        WEBHOOK_SECRET
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(PROVIDER_KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text)?
        })
    }
}
