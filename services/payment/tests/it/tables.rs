use anyhow::Result;
use payment::Config;
use payment::participant::{Asked, Bill, Due, In, Method, Payment, Payments, Standing, Unpaid};
use payment::store::{self, MIGRATOR, Tables};
use quadrille_contracts::OrderId;
use quadrille_contracts::order::PaymentMethod;
use quadrille_process::config::Env;
use quadrille_proto::payment::v1::GetPaymentRequest;
use saga_core::{Currency, Money};
use saga_runtime::conformance::{self, Samples};
use service_testing::World;
use tonic::Code;
use uuid::Uuid;

use crate::till::{Till, price};

async fn world() -> Result<World> {
    World::new("payment", &MIGRATOR, &saga_core::input::topics::<In>()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_fits_the_tables_and_the_rights_of_its_role() -> Result<()> {
    let world = world().await?;
    service_testing::prepare(&world.url(""), store::ALL.iter().copied()).await?;
    let engine = saga_runtime::statements().map(|(_, name, sql)| (name, sql));
    service_testing::prepare(&world.url(""), engine).await
}

/// Every state, with every shape of its parts.
fn states(order_id: OrderId) -> Vec<Payment> {
    let bill = |method| Bill {
        order_id,
        amount: price(),
        method,
    };
    let (card, page) = (bill(Method::Card), bill(Method::Page { url: None }));
    let open = bill(Method::Page {
        url: Some("https://pay.example/1".into()),
    });
    let due = |method| Due {
        order_id,
        amount: Money::new(1, Currency::JPY),
        method,
    };
    let token = "tok_ok".to_owned();
    let mut states = vec![
        Payment::StockFirst,
        Payment::AwaitingStock(due(PaymentMethod::Card { token })),
        Payment::AwaitingStock(due(PaymentMethod::HostedPage)),
    ];
    let asked = [
        (&card, Asked::Charge),
        (&card, Asked::WhatOfCharge),
        (&page, Asked::Page),
        (&page, Asked::WhatOfPage),
        (&open, Asked::Close(Unpaid::Expired)),
        (&open, Asked::Close(Unpaid::Declined)),
        (&card, Asked::Close(Unpaid::Unreachable)),
    ];
    let standings = [
        Standing::Waits,
        Standing::Cancelled,
        Standing::Paid,
        Standing::RefundDue,
    ];
    for (bill, asked) in asked {
        states.extend(standings.map(|standing| Payment::Asking {
            bill: bill.clone(),
            asked,
            standing,
        }));
    }
    for bill in [card, page, open] {
        states.extend([
            Payment::PageOpen(bill.clone()),
            Payment::Captured(bill.clone()),
            Payment::Refunding(bill.clone()),
            Payment::RefundParked(bill.clone()),
            Payment::Refunded(bill.clone()),
            Payment::Failed {
                bill: bill.clone(),
                code: "no".into(),
            },
            Payment::Expired(bill.clone()),
            Payment::Voided(Some(bill.clone())),
            Payment::Rejected(Some(bill)),
        ]);
    }
    states.extend([Payment::Voided(None), Payment::Rejected(None)]);
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_does_what_every_store_has_to_do() -> Result<()> {
    let world = world().await?;
    let sagas = (0..3).map(|n| {
        let order_id = OrderId(Uuid::new_v4());
        let mut states = states(order_id);
        // At the same time, each is something else.
        states.rotate_left(7 * n);
        (order_id, states)
    });
    let samples: Samples<Payments> = Samples {
        sagas: sagas.collect(),
        shared: vec![],
    };
    Ok(conformance::check(&world.pool, &Payments::default(), &Tables, &samples).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_no_card_and_services_delete_no_payment() -> Result<()> {
    let world = world().await?;
    let seen = [(
        "seen",
        "select state, amount_minor, failure_code from payment where order_id = $1",
    )];
    service_testing::prepare(&world.url("_ops"), seen).await?;
    for (role, statement) in [
        ("_ops", "select card_token from payment"),
        ("_ops", "select payload from saga.effect where id = $1"),
        ("_ops", "select payload from saga.outbox where xid = $1"),
        ("_ops", "update payment set state = 'refunded'"),
        ("", "delete from payment"),
        ("_relay", "select state from payment"),
    ] {
        let refused = service_testing::prepare(&world.url(role), [("refused", statement)]).await;
        let refused = refused.expect_err(statement);
        let code = refused
            .downcast_ref::<sqlx::Error>()
            .and_then(|error| error.as_database_error())
            .and_then(|error| error.code())
            .map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{role} {statement}: {refused:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_tells_what_is_wrong() -> Result<()> {
    let till = Till::open().await?;
    for (order_id, code) in [
        ("order-1".to_owned(), Code::InvalidArgument),
        (String::new(), Code::InvalidArgument),
        (Uuid::new_v4().to_string(), Code::NotFound),
    ] {
        let answer = till
            .api
            .clone()
            .get_payment(GetPaymentRequest {
                order_id: order_id.clone(),
            })
            .await;
        assert_eq!(answer.expect_err("no payment").code(), code, "{order_id}");
    }
    till.close().await
}

#[test]
fn a_wrong_configuration_is_told_at_once() {
    let pairs = [
        ("PAYMENT_PROVIDER_URL", "ftp://bank"),
        ("PAYMENT_PROVIDER_KEY", "key"),
        ("PAYMENT_WEBHOOK_SECRET", "short"),
        ("PAYMENT_PAGE_DEADLINE_MS", "9999999999"),
        ("PAYMENT_CHARGE_ATTEMPTS", "0"),
    ];
    let invalid = Env::from_pairs("PAYMENT", pairs)
        .build(Config::read)
        .expect_err("much is wrong");
    let told: Vec<&str> = invalid
        .problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    for key in [
        "PAYMENT_DATABASE_URL",
        "PAYMENT_KAFKA_BROKERS",
        "PAYMENT_GRPC_LISTEN",
        "PAYMENT_PROVIDER_URL",
        "PAYMENT_WEBHOOK_LISTEN",
        "PAYMENT_WEBHOOK_SECRET",
        "PAYMENT_PAGE_DEADLINE_MS",
        "PAYMENT_CHARGE_ATTEMPTS",
    ] {
        assert!(told.contains(&key), "{key} is missing in {told:?}");
    }
    assert!(!invalid.to_string().contains("short"), "{invalid}");
}
