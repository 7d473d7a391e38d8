use std::error::Error;

use chrono::{DateTime, Utc};
use saga_runtime::Store;
use saga_runtime::store::{Rows, Saved};
use sqlx::PgConnection;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::events::SagaId;
use crate::participant::{Closing, Newcomer, Reservation};

/// The service's own tables.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

// `for update` locks nothing where no row is, so default rows come first. They are sorted, as everybody's
// are: two transactions that insert the same rows in another order would wait for each other.
const INSERT: &str = "\
insert into reservation (saga_id) select saga_id from unnest($1::uuid[]) as k (saga_id) order by saga_id
    on conflict do nothing";

const LOCK: &str = "\
select saga_id, state, units from reservation where saga_id = any($1::uuid[]) order by saga_id for update";

const SAVE: &str = "\
update reservation r
   set state = s.state, units = s.units, ended_at = case when s.ended then coalesce(r.ended_at, $5) end
  from unnest($1::uuid[], $2::text[], $3::int8[], $4::bool[]) as s (saga_id, state, units, ended)
 where r.saga_id = s.saga_id";

// What is parked may still be replayed, and then the barrier has to be there. It is counted, since `not exists` becomes
// a join, and planned on empty tables a join that compares each row with all that is parked.
const PRUNE: &str = "\
delete from reservation where saga_id in (
    select r.saga_id from reservation r
     where r.ended_at < $1
       and (select count(*) from saga.parked_key k where k.participant = 'newcomer' and k.key = r.saga_id::text) = 0
     order by r.ended_at limit $2 for update of r skip locked)";

/// Every statement with its name.
pub const ALL: &[(&str, &str)] = &[
    ("insert", INSERT),
    ("lock", LOCK),
    ("save", SAVE),
    ("prune", PRUNE),
];

/// Newcomer's tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables;

impl Store<Newcomer> for Tables {
    async fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[SagaId],
    ) -> Result<Rows<SagaId, Reservation>, sqlx::Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        sqlx::query(INSERT).bind(&ids).execute(&mut *tx).await?;
        let rows: Vec<Row> = sqlx::query_as(LOCK).bind(ids).fetch_all(tx).await?;
        rows.into_iter()
            .map(|row| Ok((SagaId(row.saga_id), row.reservation()?)))
            .collect()
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Newcomer>],
        _: &[(saga_core::participant::Nothing, ())],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        if sagas.is_empty() {
            return Ok(());
        }
        let (mut states, mut units) = (Vec::new(), Vec::new());
        for saga in sagas {
            let (state, reserved) = match saga.state {
                Reservation::Unknown => ("unknown", None),
                Reservation::Reserved { units } => ("reserved", Some(i64::from(units))),
                Reservation::Closed(Closing::Refused) => ("refused", None),
                Reservation::Closed(Closing::Released) => ("released", None),
            };
            states.push(state);
            units.push(reserved);
        }
        let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.key.0).collect();
        let ended: Vec<bool> = sagas.iter().map(|saga| saga.ended).collect();
        sqlx::query(SAVE)
            .bind(ids)
            .bind(states)
            .bind(units)
            .bind(ended)
            .bind(now)
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn prune(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let pruned = sqlx::query(PRUNE).bind(before).bind(limit).execute(tx).await?;
        Ok(pruned.rows_affected())
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    saga_id: Uuid,
    state: String,
    units: Option<i64>,
}

impl Row {
    fn reservation(self) -> Result<Reservation, sqlx::Error> {
        let units = self.units.map(u32::try_from).transpose();
        Ok(match (self.state.as_str(), units) {
            ("unknown", Ok(None)) => Reservation::Unknown,
            ("reserved", Ok(Some(units))) => Reservation::Reserved { units },
            ("refused", Ok(None)) => Reservation::Closed(Closing::Refused),
            ("released", Ok(None)) => Reservation::Closed(Closing::Released),
            (state, _) => {
                // What the table's constraints rule out, or another build has written.
                let what = format!("saga {} has a reservation '{state}'", self.saga_id);
                return Err(sqlx::Error::Decode(Box::<dyn Error + Send + Sync>::from(what)));
            }
        })
    }
}
