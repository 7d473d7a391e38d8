//! A participant that notes what it sees, in which order: whatever is lost, doubled or swapped shows.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use saga_core::{
    At, Decision, Effect, Event, Fault, Inputs, Outcome, Outputs, Participant, RetryPolicy, Step, Timer,
    View, steps,
};
use saga_runtime::store::Rows;
use saga_runtime::{Call, Failure, Perform, Saved, Store};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

/// Number `n` of a visit; what is to happen stands in `what`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "visits", name = "visit.made", key = id)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) n: i32,
    #[serde(default)]
    pub(crate) what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "notes", name = "visit.noted", key = id)]
pub(crate) struct Noted {
    pub(crate) id: String,
    pub(crate) n: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Greet {
    pub(crate) id: String,
}

impl Effect for Greet {
    const KIND: &'static str = "greet";
    const POLICY: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(10),
        max: Duration::from_millis(50),
        attempts: 3,
        call_timeout: Duration::from_secs(30),
        forgotten_after: Duration::from_secs(3600),
    };
    type Answer = String;
}

#[derive(Clone, Debug, Inputs)]
pub(crate) enum In {
    #[event]
    Made(Made),
    #[command]
    Pay(Pay),
    #[timer]
    Closing,
    #[result]
    Greeted(Outcome<Greet>),
}

#[derive(Clone, Debug)]
pub(crate) struct Pay {
    pub(crate) id: String,
    pub(crate) coins: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub(crate) enum Out {
    #[event]
    Noted(Noted),
    #[effect]
    Greet(Greet),
    #[timer]
    Closing(Timer),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) seen: Vec<i32>,
    pub(crate) told: Vec<String>,
    pub(crate) over: bool,
}

#[derive(Debug)]
pub(crate) struct Kiosk;

impl Participant for Kiosk {
    const NAME: &'static str = "kiosk";
    const STEPS: &'static [Step] = steps! { In, Out;
        Made => [Noted, Greet, Closing];
        Pay => [];
        Closing => [];
        Greeted => [];
    };
    type Key = String;
    type State = Visit;
    type SharedKey = String;
    type Shared = i64;
    type Input = In;
    type Output = Out;
    type Reply = i64;
    type Refusal = &'static str;

    fn key(&self, input: &In) -> Option<String> {
        match input {
            In::Made(made) => Some(made.id.clone()),
            In::Pay(pay) => Some(pay.id.clone()),
            In::Closing | In::Greeted(_) => None,
        }
    }

    fn touches(&self, _: &Visit, input: &In) -> BTreeSet<String> {
        match input {
            In::Pay(_) => ["till".to_owned()].into(),
            In::Made(made) if made.what == "needs-till" => ["till".to_owned()].into(),
            _ => BTreeSet::new(),
        }
    }

    fn decide(
        &self,
        mut visit: Visit,
        till: &mut View<'_, String, i64>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        Ok(match at.input {
            In::Made(Made { id, n, what }) => {
                if what == "impossible" {
                    return Err(Fault::impossible("told to be impossible"));
                }
                assert!(what != "panic", "told to panic");
                if what == "needs-till" && till.get(&"till".to_owned())?.is_none() {
                    return Err(Fault::impossible("there is no till"));
                }
                // PostgreSQL's text has no NUL: only the save finds out.
                visit.told.extend((what == "nul").then(|| "a\0b".to_owned()));
                visit.seen.push(n);
                let decision = Decision::to(visit).emit(Out::Noted(Noted { id: id.clone(), n }));
                match what.as_str() {
                    "greet" => decision.emit(Out::Greet(Greet { id })),
                    "closing" => decision.emit(Out::Closing(Timer::In(Duration::from_millis(50)))),
                    "later" => decision.emit(Out::Closing(Timer::In(Duration::from_secs(3600)))),
                    "cancel" => decision.emit(Out::Closing(Timer::Cancel)),
                    _ => decision,
                }
            }
            In::Pay(Pay { coins, .. }) if coins <= 0 => Decision::refuse(visit, "coins are positive"),
            In::Pay(Pay { coins, .. }) => {
                let sum = till.get(&"till".to_owned())?.copied().unwrap_or(0) + coins;
                till.put("till".to_owned(), sum)?;
                Decision::to(visit).reply(sum)
            }
            In::Closing => {
                visit.over = true;
                Decision::to(visit)
            }
            In::Greeted(outcome) => {
                visit.told.push(match outcome {
                    Outcome::Answered(answer) => answer,
                    Outcome::Exhausted { attempts } => format!("exhausted after {attempts}"),
                });
                Decision::to(visit)
            }
        })
    }

    fn is_ended(&self, visit: &Visit) -> bool {
        visit.over
    }
}

const ENTER: &str = "insert into visit (id) select unnest($1::text[]) on conflict do nothing";
const LOAD: &str =
    "select id, seen, told, ended_at is not null from visit where id = any($1) order by id for update";
const SAVE: &str = "\
update visit v set seen = n.seen::int4[], told = n.told::text[], ended_at = case when n.over then $5 end
  from unnest($1::text[], $2::text[], $3::text[], $4::bool[]) as n (id, seen, told, over) where v.id = n.id";
const ENTER_TILL: &str = "insert into till (id) select unnest($1::text[]) on conflict do nothing";
const LOAD_TILL: &str = "select id, coins from till where id = any($1) order by id for update";
const SAVE_TILL: &str = "update till t set coins = n.coins from unnest($1::text[], $2::int8[]) as n (id, coins) where t.id = n.id";
const PRUNE: &str = "\
delete from visit where id = any(array(select id from visit where ended_at < $1 limit $2 for update skip locked))";
const PRUNE_BLANK: &str = "\
delete from visit where id = any(array(
    select id from visit where seen = '{}' and told = '{}' and ended_at is null and asked_at < $1 limit $2
       for update skip locked))";

#[derive(Debug)]
pub(crate) struct Pg;

impl Store<Kiosk> for Pg {
    async fn load(&self, tx: &mut PgConnection, keys: &[String]) -> Result<Rows<String, Visit>, sqlx::Error> {
        sqlx::query(ENTER).bind(keys).execute(&mut *tx).await?;
        let rows: Vec<(String, Vec<i32>, Vec<String>, bool)> =
            sqlx::query_as(LOAD).bind(keys).fetch_all(tx).await?;
        Ok(rows
            .into_iter()
            .map(|(id, seen, told, over)| (id, Visit { seen, told, over }))
            .collect())
    }

    async fn load_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[String],
    ) -> Result<Rows<String, Option<i64>>, sqlx::Error> {
        sqlx::query(ENTER_TILL).bind(keys).execute(&mut *tx).await?;
        sqlx::query_as(LOAD_TILL).bind(keys).fetch_all(tx).await
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Kiosk>],
        shared: &[(String, i64)],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let seen: Vec<String> = sagas
            .iter()
            .map(|one| format!("{{{}}}", join(&one.state.seen)))
            .collect();
        let told: Vec<String> = sagas
            .iter()
            .map(|one| format!("{{{}}}", join(&quoted(&one.state.told))))
            .collect();
        sqlx::query(SAVE)
            .bind(sagas.iter().map(|one| one.key.as_str()).collect::<Vec<_>>())
            .bind(seen)
            .bind(told)
            .bind(sagas.iter().map(|one| one.ended).collect::<Vec<_>>())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query(SAVE_TILL)
            .bind(shared.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
            .bind(shared.iter().map(|(_, coins)| *coins).collect::<Vec<_>>())
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

    async fn prune_blank(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let pruned = sqlx::query(PRUNE_BLANK)
            .bind(before)
            .bind(limit)
            .execute(tx)
            .await?;
        Ok(pruned.rows_affected())
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn quoted(items: &[String]) -> Vec<String> {
    items.iter().map(|item| format!("\"{item}\"")).collect()
}

/// Answers "hello", after failing as often as it was told to, and when its gate is open.
#[derive(Debug, Default)]
pub(crate) struct Greeter {
    pub(crate) failures: AtomicU32,
    /// Panics as often as this before all else.
    pub(crate) panics: AtomicU32,
    pub(crate) calls: Mutex<Vec<(uuid::Uuid, u32, bool)>>,
    /// If there is one: the call with this number of attempt is answered, with its number, others wait.
    pub(crate) gate: Option<tokio::sync::watch::Sender<u32>>,
}

impl Perform<Greet> for std::sync::Arc<Greeter> {
    async fn perform(&self, call: Call<Greet>) -> Result<String, Failure> {
        self.calls
            .lock()
            .expect("not poisoned")
            .push((call.id, call.attempt, call.ask_first));
        let left = self.panics.load(Ordering::SeqCst);
        if left > 0 {
            self.panics.store(left - 1, Ordering::SeqCst);
            panic!("told to panic");
        }
        if let Some(gate) = &self.gate {
            let opened = gate
                .subscribe()
                .wait_for(|attempt| *attempt == call.attempt)
                .await
                .map(|_| ());
            opened.map_err(Failure::new)?;
            return Ok(format!("answer of call {}", call.attempt));
        }
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 {
            self.failures.store(left - 1, Ordering::SeqCst);
            return Err(Failure::new("told to fail"));
        }
        Ok(format!("hello {}", call.effect.id))
    }
}
