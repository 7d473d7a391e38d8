use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::error::{OutboxError, within};
use super::lease::Lease;

pub(crate) const WISHES: &str = "
select g.topic, t.partitions, g.wanted, g.wait_for
  from saga.topic_growth g join saga.relay_topic t using (topic) order by g.topic";

pub(crate) const NOTE_GROWTH: &str = "
update saga.topic_growth set note = $4
 where topic = $3 and note is distinct from $4
   and exists (select from saga.relay where source = $1 and fence = $2)";

/// From here on the topic's keys are spread anew, and the wish is gone.
pub(crate) const GROW: &str = "
with lease as materialized (
    select from saga.relay where source = $1 and fence = $2 for share
), grown as (
    delete from saga.topic_growth where topic = $3 and wanted = $4 and exists (select from lease) returning topic
)
update saga.relay_topic set partitions = $4, recorded_at = clock_timestamp()
 where topic in (select topic from grown) and partitions < $4";

/// For who asks: an earlier wish for the topic is overruled.
pub(crate) const ASK_FOR_GROWTH: &str = "
insert into saga.topic_growth (topic, wanted, wait_for)
select topic, $2, $3 from saga.relay_topic where topic = $1 and partitions < $2
on conflict (topic) do update set wanted = excluded.wanted, wait_for = excluded.wait_for, note = null, asked_at = now()";

/// For who asks: what became of it.
pub(crate) const GROWTH: &str = "
select t.partitions, g.wanted, g.note,
       exists (select from saga.relay where expires_at > clock_timestamp())
  from saga.relay_topic t left join saga.topic_growth g using (topic) where t.topic = $1";

/// A topic that is to spread its keys over more partitions.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Wish {
    pub(crate) topic: String,
    /// What they are spread over now.
    pub(crate) partitions: i32,
    pub(crate) wanted: i32,
    /// The consumer groups that have to have read the topic before.
    pub(crate) wait_for: Vec<String>,
}

/// What somebody has asked for and was not done yet.
pub(crate) async fn wishes(
    connection: &mut PgConnection,
    patience: Duration,
) -> Result<Vec<Wish>, OutboxError> {
    within(
        patience,
        "looking whether a topic is to grow",
        sqlx::query_as(WISHES).fetch_all(connection),
    )
    .await
}

/// The deeds of a lease's holder.
impl Lease {
    /// Says what a wish waits for. `false`: that was said before.
    pub(crate) async fn note_growth(
        &self,
        connection: &mut PgConnection,
        topic: &str,
        note: &str,
        patience: Duration,
    ) -> Result<bool, OutboxError> {
        let said = within(
            patience,
            "saying what a topic's growth waits for",
            self.fenced(NOTE_GROWTH)
                .bind(topic)
                .bind(note)
                .execute(connection),
        )
        .await?;
        Ok(said.rows_affected() == 1)
    }

    /// From now on the topic's keys are spread over the number that was wanted. `false`: somebody wants another one by
    /// now, or the lease is lost.
    pub(crate) async fn grow(
        &self,
        connection: &mut PgConnection,
        wish: &Wish,
        patience: Duration,
    ) -> Result<bool, OutboxError> {
        let grown = within(
            patience,
            "spreading a topic's keys over more partitions",
            self.fenced(GROW)
                .bind(&wish.topic)
                .bind(wish.wanted)
                .execute(connection),
        )
        .await?;
        Ok(grown.rows_affected() == 1)
    }
}
