use chrono::TimeDelta;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

const EFFECTS: &str = "\
select participant, id, kind, attempt, due_at is null as exhausted,
       coalesce((extract(epoch from due_at - clock_timestamp()) * 1000)::int8, 0) as due_in_ms, last_error
  from saga.effect where saga = $1 order by created_at limit 100";

const TIMERS: &str = "\
select participant, name, (extract(epoch from due_at - clock_timestamp()) * 1000)::int8 as due_in_ms
  from saga.timer where saga = $1 order by due_at limit 100";

const PARKED: &str = "\
select participant, reason, (extract(epoch from clock_timestamp() - parked_at) * 1000)::int8 as since_ms,
       replay_requested is not null as replaying,
       (select count(*) from saga.parked_message m where m.participant = k.participant and m.key = k.key) as messages
  from saga.parked_key k where key = $1";

const PAUSED: &str = "select participant, what, reason from saga.pause order by participant, what";

/// Committed here, not acknowledged by the broker.
const UNPUBLISHED: &str = "\
select type from saga.outbox o
 where aggregateid = $1
   and not exists (select from saga.relay r where pg_visible_in_snapshot(o.xid, r.acked_snap))
 order by position limit 100";

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("effects", EFFECTS),
    ("timers", TIMERS),
    ("parked", PARKED),
    ("paused", PAUSED),
    ("unpublished", UNPUBLISHED),
];

/// One thing that a saga waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "wait", rename_all = "snake_case")]
pub(crate) enum Wait {
    /// A call to the outside world, under way or to be tried again.
    Effect {
        participant: String,
        id: Uuid,
        kind: String,
        attempt: i32,
        exhausted: bool,
        due_in_ms: i64,
        last_error: Option<String>,
    },
    /// A deadline.
    Timer {
        participant: String,
        name: String,
        due_in_ms: i64,
    },
    /// An operator.
    Parked {
        participant: String,
        reason: String,
        since_ms: i64,
        replaying: bool,
        messages: i64,
    },
    /// Somebody to resume it.
    Paused {
        participant: String,
        what: String,
        reason: String,
    },
    /// The message relay.
    Unpublished { service: String, events: Vec<String> },
}

/// What the saga waits for in one service.
pub(crate) async fn of(
    connection: &mut PgConnection,
    service: &str,
    saga: &str,
) -> Result<Vec<Wait>, sqlx::Error> {
    let mut waits = Vec::new();
    type Effect = (String, Uuid, String, i32, bool, i64, Option<String>);
    let effects: Vec<Effect> = sqlx::query_as(EFFECTS)
        .bind(saga)
        .fetch_all(&mut *connection)
        .await?;
    for (participant, id, kind, attempt, exhausted, due_in_ms, last_error) in effects {
        waits.push(Wait::Effect {
            participant,
            id,
            kind,
            attempt,
            exhausted,
            due_in_ms,
            last_error,
        });
    }
    let timers: Vec<(String, String, i64)> = sqlx::query_as(TIMERS)
        .bind(saga)
        .fetch_all(&mut *connection)
        .await?;
    waits.extend(
        timers
            .into_iter()
            .map(|(participant, name, due_in_ms)| Wait::Timer {
                participant,
                name,
                due_in_ms,
            }),
    );
    let parked: Vec<(String, String, i64, bool, i64)> = sqlx::query_as(PARKED)
        .bind(saga)
        .fetch_all(&mut *connection)
        .await?;
    for (participant, reason, since_ms, replaying, messages) in parked {
        waits.push(Wait::Parked {
            participant,
            reason,
            since_ms,
            replaying,
            messages,
        });
    }
    let events: Vec<String> = sqlx::query_scalar(UNPUBLISHED)
        .bind(saga)
        .fetch_all(&mut *connection)
        .await?;
    if !events.is_empty() {
        waits.push(Wait::Unpublished {
            service: service.to_owned(),
            events,
        });
    }
    let paused: Vec<(String, String, String)> = sqlx::query_as(PAUSED).fetch_all(&mut *connection).await?;
    waits.extend(
        paused
            .into_iter()
            .map(|(participant, what, reason)| Wait::Paused {
                participant,
                what,
                reason,
            }),
    );
    Ok(waits)
}

impl Wait {
    /// A line for people.
    pub(crate) fn line(&self, saga: &str) -> String {
        let span = |ms: i64| crate::moment::span(TimeDelta::milliseconds(ms));
        match self {
            Wait::Effect {
                participant,
                id,
                kind,
                exhausted: true,
                last_error,
                ..
            } => format!(
                "{participant}: effect {kind} is exhausted{}; `sagactl effects replay {id}`",
                because(last_error.as_deref())
            ),
            Wait::Effect {
                participant,
                kind,
                attempt,
                due_in_ms,
                last_error,
                ..
            } => {
                let when = match (*attempt, *due_in_ms) {
                    (0, _) => "about to be called".to_owned(),
                    (n, ms) if ms > 0 => format!("call {n} was made, the next one is due in {}", span(ms)),
                    (n, _) => format!("call {n} was made, the next one is due now"),
                };
                format!(
                    "{participant}: effect {kind}, {when}{}",
                    because(last_error.as_deref())
                )
            }
            Wait::Timer {
                participant,
                name,
                due_in_ms,
            } if *due_in_ms >= 0 => format!("{participant}: timer {name} fires in {}", span(*due_in_ms)),
            Wait::Timer {
                participant,
                name,
                due_in_ms,
            } => format!("{participant}: timer {name} is {} overdue", span(*due_in_ms)),
            Wait::Parked {
                participant,
                reason,
                since_ms,
                replaying,
                messages,
            } => {
                let what = if *replaying {
                    "a replay is asked for".to_owned()
                } else {
                    format!("`sagactl parked show {participant} {saga}`")
                };
                format!(
                    "{participant}: parked {} ago, {messages} message(s): {reason}; {what}",
                    span(*since_ms)
                )
            }
            Wait::Paused {
                participant,
                what,
                reason,
            } => {
                let what = if what == "*" {
                    "everything".to_owned()
                } else {
                    format!("effect {what}")
                };
                format!("{participant}: {what} is paused: {reason}")
            }
            Wait::Unpublished { service, events } => format!(
                "{service}: not yet published: {}; `sagactl outbox status`",
                events.join(", ")
            ),
        }
    }
}

fn because(error: Option<&str>) -> String {
    error.map_or_else(String::new, |error| format!(" ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_says_what_can_be_done() {
        let effect = |exhausted, attempt, due_in_ms| Wait::Effect {
            participant: "payment".to_owned(),
            id: Uuid::nil(),
            kind: "refund".to_owned(),
            attempt,
            exhausted,
            due_in_ms,
            last_error: Some("500".to_owned()),
        };
        let lines = [
            effect(true, 9, 0),
            effect(false, 2, 4_000),
            effect(false, 0, -1),
            Wait::Timer {
                participant: "order".to_owned(),
                name: "deadline".to_owned(),
                due_in_ms: 860_000,
            },
            Wait::Parked {
                participant: "inventory".to_owned(),
                reason: "no such product".to_owned(),
                since_ms: 180_000,
                replaying: false,
                messages: 2,
            },
        ]
        .map(|wait| wait.line("o-1"));
        assert_eq!(
            lines,
            [
                "payment: effect refund is exhausted (500); `sagactl effects replay 00000000-0000-0000-0000-000000000000`",
                "payment: effect refund, call 2 was made, the next one is due in 4 s (500)",
                "payment: effect refund, about to be called (500)",
                "order: timer deadline fires in 14 min 20 s",
                "inventory: parked 3 min 00 s ago, 2 message(s): no such product; `sagactl parked show inventory o-1`",
            ]
        );
    }
}
