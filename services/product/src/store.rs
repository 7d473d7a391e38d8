use chrono::{DateTime, Utc};
use quadrille_contracts::ProductId;
use saga_core::Money;
use saga_runtime::Store;
use saga_runtime::store::{Rows, Saved};
use sqlx::migrate::Migrator;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::participant::{Catalogue, Listing, Product};

/// The service's own tables.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/product");

const INSERT_ABSENT: &str = "\
insert into product (id) select id from unnest($1::uuid[]) as n (id) order by id on conflict do nothing";

const LOCK: &str = "\
select id, name, price_minor, currency from product where id = any($1) order by id for update";

// What was absent is created now, whenever it was first asked for.
const SAVE: &str = "\
update product p
   set name = n.name, price_minor = n.price_minor, currency = n.currency, updated_at = $5,
       created_at = case when p.name is null then $5 else p.created_at end
  from unnest($1::uuid[], $2::text[], $3::int8[], $4::text[]) as n (id, name, price_minor, currency)
 where p.id = n.id";

const PRUNE: &str = "\
delete from product where id = any(array(
    select id from product where name is null and created_at < $1 limit $2 for update skip locked))";

const GET: &str = "\
select id, name, price_minor, currency, created_at, updated_at from product where id = $1 and name is not null";

const LIST: &str = "\
select id, name, price_minor, currency, created_at, updated_at from product
 where id > $1 and name is not null order by id limit $2";

/// Every statement with its name.
pub const ALL: &[(&str, &str)] = &[
    ("insert_absent", INSERT_ABSENT),
    ("lock", LOCK),
    ("save", SAVE),
    ("prune", PRUNE),
    ("get", GET),
    ("list", LIST),
];

/// The catalogue's tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables;

/// A product with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The product.
    pub listing: Listing,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

type LockedRow = (Uuid, Option<String>, Option<i64>, Option<String>);
type EntryRow = (Uuid, String, i64, String, DateTime<Utc>, DateTime<Utc>);

impl Store<Catalogue> for Tables {
    async fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[ProductId],
    ) -> Result<Rows<ProductId, Product>, sqlx::Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        sqlx::query(INSERT_ABSENT).bind(&ids).execute(&mut *tx).await?;
        let rows: Vec<LockedRow> = sqlx::query_as(LOCK).bind(&ids).fetch_all(tx).await?;
        rows.into_iter()
            .map(|(id, name, price_minor, currency)| {
                let product = match (name, price_minor, currency) {
                    (Some(name), Some(minor), Some(currency)) => {
                        Product::Listed(listing(id, name, minor, &currency)?)
                    }
                    _ => Product::Absent,
                };
                Ok((ProductId(id), product))
            })
            .collect()
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Catalogue>],
        _: &[(saga_core::Nothing, ())],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let (mut ids, mut names) = (Vec::new(), Vec::new());
        let (mut minors, mut currencies) = (Vec::new(), Vec::new());
        for saved in sagas {
            let listing = match &saved.state {
                Product::Absent => None,
                Product::Listed(listing) => Some(listing),
            };
            ids.push(saved.key.0);
            names.push(listing.map(|listing| listing.name.as_str()));
            minors.push(listing.map(|listing| listing.price.minor));
            currencies.push(listing.map(|listing| listing.price.currency.code()));
        }
        sqlx::query(SAVE)
            .bind(ids)
            .bind(names)
            .bind(minors)
            .bind(currencies)
            .bind(now)
            .execute(tx)
            .await?;
        Ok(())
    }

    /// What was asked for and never created. Products stay.
    async fn prune_blank(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let pruned = sqlx::query(PRUNE).bind(before).bind(limit).execute(tx).await?;
        Ok(pruned.rows_affected())
    }
}

/// One product, if it was created.
///
/// # Errors
/// If the database does not answer, or holds what cannot be.
pub async fn get(pool: &PgPool, id: ProductId) -> Result<Option<Entry>, sqlx::Error> {
    let row: Option<EntryRow> = sqlx::query_as(GET).bind(id.0).fetch_optional(pool).await?;
    row.map(entry).transpose()
}

/// At most `limit` products, by id, after `after`.
///
/// # Errors
/// As [`get`].
pub async fn list(pool: &PgPool, after: Option<ProductId>, limit: i64) -> Result<Vec<Entry>, sqlx::Error> {
    // No product has the nil id: it is refused.
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let rows: Vec<EntryRow> = sqlx::query_as(LIST)
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(entry).collect()
}

fn entry(row: EntryRow) -> Result<Entry, sqlx::Error> {
    let (id, name, minor, currency, created_at, updated_at) = row;
    Ok(Entry {
        listing: listing(id, name, minor, &currency)?,
        created_at,
        updated_at,
    })
}

fn listing(id: Uuid, name: String, minor: i64, currency: &str) -> Result<Listing, sqlx::Error> {
    let currency = currency
        .parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Listing {
        product_id: ProductId(id),
        name,
        price: Money::new(minor, currency),
    })
}
