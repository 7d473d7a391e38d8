use std::time::{Duration, Instant};

use anyhow::Result;
use outbox_relay::{Options, Phase, STATEMENTS};
use quadrille_process::fault;

use super::checker::{Checker, Reader};
use super::support::{Outbox, Running, append, eventually};
use super::writers::Writers;

fn statement(name: &str) -> &'static str {
    STATEMENTS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("known")
        .1
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
    second
        .until(
            "stands by",
            |phase| matches!(phase, Phase::Standby { owner } if owner.starts_with("first")),
        )
        .await;
    first.stop().await;
    // The first one's lease would have lasted for an hour.
    second.until_publishing().await;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    Reader::new(&outbox, &topic, 1)?.take(1).await;
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
    let open = |fence: i64| {
        sqlx::query(statement("OPEN"))
            .bind("it")
            .bind(fence)
            .bind(0_i64)
            .bind("1:1:")
            .bind(Vec::<String>::new())
            .bind(false)
    };
    let renew = |fence: i64| {
        sqlx::query(statement("RENEW"))
            .bind("it")
            .bind(fence)
            .bind(1000_i64)
            .bind(i64::MAX)
            .bind("1:1:")
            .bind(0_i64)
            .bind(0_i64)
            .bind(0_i64)
    };
    let record = |fence: i64| {
        sqlx::query(statement("RECORD_TOPIC"))
            .bind("it")
            .bind(fence)
            .bind("t")
            .bind(3)
    };
    let recover = |fence: i64| {
        sqlx::query_scalar::<_, Option<i64>>(statement("RECOVER"))
            .bind("it")
            .bind(fence)
            .bind(1_i64)
            .bind(1_i64)
    };
    assert_eq!(open(mine).execute(&mut zombie).await?.rows_affected(), 0);
    assert_eq!(record(mine).execute(&mut zombie).await?.rows_affected(), 0);
    assert_eq!(recover(mine).fetch_one(&mut zombie).await?, None);
    assert_eq!(renew(mine).execute(&mut zombie).await?.rows_affected(), 0);
    assert_eq!(open(theirs).execute(&mut heir).await?.rows_affected(), 1);
    assert_eq!(record(theirs).execute(&mut heir).await?.rows_affected(), 1);
    assert_eq!(renew(theirs).execute(&mut heir).await?.rows_affected(), 1);
    Ok(())
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
    super::support::run(&mut zombie, "begin").await?;
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
    super::support::run(&mut zombie, "commit").await?;
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
