use std::time::SystemTime;

use anyhow::Result;
use quadrille_contracts::{OrderId, PaymentId};
use quadrille_process::webhook::{self, WebhookSecret};
use quadrille_proto::payment::v1::PaymentStatus;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use uuid::Uuid;

use crate::till::{SECRET, Till};

/// A webhook, by somebody who knows the secret or not.
struct Post {
    id: String,
    timestamp: String,
    signature: Option<String>,
    body: String,
}

impl Post {
    fn signed(secret: &str, id: &str, at: u64, body: &str) -> Self {
        let secret: WebhookSecret = secret.parse().expect("a secret");
        Self {
            id: id.to_owned(),
            timestamp: at.to_string(),
            signature: Some(webhook::sign(&secret, id, at, body.as_bytes())),
            body: body.to_owned(),
        }
    }

    fn good(id: &str, body: &str) -> Self {
        Self::signed(SECRET, id, now(), body)
    }

    /// Status and code of the answer.
    async fn send(self, till: &Till) -> Result<(u16, String)> {
        let mut request = till
            .client
            .post(&till.webhook)
            .header(webhook::ID, self.id)
            .header(webhook::TIMESTAMP, self.timestamp)
            .body(self.body);
        if let Some(signature) = self.signature {
            request = request.header(webhook::SIGNATURE, signature);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        if status == 204 {
            return Ok((status, String::new()));
        }
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = answer.json().await?;
        Ok((status, problem["code"].as_str().unwrap_or_default().to_owned()))
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

fn paid(order: OrderId, amount_minor: i64) -> String {
    let data = json!({
        "page_id": "pg_1", "reference": PaymentId::of(order), "status": "paid",
        "amount_minor": amount_minor, "currency": "EUR", "charge_id": "ch_1",
    });
    json!({"type": "page.paid", "timestamp": "2026-08-01T12:00:00Z", "data": data}).to_string()
}

async fn commands(till: &Till) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from saga.command")
        .fetch_one(&till.pool)
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_secret_is_not_believed_and_leaves_nothing() -> Result<()> {
    let till = Till::open().await?;
    let (order, _) = till.page().await?;
    let body = paid(order, 1999);
    let stranger = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let changed = Post {
        body: paid(order, 1),
        ..Post::good("w", &body)
    };
    let renamed = Post {
        id: "v".to_owned(),
        ..Post::good("w", &body)
    };
    let redated = Post {
        timestamp: (now() + 1).to_string(),
        ..Post::good("w", &body)
    };
    let unsigned = Post {
        signature: None,
        ..Post::good("w", &body)
    };
    let garbage = Post {
        signature: Some("v1,garbage".to_owned()),
        ..Post::good("w", "not even JSON")
    };
    for (what, post) in [
        ("another secret", Post::signed(stranger, "w", now(), &body)),
        ("another body", changed),
        ("another id", renamed),
        ("another timestamp", redated),
        ("no signature", unsigned),
        ("garbage", garbage),
        ("an old one", Post::signed(SECRET, "w", now() - 600, &body)),
        (
            "one from the future",
            Post::signed(SECRET, "w", now() + 600, &body),
        ),
    ] {
        assert_eq!(
            post.send(&till).await?,
            (401, "bad_signature".to_owned()),
            "{what}"
        );
    }
    assert_eq!(commands(&till).await?, 0);
    assert_eq!(till.show(order).await?.status(), PaymentStatus::PageOpen);

    assert_eq!(Post::good("w", &body).send(&till).await?.0, 204);
    // It is on disk by now.
    assert_eq!(commands(&till).await?, 1);
    assert_eq!(till.show(order).await?.status(), PaymentStatus::Captured);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_and_cannot_be_is_refused_and_changes_nothing() -> Result<()> {
    let till = Till::open().await?;
    let (order, _) = till.page().await?;
    let stranger = OrderId(Uuid::new_v4());
    let card = till.card("tok_declined").await?;
    till.until_published(card, &["payment.created", "payment.failed"])
        .await?;
    let long = "x".repeat(70_000);
    for (body, status, code) in [
        (paid(stranger, 1999), 404, "unknown_reference"),
        (paid(card, 1999), 404, "unknown_reference"),
        (paid(order, 1998), 422, "wrong_amount"),
        (
            paid(order, 1999).replace("\"EUR\"", "\"USD\""),
            422,
            "wrong_amount",
        ),
        (paid(order, 1999).replace("1999", "\"much\""), 400, "malformed"),
        ("{".to_owned(), 400, "malformed"),
        (long, 413, "unreadable"),
    ] {
        let answer = Post::good("w", &body).send(&till).await?;
        assert_eq!(answer, (status, code.to_owned()), "{body}");
    }
    let odd = Post::good(&"w".repeat(256), &paid(order, 1999));
    assert_eq!(odd.send(&till).await?, (400, "malformed".to_owned()));
    // Of a type that is none of our business: taken, so that it does not come again.
    let other = json!({"type": "payout.sent", "data": {}}).to_string();
    assert_eq!(Post::good("p", &other).send(&till).await?.0, 204);
    assert_eq!(commands(&till).await?, 0);
    assert_eq!(till.show(order).await?.status(), PaymentStatus::PageOpen);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_belongs_to_one_report() -> Result<()> {
    let till = Till::open().await?;
    let ((one, _), (two, _)) = (till.page().await?, till.page().await?);
    assert_eq!(Post::good("w", &paid(one, 1999)).send(&till).await?.0, 204);
    assert_eq!(Post::good("w", &paid(one, 1999)).send(&till).await?.0, 204);
    let reused = Post::good("w", &paid(two, 1999)).send(&till).await?;
    assert_eq!(reused, (409, "id_reused".to_owned()));
    assert_eq!(till.show(two).await?.status(), PaymentStatus::PageOpen);
    till.close().await
}
