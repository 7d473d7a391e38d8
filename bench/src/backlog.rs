use anyhow::Result;
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

/// Bytes of a payload.
pub(crate) const PAYLOAD: usize = 300;

/// An order as a shop would tell of it, `~` for each id. Who compresses must not find it easier than that.
const ORDER: &str = r#"{"order_id":"~","customer_id":"~","lines":[{"product_id":"~","quantity":12,"unit_price_minor":199900}],"total":{"amount_minor":2398800,"currency":"EUR"},"placed_at":"2026-01-01T12:00:00.000000Z"}"#;

/// When all of them were placed.
const PLACED_AT: &str = r#""placed_at":"2026-01-01T12:00:00.000000Z""#;

/// An order of which it matters when it was placed.
#[derive(Debug, Deserialize)]
struct Placed {
    placed_at_microseconds: u64,
}

/// Events of a transaction.
const TOGETHER: usize = 1000;
/// Who writes at the same time: a backlog of millions is not the figure, only what comes before it.
const WRITERS: usize = 2;

/// Writes `rows` events for a topic, in transactions of 1000, with 10,000 keys.
pub(crate) async fn fill(pool: &PgPool, topic: &str, rows: usize) -> Result<()> {
    let batches = rows.div_ceil(TOGETHER);
    let writers = (0..WRITERS).map(|writer| {
        let (pool, topic) = (pool.clone(), topic.to_owned());
        tokio::spawn(async move {
            for batch in (writer..batches).step_by(WRITERS) {
                write(&pool, &topic, batch).await?;
            }
            anyhow::Ok(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    // Whoever reads it first must not pay for what the server still has to write out.
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}

/// One transaction of a backlog.
pub(crate) async fn write(pool: &PgPool, topic: &str, batch: usize) -> Result<()> {
    sqlx::query(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers) \
         select gen_random_uuid(), $1, 'k' || ($2 + n) % 10000, 'bench.happened', \
                convert_to(format($3, gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'), \
                '{\"content-type\":\"application/json\",\"ce_dataschema\":\"bench.happened/1\"}' \
           from generate_series(1, $4) n",
    )
    .bind(topic)
    .bind(i32::try_from(batch * TOGETHER)?)
    .bind(ORDER.replace('~', "%s"))
    .bind(i32::try_from(TOGETHER)?)
    .execute(pool)
    .await?;
    Ok(())
}

/// An order like those of a backlog, with ids of its own.
pub(crate) fn order() -> Vec<u8> {
    with_ids(ORDER)
}

/// The same, with the moment at which it was placed, in microseconds since 1970.
pub(crate) fn order_placed_at(us: u64) -> Vec<u8> {
    with_ids(&ORDER.replace(PLACED_AT, &format!("\"placed_at_microseconds\":{us}")))
}

/// When an order was placed, if it says so by [`order_placed_at`].
pub(crate) fn placed_at(payload: &[u8]) -> Option<u64> {
    let order: Placed = serde_json::from_slice(payload).ok()?;
    Some(order.placed_at_microseconds)
}

fn with_ids(order: &str) -> Vec<u8> {
    let mut parts = order.split('~');
    let mut payload = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        payload.push_str(&Uuid::new_v4().to_string());
        payload.push_str(part);
    }
    payload.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_json_of_the_size_that_is_told() -> Result<()> {
        assert_eq!(order().len(), PAYLOAD);
        assert_ne!(order(), order());
        serde_json::from_slice::<serde_json::Value>(&order())?;
        Ok(())
    }

    #[test]
    fn an_order_that_says_when_it_was_placed_is_like_any_other() -> Result<()> {
        let placed = 1_796_030_133_883_405;
        let order = order_placed_at(placed);
        assert_eq!(order.len(), PAYLOAD);
        serde_json::from_slice::<serde_json::Value>(&order)?;
        assert_eq!(placed_at(&order), Some(placed));
        assert_eq!(placed_at(&super::order()), None);
        Ok(())
    }
}
