use quadrille_contracts::PaymentId;
use saga_core::{Currency, Money};
use serde::Deserialize;

use crate::participant::PageEvent;

/// What a webhook says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) payment_id: PaymentId,
    pub(super) event: PageEvent,
}

#[derive(Deserialize)]
struct Kind<'a> {
    r#type: &'a str,
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    reference: PaymentId,
    amount_minor: i64,
    currency: Currency,
}

/// Reads a body that is known to be the provider's. `None`: a type that is none of our business, of which
/// a provider has many and invents more.
pub(super) fn read(body: &[u8]) -> Result<Option<Report>, serde_json::Error> {
    let kind: Kind<'_> = serde_json::from_slice(body)?;
    let event: fn(Money) -> PageEvent = match kind.r#type {
        "page.paid" => |amount| PageEvent::Paid { amount },
        "page.declined" => |_| PageEvent::Declined,
        "page.expired" => |_| PageEvent::Expired,
        _ => return Ok(None),
    };
    let Body { data } = serde_json::from_slice(body)?;
    Ok(Some(Report {
        payment_id: data.reference,
        event: event(Money::new(data.amount_minor, data.currency)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "6f2b9f0e-0000-5000-8000-000000000001";

    fn body(kind: &str) -> String {
        format!(
            r#"{{"type": "{kind}", "timestamp": "2026-08-01T12:00:00Z",
                "data": {{"page_id": "pg_1", "reference": "{REFERENCE}", "status": "paid",
                          "amount_minor": 1999, "currency": "EUR", "charge_id": "ch_1"}}}}"#
        )
    }

    #[test]
    fn the_three_ends_of_a_page_are_read() {
        let amount = Money::new(1999, Currency::EUR);
        for (kind, event) in [
            ("page.paid", PageEvent::Paid { amount }),
            ("page.declined", PageEvent::Declined),
            ("page.expired", PageEvent::Expired),
        ] {
            let payment_id = REFERENCE.parse().expect("a UUID");
            let report = read(body(kind).as_bytes()).expect("readable");
            assert_eq!(report, Some(Report { payment_id, event }), "{kind}");
        }
    }

    #[test]
    fn other_types_are_passed_over_whatever_they_hold() {
        assert_eq!(read(br#"{"type": "payout.sent"}"#).expect("readable"), None);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"type": "page.paid"}"#,
            &body("page.paid").replace("EUR", "eur"),
            &body("page.paid").replace("1999", "19.99"),
            &body("page.paid").replace(REFERENCE, "order-1"),
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
