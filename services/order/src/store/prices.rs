use chrono::{DateTime, Utc};
use quadrille_contracts::ProductId;
use saga_core::Money;
use saga_runtime::store::Rows;
use sqlx::PgConnection;
use uuid::Uuid;

const INSERT_ABSENT: &str = "\
insert into price (product_id) select product_id from unnest($1::uuid[]) as k (product_id) order by product_id
    on conflict do nothing";

const LOCK: &str = "\
select product_id, price_minor, currency from price where product_id = any($1) order by product_id for update";

const READ: &str = "\
select k.product_id, p.price_minor, p.currency
  from unnest($1::uuid[]) as k (product_id) left join price p on p.product_id = k.product_id";

const SAVE: &str = "\
update price p set price_minor = n.price_minor, currency = n.currency
  from unnest($1::uuid[], $2::int8[], $3::text[]) as n (product_id, price_minor, currency)
 where p.product_id = n.product_id";

const PRUNE: &str = "\
delete from price where product_id = any(array(
    select product_id from price where price_minor is null and asked_at < $1 limit $2 for update skip locked))";

/// The statements of this module.
pub(super) const ALL: &[(&str, &str)] = &[
    ("prices::insert_absent", INSERT_ABSENT),
    ("prices::lock", LOCK),
    ("prices::read", READ),
    ("prices::save", SAVE),
    ("prices::prune", PRUNE),
];

pub(super) async fn lock(
    tx: &mut PgConnection,
    keys: &[ProductId],
) -> Result<Rows<ProductId, Option<Money>>, sqlx::Error> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
    sqlx::query(INSERT_ABSENT).bind(&ids).execute(&mut *tx).await?;
    prices(sqlx::query_as(LOCK).bind(&ids).fetch_all(tx).await?)
}

pub(super) async fn read(
    tx: &mut PgConnection,
    keys: &[ProductId],
) -> Result<Rows<ProductId, Option<Money>>, sqlx::Error> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
    prices(sqlx::query_as(READ).bind(&ids).fetch_all(tx).await?)
}

fn prices(
    rows: Vec<(Uuid, Option<i64>, Option<String>)>,
) -> Result<Rows<ProductId, Option<Money>>, sqlx::Error> {
    rows.into_iter()
        .map(|(id, minor, currency)| {
            let price = minor.zip(currency).map(|(minor, currency)| {
                let currency = currency
                    .parse()
                    .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                Ok::<_, sqlx::Error>(Money::new(minor, currency))
            });
            Ok((ProductId(id), price.transpose()?))
        })
        .collect()
}

pub(super) async fn save(tx: &mut PgConnection, prices: &[(ProductId, Money)]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = prices.iter().map(|(key, _)| key.0).collect();
    let minors: Vec<i64> = prices.iter().map(|(_, price)| price.minor).collect();
    let currencies: Vec<&str> = prices.iter().map(|(_, price)| price.currency.code()).collect();
    sqlx::query(SAVE)
        .bind(ids)
        .bind(minors)
        .bind(currencies)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn prune(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query(PRUNE).bind(before).bind(limit).execute(tx).await?;
    Ok(pruned.rows_affected())
}
