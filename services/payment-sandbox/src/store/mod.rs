//! Every statement is a constant, listed in [`ALL`](crate::store::ALL), so that a test can prepare each of them as the role
//! that runs it.

/// Connections, migrations, and whether the tables are the right ones.
mod connect;

/// Idempotency keys.
mod keys;

/// Charges.
mod charges;

/// Refunds.
mod refunds;

/// Hosted pages.
mod pages;

/// Webhooks and their attempts.
mod webhooks;

/// Sums, for who audits them.
mod books;

use sqlx::PgPool;

pub use books::{Books, Totals};
pub(crate) use charges::{Booked, Charge, NewCharge};
pub use connect::MIGRATIONS;
pub(crate) use connect::{SchemaError, check_schema, connect, migrate, wait_for};
pub(crate) use keys::Recalled;
pub(crate) use pages::{Closing, NewPage, Page, Paying};
pub(crate) use refunds::{NewRefund, Refund, Refunding};
pub(crate) use webhooks::{Due, Webhook};

/// Every statement with its name.
pub const ALL: &[&[(&str, &str)]] = &[
    books::ALL,
    charges::ALL,
    connect::ALL,
    keys::ALL,
    pages::ALL,
    refunds::ALL,
    webhooks::ALL,
];

/// The books.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: PgPool,
}

/// The database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("{doing} ({subject})")]
pub(crate) struct StoreError {
    doing: &'static str,
    subject: String,
    #[source]
    cause: sqlx::Error,
}

impl StoreError {
    /// Whether the connection is at fault rather than what was sent over it.
    pub(crate) fn is_connection(&self) -> bool {
        !matches!(
            self.cause,
            sqlx::Error::Database(_) | sqlx::Error::Encode(_) | sqlx::Error::Decode(_)
        )
    }
}

/// Makes an error's context: `.map_err(failed("booking a charge", &reference))`.
fn failed(doing: &'static str, subject: impl ToString) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |cause| StoreError {
        doing,
        subject: subject.to_string(),
        cause,
    }
}

impl Store {
    pub(crate) fn new(pool: PgPool) -> Store {
        Store { pool }
    }

    /// Whether the database answers.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        sqlx::query(connect::PROBE)
            .execute(&self.pool)
            .await
            .map_err(failed("probing the database", ""))?;
        Ok(())
    }
}
