use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use outbox_relay::{Options, Phase, STATEMENTS};
use quadrille_process::fault;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::checker::{Checker, Reader};
use super::program::serve;
use super::support::{Outbox, PATIENCE, Running, append, eventually, run};
use super::writers::Writers;

fn statement(name: &str) -> &'static str {
    STATEMENTS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("known")
        .1
}

async fn until_behind_the_first(second: &Running) {
    second
        .until(
            "stands by",
            |phase| matches!(phase, Phase::Standby { owner } if owner.starts_with("first")),
        )
        .await;
}

/// An event that is written now arrives.
async fn publishes(outbox: &Outbox, topic: &str) -> Result<()> {
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, topic, "k", "t", Some(b"1"), "{}").await?;
    Reader::new(outbox, topic, 1)?.take(1).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_told_to_stop_hands_over_at_once() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("first");
    options.lease = Duration::from_secs(3600);
    let first = Running::start(options);
    first.until_publishing().await;
    let second = Running::start(outbox.relay("second"));
    until_behind_the_first(&second).await;
    first.stop().await;
    // The first one's lease would have lasted for an hour.
    second.until_publishing().await;
    publishes(&outbox, &topic).await?;
    second.stop().await;
    Ok(())
}

/// The same with the program itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_terminated_hands_over_at_once() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let settings = [("RELAY_LEASE_MS", "3600000"), ("RELAY_INSTANCE", "first")];
    let mut program = serve(&outbox, &outbox.source(), &settings)?;
    eventually("the program holds the lease", || async {
        let mut connection = outbox.superuser().await.unwrap();
        let owner = sqlx::query_scalar::<_, Option<String>>("select owner from saga.relay")
            .fetch_optional(&mut connection)
            .await
            .unwrap();
        owner.flatten().as_deref() == Some("first")
    })
    .await;
    let second = Running::start(outbox.relay("second"));
    until_behind_the_first(&second).await;
    let id = i32::try_from(program.id().context("it runs")?)?;
    kill_process(Pid::from_raw(id).context("no process is 0")?, Signal::TERM)?;
    let ended = tokio::time::timeout(PATIENCE, program.wait()).await??;
    assert!(ended.success(), "{ended}");
    second.until_publishing().await;
    publishes(&outbox, &topic).await?;
    second.stop().await;
    Ok(())
}

/// A dead relay keeps others waiting until its lease is over, and no longer. What tells is the database's clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_died_is_succeeded_when_its_lease_is_over() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("first");
    options.lease = Duration::from_secs(15);
    let first = Running::start(options);
    first.until_publishing().await;
    // Its own lease is none of the first one's.
    let mut options = outbox.relay("second");
    options.lease = Duration::from_secs(3600);
    let second = Running::start(options);
    until_behind_the_first(&second).await;
    first.kill().await;
    let mut observer = outbox.superuser().await?;
    let over: DateTime<Utc> = sqlx::query_scalar("select expires_at from saga.relay")
        .fetch_one(&mut observer)
        .await?;
    publishes(&outbox, &topic).await?;
    let acquired: DateTime<Utc> = sqlx::query_scalar("select acquired_at from saga.relay")
        .fetch_one(&mut observer)
        .await?;
    let late = acquired - over;
    assert!(
        late >= TimeDelta::zero(),
        "it was taken while it was held: {late}"
    );
    // Less than another lease of the first one's.
    assert!(late < TimeDelta::seconds(10), "it was taken late: {late}");
    second.until_publishing().await;
    second.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_relay_that_wakes_up_adds_only_known_duplicates() -> Result<()> {
    // With a window committed and nothing of it sent.
    wakes_up("relay::after_window_commit", |_| {}).await.map(drop)
}

/// A relay is frozen at a point, another one takes over, and it wakes up.
pub async fn wakes_up(point: &str, tune: impl Fn(&mut Options)) -> Result<Checker> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 4, &[]).await?;
    let writers = Writers {
        tasks: 6,
        transactions: 150,
        keys: 10,
        seed: 3,
    };
    let mut options = outbox.relay("frozen");
    tune(&mut options);
    options.lease = Duration::from_millis(500);
    let frozen = options.owner.clone();
    let first = Running::start(options);
    first.until_publishing().await;
    writers.prepare(&outbox).await?;
    let writing = tokio::spawn({
        let (outbox, topic) = (outbox.clone(), topic.clone());
        async move { writers.write_more(&outbox, &topic).await }
    });
    // Whoever renews the lease is frozen as well.
    let publishing = format!("{point}/{frozen}");
    let keeping = format!("relay::after_ack_before_persist/{frozen}");
    fault::arm(&keeping, "delay:2500@1")?;
    fault::arm(&publishing, "delay:2500@1")?;
    eventually("frozen", || async {
        fault::hits(&publishing) >= 1 && fault::hits(&keeping) >= 1
    })
    .await;
    let mut options = outbox.relay("second");
    tune(&mut options);
    let second = Running::start(options);
    second.until_publishing().await;
    first
        .until(
            "stands by",
            |phase| matches!(phase, Phase::Standby { owner } if owner.starts_with("second")),
        )
        .await;
    let expected = writing.await??;
    let reader = Reader::new(&outbox, &topic, 4)?;
    let checked = Checker::default().finish(&reader, &expected).await?;
    first.stop().await;
    second.stop().await;
    Ok(checked)
}

/// The one that acquired under the same name an instant ago must not be able to write either.
#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_a_zombie_is_refused() -> Result<()> {
    let outbox = Outbox::new().await?;
    outbox.create_topic("events", 1, &[]).await?;
    let relay = Running::start(outbox.relay("same"));
    relay.until_publishing().await;
    relay.stop().await;
    let mut zombie = outbox.connect("it_relay").await?;
    let fence = |sql| {
        sqlx::query_scalar::<_, i64>(sql)
            .bind("it")
            .bind("same")
            .bind(3_600_000_i64)
            .bind(None::<i64>)
    };
    let mine = fence(statement("ACQUIRE")).fetch_one(&mut zombie).await?;
    sqlx::query(statement("RELEASE"))
        .bind("it")
        .bind(mine)
        .execute(&mut zombie)
        .await?;
    let mut heir = outbox.connect("it_relay").await?;
    let theirs = fence(statement("ACQUIRE")).fetch_one(&mut heir).await?;
    assert!(theirs > mine);
    assert!(
        fence(statement("ACQUIRE"))
            .fetch_optional(&mut zombie)
            .await?
            .is_none()
    );

    let mut writer = outbox.connect("it").await?;
    append(&mut writer, "t", "k", "t", Some(b"1"), "{}").await?;
    let open_replay = "0, '1:1:', 't', 'k', false, 10";
    let id = uuid::Uuid::nil();
    // Each finds what the one before has left; `window` is the last replay's.
    let writes = [
        ("OPEN", "0, '1:1:', '{}', false".to_owned()),
        ("RECORD_TOPIC", "'t', 3".to_owned()),
        ("PARK", format!("'t', 'k', false, 'refused', 'why', '{id}', 't'")),
        ("REFUSE_AGAIN", "'t', 'k', false, 'refused', 'why'".to_owned()),
        ("SET_ASIDE", "1, '{1}'".to_owned()),
        ("OPEN_REPLAY", open_replay.to_owned()),
        ("PUT_BACK", "window, null, 10".to_owned()),
        ("END_REFUSED", format!("window, 'refused', 'why', '{id}', 't'")),
        ("OPEN_REPLAY", open_replay.to_owned()),
        ("DROP_SENT", "window, 1, '{}', 10".to_owned()),
        ("END_REPLAY", "window".to_owned()),
        ("NOTE_GROWTH", "'t', 'a note'".to_owned()),
        ("GROW", "'t', 6".to_owned()),
        ("RENEW", format!("3600000, {}, '1:1:', 0, 0, 0", i64::MAX)),
        ("KEEP", "3600000".to_owned()),
        ("RESUME", "1, 1".to_owned()),
        ("RECOVER", "1, 1".to_owned()),
        ("RELEASE", String::new()),
    ];
    for (name, sql) in STATEMENTS.iter().filter(|(_, sql)| sql.contains("fence = $2")) {
        let reads = *name == "LEASED";
        assert!(
            reads || writes.iter().any(|(tried, _)| tried == name),
            "{name} is not tried: {sql}"
        );
    }
    let mut owner = outbox.connect("it_migrate").await?;
    for (name, arguments) in writes {
        if name == "NOTE_GROWTH" {
            let wish = "insert into saga.topic_growth (topic, wanted, wait_for) values ('t', 6, '{}')";
            run(&mut owner, wish).await?;
        }
        let window: Option<i64> = sqlx::query_scalar("select max(win) from saga.relay_window where replay")
            .fetch_one(&mut owner)
            .await?;
        let arguments = arguments.replace("window", &window.unwrap_or_default().to_string());
        let refused = does(&mut zombie, name, mine, &arguments).await?;
        assert_eq!(refused, 0, "a zombie's {name}");
        let done = does(&mut heir, name, theirs, &arguments).await?;
        assert_eq!(done, 1, "its heir's {name}");
    }
    Ok(())
}

/// How many rows a statement writes, or whether the function that it calls does its work.
async fn does(connection: &mut PgConnection, name: &str, fence: i64, arguments: &str) -> Result<u64> {
    let sql = statement(name);
    run(connection, &format!("prepare one as {sql}")).await?;
    let arguments = format!("'it', {fence}, {arguments}");
    let execute = format!("execute one({})", arguments.trim_end_matches(", "));
    let done = if sql.starts_with("select") {
        let answer: Option<i64> = sqlx::query_scalar(AssertSqlSafe(execute))
            .fetch_one(&mut *connection)
            .await?;
        u64::from(answer.is_some())
    } else {
        sqlx::query(AssertSqlSafe(execute))
            .execute(&mut *connection)
            .await?
            .rows_affected()
    };
    run(connection, "deallocate one").await?;
    Ok(done)
}

/// A window that a zombie is about to commit is either seen by its heir or not there at all: else its
/// events would go out under two positions.
#[tokio::test(flavor = "multi_thread")]
async fn an_acquisition_waits_for_a_window_that_is_being_opened() -> Result<()> {
    let outbox = Outbox::new().await?;
    let relay = Running::start(outbox.relay("a"));
    relay.until_publishing().await;
    relay.stop().await;
    let mut zombie = outbox.connect("it_relay").await?;
    let acquire = |sql| {
        sqlx::query_scalar::<_, i64>(sql)
            .bind("it")
            .bind("who")
            .bind(1_i64)
            .bind(None::<i64>)
    };
    let mine = acquire(statement("ACQUIRE")).fetch_one(&mut zombie).await?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, "t", "k", "t", Some(b"1"), "{}").await?;
    run(&mut zombie, "begin").await?;
    let opened = sqlx::query(statement("OPEN"))
        .bind("it")
        .bind(mine)
        .bind(0_i64)
        .bind("1:1:")
        .bind(Vec::<String>::new())
        .bind(false)
        .execute(&mut zombie)
        .await?;
    assert_eq!(opened.rows_affected(), 1);
    let mut heir = outbox.connect("it_relay").await?;
    let heir_pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut heir)
        .await?;
    let acquiring = tokio::spawn(async move {
        let fence = acquire(statement("ACQUIRE")).fetch_one(&mut heir).await?;
        let windows: Vec<(i64, i64, String, String, bool)> = sqlx::query_as(statement("UNACKED"))
            .bind("it")
            .bind(0_i64)
            .fetch_all(&mut heir)
            .await?;
        anyhow::Ok((fence, windows.len()))
    });
    eventually("the heir waits for the zombie's transaction", || async {
        let mut admin = outbox.admin().await.unwrap();
        sqlx::query_scalar("select cardinality(pg_blocking_pids($1)) > 0")
            .bind(heir_pid)
            .fetch_one(&mut admin)
            .await
            .unwrap()
    })
    .await;
    run(&mut zombie, "commit").await?;
    let (fence, windows) = acquiring.await??;
    assert!(fence > mine);
    assert_eq!(windows, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lost_its_connections_does_not_wait_for_itself() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut options = outbox.relay("a");
    options.lease = Duration::from_secs(600);
    let relay = Running::start(options);
    relay.until_publishing().await;
    let fence = || async {
        let mut connection = outbox.superuser().await.unwrap();
        sqlx::query_scalar::<_, i64>("select fence from saga.relay")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    let before = fence().await;
    let began = Instant::now();
    let mut admin = outbox.admin().await?;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = $1 and application_name = 'outbox-relay'",
    )
    .bind(&outbox.name)
    .execute(&mut admin)
    .await?;
    eventually("a new fence is drawn", || async { fence().await > before }).await;
    assert!(began.elapsed() < Duration::from_secs(600));
    relay.until_publishing().await;
    relay.stop().await;
    Ok(())
}
