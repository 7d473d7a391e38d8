use std::collections::{BTreeMap, HashMap};
use std::io::{Write as _, stderr};
use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::DateTime;
use local_stack::{ConnectPrograms, ConnectSettings, KafkaConnect, TestStack, TestStackOptions};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::checker::{Reader, Record};
use super::support::{Outbox, PASSWORD, Running, append, run};

/// What who reads with Debezium runs (docs/debezium.md): the very files.
const SETUP: &str = "deploy/debezium/setup.sql";
const CONNECTOR: &str = "deploy/debezium/connector.json";
const EMPTY_LEAVES: &str = "deploy/debezium/empty-leaves.sql";

const PARTITIONS: i32 = 12;

/// Debezium's programs; nothing where they cannot be had.
async fn programs() -> Result<Option<ConnectPrograms>> {
    match spawn_blocking(ConnectPrograms::fetch).await? {
        Ok(programs) => Ok(Some(programs)),
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "Debezium cannot be had: {error}"
            );
            // Not with eprintln!, which a test that passes keeps to itself.
            writeln!(stderr(), "skipped: Debezium cannot be had here: {error}")?;
            Ok(None)
        }
    }
}

fn of_the_checkout(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The connector as it is documented, with this test's addresses.
fn settings(outbox: &Outbox) -> Result<ConnectSettings> {
    #[derive(serde::Deserialize)]
    struct File {
        name: String,
        config: BTreeMap<String, String>,
    }
    let File { name, mut config } = serde_json::from_str(&of_the_checkout(CONNECTOR)?)?;
    let server = outbox.options("it_debezium");
    for (key, value) in [
        ("database.hostname", server.get_host().to_owned()),
        ("database.port", server.get_port().to_string()),
        ("database.dbname", outbox.name.clone()),
        ("database.user", "it_debezium".to_owned()),
        ("database.password", PASSWORD.to_owned()),
        ("transforms.source.value.literal", "/it".to_owned()),
    ] {
        let documented = config.insert(key.to_owned(), value);
        documented.with_context(|| format!("{key} is not in {CONNECTOR}"))?;
    }
    Ok(ConnectSettings {
        name,
        connector: config.into_iter().collect(),
        heap_mb: 512,
        short_lived: true,
    })
}

/// What must not depend on who published it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    topic: String,
    partition: i32,
    key: String,
    r#type: String,
    source: String,
    subject: String,
    specversion: String,
    micros: i64,
    payload: Option<Vec<u8>>,
}

impl Published {
    fn of(topic: &str, record: &Record) -> Self {
        let header = |name| record.header(name).unwrap_or("missing").to_owned();
        let time = DateTime::parse_from_rfc3339(&header("ce_time"));
        Self {
            topic: topic.to_owned(),
            partition: record.partition,
            key: record.key.clone(),
            r#type: header("ce_type"),
            source: header("ce_source"),
            subject: header("ce_subject"),
            specversion: header("ce_specversion"),
            micros: time.map_or(0, |time| time.timestamp_micros()),
            payload: record.payload.clone(),
        }
    }
}

/// What one of the two has published.
#[derive(Debug, Default)]
struct Side {
    by_id: HashMap<Uuid, Published>,
    order: BTreeMap<String, Vec<Uuid>>,
}

impl Side {
    fn add(&mut self, topic: &str, record: &Record) -> Result<()> {
        let id: Uuid = record.header("ce_id").context("an event has an id")?.parse()?;
        let twice = self.by_id.insert(id, Published::of(topic, record));
        assert_eq!(twice, None, "{id} came twice");
        let key = format!("{topic}/{}", record.key);
        self.order.entry(key).or_default().push(id);
        Ok(())
    }
}

/// The position is the relay's own.
fn side_of<'s>(record: &Record, ours: &'s mut Side, theirs: &'s mut Side) -> &'s mut Side {
    if record.header("ce_sequence").is_some() {
        ours
    } else {
        theirs
    }
}

/// Everything that an outbox may hold: transactions of one and of many, one that is rolled back, keys of every kind, JSON,
/// bytes, nothing, and a tombstone. Returns how many went to each of the two topics.
async fn write(writer: &mut PgConnection, orders: &str, stock: &str) -> Result<(usize, usize)> {
    let json = r#"{"content-type": "application/json", "ce_dataschema": "order.created/2"}"#;
    for n in 0..40 {
        let mut transaction = writer.begin().await?;
        for part in 0..(n % 5) + 1 {
            let payload = format!("{{\"n\": {n}, \"part\": {part}, \"text\": \"Ä'\\\"\"}}");
            let key = format!("key-{}", n % 7);
            append(
                &mut transaction,
                orders,
                &key,
                "order.created",
                Some(payload.as_bytes()),
                json,
            )
            .await?;
        }
        if n % 10 == 9 {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
    }
    for (key, payload) in [
        ("schlüssel/ключ", Some(&b"\x00\xff\xfe bytes"[..])),
        ("", Some(b"{}")),
        ("gone", Some(b"{\"is\": true}")),
        ("gone", None),
    ] {
        append(writer, stock, key, "stock.counted", payload, "{}").await?;
    }
    sqlx::query("select saga.append_event($1, 'k', 'stock.counted', '{\"b\": 2}')")
        .bind(stock)
        .execute(writer)
        .await?;
    // Of 40 transactions with 1 to 5 rows, the four that were rolled back had 5 each.
    Ok((40 / 5 * 15 - 4 * 5, 5))
}

/// Nobody is locked in: Debezium on the same table says the same, under the same topics and keys.
#[tokio::test(flavor = "multi_thread")]
async fn debezium_publishes_the_same_from_the_same_table() -> Result<()> {
    let Some(programs) = programs().await? else {
        return Ok(());
    };
    let stack = spawn_blocking(|| {
        TestStack::with_options(&TestStackOptions {
            logical: true,
            ..TestStackOptions::default()
        })
    })
    .await??;
    let outbox = Outbox::on(stack.addresses()).await?;
    let mut admin = outbox.admin().await?;
    run(
        &mut admin,
        &format!("create role it_debezium login replication password '{PASSWORD}'"),
    )
    .await?;
    let mut owner = outbox.connect("it_migrate").await?;
    owner.execute(AssertSqlSafe(of_the_checkout(SETUP)?)).await?;

    let orders = outbox.create_topic("orders", PARTITIONS, &[]).await?;
    let stock = outbox.create_topic("stock", PARTITIONS, &[]).await?;
    let mut writer = outbox.connect("it").await?;
    let mut expected = [(&orders, 0), (&stock, 0)];
    let mut count = |(of_orders, of_stock): (usize, usize)| {
        expected[0].1 += of_orders;
        expected[1].1 += of_stock;
    };

    // What is there when Debezium begins goes through its snapshot, what comes later through the log.
    count(write(&mut writer, &orders, &stock).await?);
    let connector = settings(&outbox)?;
    let (_stack, _connect) = spawn_blocking(move || {
        let connect: KafkaConnect = stack.kafka_connect(&programs, &connector)?;
        anyhow::Ok((stack, connect))
    })
    .await??;
    // The leaves are emptied by who reads with Debezium.
    let relay = Running::start(outbox.relay_that_keeps_rows("a"));
    count(write(&mut writer, &orders, &stock).await?);

    let (mut ours, mut theirs) = (Side::default(), Side::default());
    let mut readers = Vec::new();
    for (topic, events) in expected {
        readers.push((topic, Reader::new(&outbox, topic, PARTITIONS)?, events));
    }
    for (topic, reader, events) in &readers {
        for record in reader.take(events * 2).await {
            // The position is the relay's own.
            let side = if record.header("ce_sequence").is_some() {
                &mut ours
            } else {
                &mut theirs
            };
            side.add(topic, &record)?;
        }
    }
    // A table that is emptied is no event, and what is written afterwards is read as before.
    run(&mut owner, "truncate saga.outbox").await?;
    append(&mut writer, &orders, "last", "order.created", Some(b"{}"), "{}").await?;
    for record in readers[0].1.take(2).await {
        side_of(&record, &mut ours, &mut theirs).add(&orders, &record)?;
    }

    let events: usize = expected.iter().map(|(_, events)| events).sum();
    assert_eq!(ours.by_id.len(), events + 1);
    for (id, published) in &ours.by_id {
        assert_eq!(theirs.by_id.get(id), Some(published), "{id}");
    }
    assert_eq!(ours.by_id.len(), theirs.by_id.len());
    assert_eq!(ours.order, theirs.order);
    relay.stop().await;
    Ok(())
}

/// A leaf that is written to is not emptied, nor the one that will be within a moment.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_of_minutes_that_are_over_are_emptied_without_a_relay() -> Result<()> {
    let outbox = Outbox::new().await?;
    let empty_leaves = of_the_checkout(EMPTY_LEAVES)?;
    let left = async || -> Result<bool> {
        let mut owner = outbox.connect("it_migrate").await?;
        let mut transaction = owner.begin().await?;
        let now: i16 = sqlx::query_scalar("select saga.outbox_slot()")
            .fetch_one(&mut *transaction)
            .await?;
        transaction
            .execute(
                "insert into saga.outbox (id, aggregatetype, aggregateid, type, slot) \
                 select gen_random_uuid(), 't', 'k', 't', slot from generate_series(0, 3) slot",
            )
            .await?;
        transaction.execute(AssertSqlSafe(empty_leaves.clone())).await?;
        let left: Vec<i16> = sqlx::query_scalar("select slot from saga.outbox order by slot")
            .fetch_all(&mut *transaction)
            .await?;
        transaction.rollback().await?;
        let mut kept = [now, (now + 1) % 4];
        kept.sort_unstable();
        Ok(left == kept)
    };
    // The minute may end in between.
    if !left().await? {
        assert!(left().await?);
    }
    Ok(())
}
