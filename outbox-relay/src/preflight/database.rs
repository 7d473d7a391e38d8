use std::time::Duration;

use chrono::Utc;
use sqlx::postgres::PgConnection;

use super::{Finding, Target};
use crate::options::Options;
use crate::outbox::error::{OutboxError, within};
use crate::outbox::sql;

pub(super) const PATIENCE: Duration = Duration::from_secs(15);

const DOING: &str = "looking at the outbox";
const OLDEST_SERVER: i32 = 140_000;
/// Ages are told by our clock.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// The outbox's tables and what of them this role may use.
pub(super) async fn look(
    connection: &mut PgConnection,
    options: &Options,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Target>, OutboxError> {
    let (version, shown, standby): (i32, String, bool) = ask(connection, sql::SERVER).await?;
    findings.push(if version < OLDEST_SERVER {
        Finding::wrong(
            format!("the server is PostgreSQL {shown}"),
            "14 is the oldest that is supported",
        )
    } else {
        Finding::fine(format!("the server is PostgreSQL {shown}"))
    });
    if standby {
        return Err(OutboxError::Standby);
    }
    let before = Utc::now();
    let (theirs,): (chrono::DateTime<Utc>,) = ask(connection, sql::CLOCK).await?;
    let ours = before + (Utc::now() - before) / 2;
    let off = (theirs - ours).num_milliseconds();
    findings.push(if off.abs() > CLOCK_TOLERANCE_MS {
        Finding::doubtful(
            format!("the database's clock is {off} ms ahead of ours"),
            "ages of events are wrong by that much; let both follow one time server. Leases do not mind",
        )
    } else {
        Finding::fine("the clocks agree")
    });

    let (migrated,): (bool,) = ask(connection, sql::MIGRATED).await?;
    if !migrated {
        return Err(OutboxError::NotMigrated);
    }
    if !may_everything(connection, findings).await? {
        return Ok(Vec::new());
    }
    look_inside(connection, options, findings).await?;
    targets(connection).await
}

async fn may_everything(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<bool, OutboxError> {
    let missing: Vec<(String, String)> = within(
        PATIENCE,
        DOING,
        sqlx::query_as(sql::MISSING_PRIVILEGES).fetch_all(&mut *connection),
    )
    .await?;
    let (role,): (String,) = ask(connection, "select current_user::text").await?;
    if missing.is_empty() {
        findings.push(Finding::fine(format!("role {role} may do what the relay does")));
        return Ok(true);
    }
    for (what, privilege) in missing {
        findings.push(Finding::wrong(
            format!("role {role} may not {privilege} {what}"),
            "roles that are there when the outbox is migrated get their rights: <owner>_relay, where the owner's name \
             ends in _migrate; or grant it by hand",
        ));
    }
    Ok(false)
}

async fn look_inside(
    connection: &mut PgConnection,
    options: &Options,
    findings: &mut Vec<Finding>,
) -> Result<(), OutboxError> {
    let known_as: Option<String> = within(
        PATIENCE,
        DOING,
        sqlx::query_scalar(sql::KNOWN_AS).fetch_optional(&mut *connection),
    )
    .await?;
    match known_as {
        Some(known_as) if known_as != options.source.as_str() => findings.push(Finding::wrong(
            format!(
                "this outbox is known as '{known_as}', not as '{}'",
                options.source
            ),
            "the name is part of what consumers remember: configure the one that it is known as",
        )),
        Some(_) => {}
        None => findings.push(Finding::fine("no relay has served this outbox yet")),
    }
    let (cached,): (i64,) = ask(connection, sql::POSITIONS_CACHED).await?;
    if cached != 1 {
        findings.push(Finding::wrong(
            format!("the sequence saga.outbox_position hands out {cached} positions at once"),
            "events of one key would be published in the wrong order: alter sequence saga.outbox_position cache 1",
        ));
    }
    let (prepared,): (i64,) = ask(connection, sql::OLD_PREPARED).await?;
    if prepared > 0 {
        findings.push(Finding::doubtful(
            format!("{prepared} prepared transaction(s) are older than an hour"),
            "what they wrote cannot be published, and their leaves are not emptied: commit or roll them back \
             (pg_prepared_xacts)",
        ));
    }
    let (parked,): (i64,) = ask(connection, sql::parked::PARKED_EVENTS).await?;
    if parked > 0 {
        findings.push(Finding::doubtful(
            format!("{parked} event(s) are parked"),
            "see 'sagactl outbox parked', or saga.outbox_parked_key",
        ));
    }
    Ok(())
}

async fn targets(connection: &mut PgConnection) -> Result<Vec<Target>, OutboxError> {
    let rows: Vec<(String, Option<i32>, Option<i64>)> = within(
        PATIENCE,
        DOING,
        sqlx::query_as(sql::TARGETS).fetch_all(connection),
    )
    .await?;
    let target = |(topic, recorded, largest)| Target {
        topic,
        recorded,
        largest,
    };
    Ok(rows.into_iter().map(target).collect())
}

async fn ask<T>(connection: &mut PgConnection, sql: &'static str) -> Result<T, OutboxError>
where
    T: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    within(PATIENCE, DOING, sqlx::query_as(sql).fetch_one(connection)).await
}
