use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::harness::{Bank, charge};

const AT_ONCE: u64 = 8;

/// A transaction that is given up while it begins stays open on its connection, and whoever comes next books into it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_in_the_books_whoever_hangs_up() {
    let bank = Bank::open().await;
    let mut auditor = PgConnection::connect(bank.config.database_url.expose())
        .await
        .unwrap();
    for round in 0..100 {
        let mut callers = JoinSet::new();
        for n in 0..AT_ONCE {
            // Each goes a little later than the one before.
            let patience = Duration::from_micros(300 + 150 * (round % 25) + 40 * n);
            let close = format!("/v1/pages/gone-{round}-{n}/close");
            callers.spawn(bank.post(&close, "", &json!({})).timeout(patience).send());
        }
        callers.join_all().await;
        let references: Vec<String> = (0..AT_ONCE).map(|n| format!("order-{round}-{n}")).collect();
        let mut charging = JoinSet::new();
        for reference in &references {
            charging.spawn(
                bank.post("/v1/charges", reference, &charge(reference, "tok_ok"))
                    .send(),
            );
        }
        for answer in charging.join_all().await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        let booked: Vec<String> =
            sqlx::query_scalar("select reference from charge where reference = any($1) order by reference")
                .bind(&references)
                .fetch_all(&mut auditor)
                .await
                .unwrap();
        assert_eq!(booked, references, "round {round}");
    }
}
