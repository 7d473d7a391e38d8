use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

use super::support::{Outbox, run};

/// Who writes, and how much.
#[derive(Clone, Copy)]
pub struct Writers {
    pub tasks: u64,
    pub transactions: u32,
    pub keys: u32,
    pub seed: u64,
}

/// A version of an aggregate, and its event: the position is drawn while the aggregate's row is locked.
const BUMP: &str = "
with u as (update agg set v = v + 1 where key = $1 returning key, v)
insert into saga.outbox (id, aggregatetype, aggregateid, type, payload)
select gen_random_uuid(), $2, key, 'bumped', convert_to(v::text, 'UTF8') from u";

impl Writers {
    /// Writes in every way that there is: one statement, many, savepoints, rollbacks, long transactions, an
    /// early transaction id, two-phase commit. Returns each key's last committed version.
    pub async fn write(self, outbox: &Outbox, topic: &str) -> Result<BTreeMap<String, i64>> {
        self.prepare(outbox).await?;
        self.write_more(outbox, topic).await
    }

    pub async fn prepare(self, outbox: &Outbox) -> Result<()> {
        let mut connection = outbox.connect("it").await?;
        sqlx::query(
            "insert into agg select 'k' || i from generate_series(1, $1::int) i on conflict do nothing",
        )
        .bind(i32::try_from(self.keys)?)
        .execute(&mut connection)
        .await?;
        Ok(())
    }

    pub async fn write_more(self, outbox: &Outbox, topic: &str) -> Result<BTreeMap<String, i64>> {
        let mut tasks = JoinSet::new();
        for task in 0..self.tasks {
            let (outbox, topic) = (outbox.clone(), topic.to_owned());
            tasks.spawn(async move {
                let mut random = StdRng::seed_from_u64(self.seed * 1000 + task);
                let mut connection = outbox.connect("it").await?;
                for number in 0..self.transactions {
                    let gid = format!("{}-{task}-{number}", outbox.name);
                    if let Err(error) = self.transaction(&mut connection, &topic, &mut random, &gid).await {
                        // Two of them locked each other out; the server rolled this one back.
                        anyhow::ensure!(error.as_database_error().is_some(), error);
                        run(&mut connection, "rollback").await?;
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        let mut connection = outbox.connect("it").await?;
        let rows: Vec<(String, i64)> = sqlx::query_as("select key, v from agg")
            .fetch_all(&mut connection)
            .await?;
        Ok(rows.into_iter().collect())
    }

    async fn transaction(
        self,
        connection: &mut PgConnection,
        topic: &str,
        random: &mut StdRng,
        gid: &str,
    ) -> Result<(), sqlx::Error> {
        let kind = random.random_range(0..20);
        if kind < 8 {
            return self.bump(connection, topic, random).await;
        }
        run(connection, "begin").await?;
        if kind == 8 {
            // An early transaction id, and late rows.
            run(connection, "select pg_current_xact_id()").await?;
            pause(random, 100).await;
        }
        for _ in 0..random.random_range(1..4) {
            self.bump(connection, topic, random).await?;
        }
        match kind {
            9..=11 => {
                run(connection, "savepoint s").await?;
                self.bump(connection, topic, random).await?;
                if random.random() {
                    run(connection, "rollback to savepoint s").await?;
                }
                run(connection, "release savepoint s").await?;
                self.bump(connection, topic, random).await?;
            }
            12 => pause(random, 400).await,
            13 => pause(random, 30).await,
            14 | 15 => return run(connection, "rollback").await,
            16 => {
                run(connection, &format!("prepare transaction '{gid}'")).await?;
                pause(random, 200).await;
                let end = if random.random() { "commit" } else { "rollback" };
                return run(connection, &format!("{end} prepared '{gid}'")).await;
            }
            _ => {}
        }
        run(connection, "commit").await
    }

    async fn bump(
        self,
        connection: &mut PgConnection,
        topic: &str,
        random: &mut StdRng,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(BUMP)
            .bind(format!("k{}", random.random_range(1..=self.keys)))
            .bind(topic)
            .execute(connection)
            .await
            .map(drop)
    }
}

/// How long a transaction is held open is what is tested here, not what is waited for.
async fn pause(random: &mut StdRng, most_ms: u64) {
    let ms = random.random_range(1..=most_ms);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
