use chrono::{DateTime, Utc};
use quadrille_contracts::{OrderId, PaymentId};
use saga_runtime::Store;
use saga_runtime::store::{Rows, Saved};
use sqlx::migrate::Migrator;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use self::row::{Columns, Row};
use crate::participant::{Payment, Payments};

/// A payment as a row.
mod row;

/// The service's own table.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/payment");

// `for update` locks nothing where no row is, so default rows come first. They are sorted, as everybody's
// are: two transactions that insert the same rows in another order would wait for each other.
const INSERT: &str = "\
insert into payment (order_id, payment_id)
select order_id, payment_id from unnest($1::uuid[], $2::uuid[]) as k (order_id, payment_id) order by order_id
    on conflict do nothing";

const LOCK: &str = "\
select order_id, state, amount_minor, currency, method, page_url, card_token, asked, standing, failure_code
  from payment where order_id = any($1::uuid[]) order by order_id for update";

const SAVE: &str = "\
update payment p
   set state = s.state, amount_minor = s.amount_minor, currency = s.currency, method = s.method, page_url = s.page_url,
       card_token = s.card_token, asked = s.asked, standing = s.standing, failure_code = s.failure_code, updated_at = $11
  from unnest($1::uuid[], $2::text[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::text[])
    as s (order_id, state, amount_minor, currency, method, page_url, card_token, asked, standing, failure_code)
 where p.order_id = s.order_id";

const SHOW: &str = "\
select order_id, state, amount_minor, currency, method, page_url, card_token, asked, standing, failure_code,
       created_at, updated_at
  from payment where order_id = $1";

const ORDER_OF: &str = "select order_id from payment where payment_id = $1";

/// Every statement with its name.
pub const ALL: &[(&str, &str)] = &[
    ("insert", INSERT),
    ("lock", LOCK),
    ("save", SAVE),
    ("show", SHOW),
    ("order_of", ORDER_OF),
];

/// Payment's table. Nothing is pruned from it: it says for ever who paid what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables;

/// A payment, with when it was heard of first and changed last.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where it stands.
    pub payment: Payment,
    /// When the service first heard of the order.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

/// The payment of an order, if anything was heard of it.
///
/// # Errors
/// If the database does not answer, or holds what cannot be.
pub async fn show(pool: &PgPool, order_id: OrderId) -> Result<Option<Shown>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Dated {
        #[sqlx(flatten)]
        row: Row,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
    let row: Option<Dated> = sqlx::query_as(SHOW).bind(order_id.0).fetch_optional(pool).await?;
    row.map(|row| {
        Ok(Shown {
            payment: row.row.read()?.1,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    })
    .transpose()
}

/// The order of a payment, by the reference that the provider knows it by.
///
/// # Errors
/// If the database does not answer.
pub async fn order_of(pool: &PgPool, payment_id: PaymentId) -> Result<Option<OrderId>, sqlx::Error> {
    let found: Option<Uuid> = sqlx::query_scalar(ORDER_OF)
        .bind(payment_id.0)
        .fetch_optional(pool)
        .await?;
    Ok(found.map(OrderId))
}

impl Store<Payments> for Tables {
    async fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[OrderId],
    ) -> Result<Rows<OrderId, Payment>, sqlx::Error> {
        let orders: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let payments: Vec<Uuid> = keys.iter().map(|key| PaymentId::of(*key).0).collect();
        sqlx::query(INSERT)
            .bind(&orders)
            .bind(payments)
            .execute(&mut *tx)
            .await?;
        let rows: Vec<Row> = sqlx::query_as(LOCK).bind(orders).fetch_all(tx).await?;
        rows.into_iter().map(Row::read).collect()
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Payments>],
        _: &[(saga_core::Nothing, ())],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        if sagas.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(sagas);
        sqlx::query(SAVE)
            .bind(columns.order_id)
            .bind(columns.state)
            .bind(columns.amount_minor)
            .bind(columns.currency)
            .bind(columns.method)
            .bind(columns.page_url)
            .bind(columns.card_token)
            .bind(columns.asked)
            .bind(columns.standing)
            .bind(columns.failure_code)
            .bind(now)
            .execute(tx)
            .await?;
        Ok(())
    }
}
