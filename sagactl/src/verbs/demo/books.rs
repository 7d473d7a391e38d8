use std::time::{Duration, Instant};

use quadrille_contracts::{OrderId, PaymentId};
use quadrille_process::config::Secret;
use saga_core::{Currency, Money};
use serde::Deserialize;

use super::acts::{Played, Shop};
use super::stage::Stage;
use crate::failure::{Code, Failure};
use crate::settings::Settings;

/// The payment provider, who keeps books of his own.
pub(super) struct Bank {
    url: String,
    key: Secret<String>,
}

/// What the provider has booked under one reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Entry {
    captured_minor: i64,
    refunded_minor: i64,
    charges: i64,
    currency: String,
}

#[derive(Deserialize)]
struct Answer {
    entries: Vec<Entry>,
}

impl Bank {
    pub(super) fn find(settings: &Settings) -> Result<Self, Failure> {
        let url = settings.required("SANDBOX_URL", "http://host:port of the payment sandbox")?;
        let key = settings.required("SANDBOX_KEY", "the merchant's key at the payment sandbox")?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            key: Secret::new(key.to_owned()),
        })
    }

    async fn entries(&self, reference: &str) -> Result<Vec<Entry>, Failure> {
        let asked = async {
            let client = reqwest::Client::builder()
                .timeout(Duration::from_secs(10))
                .build()?;
            let answer = client
                .get(format!("{}/v1/books?reference={reference}", self.url))
                .bearer_auth(self.key.expose())
                .send()
                .await?
                .error_for_status()?;
            answer.json::<Answer>().await
        };
        asked
            .await
            .map(|answer| answer.entries)
            .map_err(|error| Failure::caused(Code::Unavailable, &error))
    }
}

/// Per product: on hand + held + sold = received. Per order: captured − refunded = its price if it is confirmed,
/// and nothing if it is not, in the provider's own books.
pub(super) async fn check(
    stage: &Stage,
    shop: &mut Shop,
    bank: &Bank,
    orders: &[Played],
) -> Result<bool, Failure> {
    let mut good = true;
    for product in 0..shop.products.len() {
        // What was held for the last order may just be leaving.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut stock = shop.stock(product).await?;
        while stock.held != 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stock = shop.stock(product).await?;
        }
        let expected = &shop.products[product];
        let right = stock.balances() && stock.held == 0 && stock.sold == expected.sold;
        good &= right;
        stage.check(
            right,
            format!(
                "stock of {:<18} {:>2} on hand + {} held + {} sold = {} received",
                expected.name, stock.on_hand, stock.held, stock.sold, stock.received
            ),
        );
    }
    for order in orders {
        let id: OrderId = order
            .order_id
            .parse()
            .map_err(|_| Failure::new(Code::Internal, "the order service gave an id that is no UUID"))?;
        let entries = bank.entries(&PaymentId::of(id).to_string()).await?;
        let (right, text) = judge(order, &entries);
        good &= right;
        stage.check(right, text);
    }
    Ok(good)
}

fn judge(order: &Played, entries: &[Entry]) -> (bool, String) {
    let nothing = order.total.map(|total| Money::zero(total.currency));
    let expected = if order.status == "CONFIRMED" {
        order.total
    } else {
        nothing
    };
    let currency = entries
        .first()
        .and_then(|entry| entry.currency.parse::<Currency>().ok());
    let currency = currency.or(order.total.map(|total| total.currency));
    let sum = |of: fn(&Entry) -> i64| entries.iter().map(of).sum::<i64>();
    let (captured, refunded, charges) = (
        sum(|entry| entry.captured_minor),
        sum(|entry| entry.refunded_minor),
        sum(|entry| entry.charges),
    );
    let kept = currency.map(|currency| Money::new(captured - refunded, currency));
    let paid_once = order.status != "CONFIRMED" || charges == 1;
    let money = |minor: i64| currency.map_or_else(|| minor.to_string(), |c| Money::new(minor, c).to_string());
    let text = format!(
        "money of {}…  {:<9} {:>9} captured − {:>8} refunded, {}",
        order.order_id.get(..8).unwrap_or(&order.order_id),
        order.status,
        money(captured),
        money(refunded),
        match charges {
            0 => "never charged".to_owned(),
            1 => "charged once".to_owned(),
            n => format!("charged {n} times"),
        }
    );
    (kept == expected && paid_once && entries.len() <= 1, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(status: &str) -> Played {
        Played {
            order_id: "01920000-0000".to_owned(),
            total: Some(Money::new(3300, Currency::EUR)),
            status: status.to_owned(),
            as_planned: true,
        }
    }

    fn entry(captured_minor: i64, refunded_minor: i64, charges: i64) -> Entry {
        Entry {
            captured_minor,
            refunded_minor,
            charges,
            currency: "EUR".to_owned(),
        }
    }

    #[test]
    fn money_is_there_exactly_for_what_was_sold() {
        let (good, text) = judge(&order("CONFIRMED"), &[entry(3300, 0, 1)]);
        assert!(good);
        assert_eq!(
            text,
            "money of 01920000…  CONFIRMED 33.00 EUR captured − 0.00 EUR refunded, charged once"
        );
        assert!(judge(&order("CANCELLED"), &[]).0);
        assert!(judge(&order("CANCELLED"), &[entry(0, 0, 0)]).0);
        assert!(judge(&order("REFUNDED"), &[entry(3300, 3300, 1)]).0);
        for (status, entries) in [
            ("CONFIRMED", vec![]),
            ("CONFIRMED", vec![entry(6600, 0, 2)]),
            ("CONFIRMED", vec![entry(6600, 3300, 2)]),
            ("CANCELLED", vec![entry(3300, 0, 1)]),
            ("PENDING", vec![entry(3300, 0, 1)]),
        ] {
            assert!(!judge(&order(status), &entries).0, "{status} {entries:?}");
        }
    }
}
