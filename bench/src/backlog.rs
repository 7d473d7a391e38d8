use anyhow::Result;
use sqlx::PgPool;

use crate::ground::PAYLOAD;

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
         select gen_random_uuid(), $1, 'k' || ($2 + n) % 10000, 'bench.happened', convert_to(repeat('x', $3), 'UTF8'), \
                '{\"content-type\":\"application/json\",\"ce_dataschema\":\"bench.happened/1\"}' \
           from generate_series(1, $4) n",
    )
    .bind(topic)
    .bind(i32::try_from(batch * TOGETHER)?)
    .bind(i32::try_from(PAYLOAD)?)
    .bind(i32::try_from(TOGETHER)?)
    .execute(pool)
    .await?;
    Ok(())
}
