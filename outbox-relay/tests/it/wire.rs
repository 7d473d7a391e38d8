use std::net::UdpSocket;

use anyhow::Result;
use chrono::DateTime;
use saga_core::envelope::Envelope;
use saga_core::partitioner::partition_for;
use tokio::process::Command;

use super::checker::Reader;
use super::support::{Outbox, Running, append, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_a_cloudevent_in_binary_mode() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 12, &[]).await?;
    let relay = Running::start(outbox.relay_that_keeps_rows("a"));
    let mut writer = outbox.connect("it").await?;
    let headers = r#"{"content-type": "application/json", "ce_correlationid": "saga-1", "ce_dataschema": "order.created/2",
        "ce_traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "raw": {"base64": "/wA="}}"#;
    let id = append(
        &mut writer,
        &topic,
        "k1",
        "order.created",
        Some(b"{\"a\":1}"),
        headers,
    )
    .await?;
    let reader = Reader::new(&outbox, &topic, 12)?;
    let record = reader.take(1).await.remove(0);

    let pairs = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    let envelope = Envelope::from_headers(pairs)?;
    assert_eq!(envelope.id, id);
    assert_eq!(envelope.source, "/it");
    assert_eq!(envelope.r#type, "order.created");
    assert_eq!(envelope.version, 2);
    assert_eq!(envelope.correlation_id.as_deref(), Some("saga-1"));
    assert_eq!(envelope.previous, None);
    assert!(
        envelope
            .sequence
            .is_some_and(|position| position.epoch == 1 && position.position == 1)
    );
    assert_eq!(record.key, "k1");
    assert_eq!(record.partition, partition_for(b"k1", 12));
    assert_eq!(record.payload.as_deref(), Some(&b"{\"a\":1}"[..]));
    assert_eq!(record.header("ce_subject"), Some("k1"));
    assert_eq!(record.header("content-type"), Some("application/json"));
    assert_eq!(record.header("traceparent"), record.header("ce_traceparent"));
    let raw = record.headers.iter().find(|(name, _)| name == "raw").unwrap();
    assert_eq!(raw.1, [0xff, 0]);
    let created_at: DateTime<chrono::Utc> = sqlx::query_scalar("select created_at from saga.outbox")
        .fetch_one(&mut writer)
        .await?;
    assert_eq!(envelope.time, Some(created_at));
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_has_no_value_and_each_record_names_the_one_before() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let relay = Running::start(outbox.relay("a"));
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", None, "{}").await?;
    append(&mut writer, &topic, "k", "t", Some(b""), "{}").await?;
    sqlx::query("select saga.append_event($1, 'k', 't', '{\"b\": 2}')")
        .bind(&topic)
        .execute(&mut writer)
        .await?;
    let records = Reader::new(&outbox, &topic, 1)?.take(3).await;
    assert_eq!(records[0].payload, None);
    assert_eq!(records[2].payload.as_deref(), Some(&b"{\"b\": 2}"[..]));
    assert_eq!(records[2].header("content-type"), Some("application/json"));
    assert_eq!(records[0].previous(), None);
    assert_eq!(records[1].previous(), Some(records[0].position()));
    assert_eq!(records[2].previous(), Some(records[1].position()));
    assert!(records[1].position() < records[2].position());
    relay.stop().await;
    Ok(())
}

/// A database knows more of them than a calendar.
#[tokio::test(flavor = "multi_thread")]
async fn times_that_no_clock_has_hold_nothing_up() -> Result<()> {
    let outbox = Outbox::new().await?;
    let late = outbox.topic("late");
    let mut writer = outbox.connect("it").await?;
    let times = [
        "infinity",
        "-infinity",
        "290000-01-01 00:00:00+00",
        "4000-01-01 00:00:00+00 BC",
        "2026-01-02 03:04:05+00",
    ];
    let mut write = async |topic: &str| -> Result<()> {
        for time in times {
            sqlx::query(
                "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, created_at)
                 values (gen_random_uuid(), $1, 'k', 't', $2, $3::text::timestamptz)",
            )
            .bind(topic)
            .bind(b"1".as_slice())
            .bind(time)
            .execute(&mut writer)
            .await?;
        }
        Ok(())
    };
    let relay = Running::start(outbox.relay("a"));
    relay.until_publishing().await;
    relay.stop().await;
    // Read as a big window; some are parked first, and read as a replay.
    let mut options = outbox.relay("b");
    options.chunk_rows = 2;
    options.park_topic_after = std::time::Duration::ZERO;
    options.retry_parked_topic = std::time::Duration::from_secs(1);
    let topic = outbox.create_topic("events", 1, &[]).await?;
    write(&topic).await?;
    write(&late).await?;
    let status = outbox_relay::status::read(&outbox.options("it_relay")).await?;
    assert_eq!(status.map(|status| status.unpublished), Some(10));
    let relay = Running::start(options);
    let expected = [
        "9999-12-31T00:00:00",
        "0001-01-01T00:00:00",
        "9999-12-31T00:00:00",
        "0001-01-01T00:00:00",
        "2026-01-02T03:04:05",
    ];
    let came = async |topic: &str| -> Result<()> {
        for (record, expected) in Reader::new(&outbox, topic, 1)?.take(5).await.iter().zip(expected) {
            let time = record.header("ce_time").unwrap();
            assert!(time.starts_with(expected), "{time}");
        }
        Ok(())
    };
    came(&topic).await?;
    super::parked::until_parked(&outbox, &[("*", 5)]).await;
    outbox.create_topic("late", 1, &[]).await?;
    came(&late).await?;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doorbell_is_only_a_hint() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("a");
    // So long that only the doorbell can be the reason.
    options.poll = (
        std::time::Duration::from_secs(3600),
        std::time::Duration::from_secs(3600),
    );
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    let relay = Running::start(options);
    let reader = Reader::new(&outbox, &topic, 1)?;
    reader.take(1).await;
    until_asleep(&outbox).await;
    append(&mut writer, &topic, "k", "t", Some(b"2"), "{}").await?;
    relay.handle.ring();
    reader.take(1).await;
    relay.stop().await;
    Ok(())
}

/// It has looked once more after the first event, and found nothing.
async fn until_asleep(outbox: &Outbox) {
    eventually("it sleeps", || async {
        let mut superuser = outbox.superuser().await.unwrap();
        sqlx::query_scalar(
            "select exists (select from saga.relay where acked_highest = 1)
                and exists (select from pg_stat_activity
                             where datname = current_database() and application_name = 'outbox-relay'
                               and state = 'idle' and query like '%exists (select from saga.outbox where xid >=%'
                               and query_start > (select max(opened_at) from saga.relay_window))",
        )
        .fetch_one(&mut superuser)
        .await
        .unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doorbell_rings_across_processes() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    let bell = UdpSocket::bind("127.0.0.1:0")?;
    // Free a moment ago; nothing else here uses datagrams.
    let door = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let mut relay = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .env("RELAY_SOURCES", outbox.source())
        .env("RELAY_KAFKA_BROKERS", &outbox.servers.kafka_brokers)
        .env("RELAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("RELAY_DOORBELL_LISTEN", door.to_string())
        // So long that only the doorbell can be the reason.
        .env("RELAY_POLL_MIN_MS", "3600000")
        .env("RELAY_POLL_MAX_MS", "3600000")
        .kill_on_drop(true)
        .spawn()?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    reader.take(1).await;
    until_asleep(&outbox).await;
    append(&mut writer, &topic, "k", "t", Some(b"2"), "{}").await?;
    // None of these is its name.
    for other in [&b"other"[..], b"", &[0xff; 9], &[b'i'; 1_000], b"it "] {
        bell.send_to(other, door)?;
    }
    assert!(relay.try_wait()?.is_none(), "it goes on");
    bell.send_to(b"it", door)?;
    reader.take(1).await;
    relay.kill().await?;
    Ok(())
}
