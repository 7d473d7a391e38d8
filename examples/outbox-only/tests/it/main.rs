//! The examples, run as a newcomer would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use local_stack::{Addresses, TestStack};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(180);

/// A database that is empty.
async fn database(servers: &Addresses) -> Result<String> {
    let mut admin = PgConnection::connect(&servers.postgres_admin_url).await?;
    let name = format!("example_{}", uuid::Uuid::new_v4().simple());
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}")))
        .execute(&mut admin)
        .await?;
    let (server, _) = servers
        .postgres_admin_url
        .rsplit_once('/')
        .context("a URL with a database")?;
    Ok(format!("{server}/{name}"))
}

async fn topic(servers: &Addresses, name: &str) -> Result<()> {
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &servers.kafka_brokers)
        .create()?;
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    for made in admin.create_topics([&topic], &AdminOptions::new()).await? {
        made.map_err(|(name, code)| anyhow::anyhow!("{name}: {code}"))?;
    }
    Ok(())
}

/// The first record of a topic, as `read.py` takes it.
async fn first(servers: &Addresses, topic: &str) -> Result<Value> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &servers.kafka_brokers)
        .set("group.id", "example")
        .create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&place)?;
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        loop {
            ensure!(begun.elapsed() < PATIENCE, "no record came");
            let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let headers: BTreeMap<String, String> = record
                .headers()
                .map(|headers| {
                    headers
                        .iter()
                        .map(|header| {
                            (
                                header.key.to_owned(),
                                BASE64.encode(header.value.unwrap_or_default()),
                            )
                        })
                        .collect()
                })
                .unwrap_or_default();
            return Ok(json!({
                "headers": headers,
                "key": BASE64.encode(record.key().unwrap_or_default()),
                "value": BASE64.encode(record.payload().unwrap_or_default()),
            }));
        }
    })
    .await?
}

async fn service(servers: &Addresses, url: &str) -> Result<(Child, String)> {
    let mut service = Command::new(env!("CARGO_BIN_EXE_outbox-only"))
        .env("DATABASE_URL", url)
        .env("KAFKA_BROKERS", &servers.kafka_brokers)
        .env("LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = service.stdout.take().context("its output")?;
    let line = BufReader::new(stdout)
        .lines()
        .next_line()
        .await?
        .context("it ended")?;
    let address = line.rsplit(' ').next().unwrap_or_default().to_owned();
    Ok((service, address))
}

/// A program of `examples/python`; nothing where there is no Python.
async fn python(url: &str, arguments: &[&str], input: &str) -> Result<Option<String>> {
    let can = Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output()
        .await;
    if !can.is_ok_and(|output| output.status.success()) {
        ensure!(
            std::env::var_os("CI").is_none(),
            "deploy/native/prerequisites.sh python"
        );
        eprintln!("skipped: there is no Python with venv (deploy/native/prerequisites.sh python)");
        return Ok(None);
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut program = Command::new(root.join("examples/python/run"))
        .args(arguments)
        .env("DATABASE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = program.stdin.take().context("its input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = program.wait_with_output().await?;
    ensure!(output.status.success(), "{arguments:?}: {}", output.status);
    Ok(Some(String::from_utf8(output.stdout)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_told_and_what_is_refused_is_not_in_two_languages() -> Result<()> {
    // The topics are those that the examples name, so the servers are not shared with other tests.
    let stack = tokio::task::spawn_blocking(TestStack::private).await??;
    let servers = &stack.addresses();
    topic(servers, "order-events").await?;
    topic(servers, "shipment-events").await?;
    let url = database(servers).await?;
    let (_service, address) = service(servers, &url).await?;

    // The client wants one, whether or not it encrypts.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::new();
    let post = |total: i64| {
        let order = json!({ "customer": "c-1", "total_minor": total }).to_string();
        let request = client.post(format!("http://{address}/orders"));
        request
            .header("content-type", "application/json")
            .body(order)
            .send()
    };
    assert_eq!(post(0).await?.status(), 422);
    let placed = post(450).await?;
    assert_eq!(placed.status(), 201);
    let placed: Value = placed.json().await?;

    let record = first(servers, "order-events").await?;
    let Some(read) = python(&url, &["read.py"], &record.to_string()).await? else {
        return Ok(());
    };
    let event: Value = serde_json::from_str(&read)?;
    assert_eq!(event["data"], placed);
    let attribute = |name: &str| event["attributes"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(attribute("type"), "order.placed");
    assert_eq!(attribute("specversion"), "1.0");
    assert_eq!(attribute("subject"), placed["id"]);
    assert!(attribute("source").contains("orders"), "{event}");
    assert!(!attribute("sequence").is_empty(), "{event}");

    python(&url, &["append.py", "o-7", "pigeon"], "").await?;
    let record = first(servers, "shipment-events").await?;
    let read = python(&url, &["read.py"], &record.to_string())
        .await?
        .context("Python was there")?;
    let event: Value = serde_json::from_str(&read)?;
    assert_eq!(event["data"], json!({ "order_id": "o-7", "carrier": "pigeon" }));
    assert_eq!(event["attributes"]["type"], "shipment.sent");
    Ok(())
}
