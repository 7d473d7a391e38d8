use std::fs::{self, File};
use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use local_stack::{KafkaUser, free_ports};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::checker::Reader;
use super::secure::{login, servers, user};
use super::support::{Outbox, PASSWORD, append, eventually};

/// The program at work, until the value is dropped.
pub fn serve(outbox: &Outbox, sources: &str, settings: &[(&str, &str)]) -> Result<Child> {
    Ok(Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .env("RELAY_SOURCES", sources)
        .env("RELAY_KAFKA_BROKERS", &outbox.servers.kafka_brokers)
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// Whoever reads the log learns what to mend, and cannot log in with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_which_login_is_refused_and_holds_no_password() -> Result<()> {
    let servers = servers().await;
    let outbox = Outbox::on(servers.addresses()).await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;

    let sources = format!("{};other={}", outbox.source(), outbox.relay_url("notThisOne"));
    let guess = KafkaUser {
        password: "neitherIsThis".to_owned(),
        ..user("relay")
    };
    let log = servers.dir().join(format!("{}.log", outbox.name));
    let said = || fs::read_to_string(&log).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .envs(login(servers, "SCRAM-SHA-512", &guess, &servers.ca_file()))
        .env("RELAY_SOURCES", sources)
        .env("RELAY_ADMIN_LISTEN", "127.0.0.1:0")
        // For what must not be there.
        .env("RELAY_LOG", "debug")
        .stdin(Stdio::null())
        .stderr(File::create(&log)?)
        .kill_on_drop(true)
        .spawn()?;
    for words in ["Authentication failed", "password authentication failed for user"] {
        let warned = |line: &str| line.contains(" WARN ") && line.contains(words);
        eventually(words, || async { said().lines().any(warned) }).await;
    }
    program.kill().await?;
    for secret in [PASSWORD, "notThisOne", "neitherIsThis"] {
        assert!(!said().contains(secret), "{secret}:\n{}", said());
    }
    Ok(())
}

/// With huge ones it would have twice the memory, and a hundred outboxes would cost it twice the time.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_program_has_pages_of_ordinary_size() -> Result<()> {
    let outbox = Outbox::new().await?;
    let program = serve(&outbox, &outbox.source(), &[])?;
    let pid = program.id().context("it runs")?;
    eventually("it takes no huge pages", || async {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().any(|line| line == "THP_enabled:\t0")
    })
    .await;
    Ok(())
}

/// What the program's admin port answers.
async fn ask(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
    Ok(body.to_owned())
}

/// A source that cannot be reached, or not with this password, is no other one's trouble.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_is_served_beside_two_that_cannot_be() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    // The kernel accepts in its name, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let sources = format!(
        "wrong={},silent=postgres://it_relay:x@{}/it,{}",
        outbox.relay_url("notThisOne"),
        silent.local_addr()?,
        outbox.source()
    );
    let [port] = free_ports()?;
    let admin = format!("127.0.0.1:{port}");
    let _program = serve(&outbox, &sources, &[("RELAY_ADMIN_LISTEN", admin.as_str())])?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    Reader::new(&outbox, &topic, 1)?.take(1).await;

    eventually("one is up, and two say why they are not", || async {
        let Ok(answer) = ask(port, "/ready").await else {
            return false;
        };
        let report: Value = serde_json::from_str(&answer).unwrap();
        let is_down = |check: &str, words: &str| {
            let reason = report["checks"][check]["reason"].as_str();
            report["checks"][check]["status"] == "down" && reason.is_some_and(|reason| reason.contains(words))
        };
        report["ready"] == true
            && report["checks"]["outbox-it"]["status"] == "up"
            && is_down("outbox-wrong", "password authentication failed")
            && is_down("outbox-silent", "no answer within")
    })
    .await;
    let metrics = ask(port, "/metrics").await?;
    for (source, held) in [("it", 1), ("wrong", 0), ("silent", 0)] {
        let line = format!("outbox_relay_lease_held{{source=\"{source}\"}} {held}");
        ensure!(metrics.lines().any(|known| known == line), "{line}:\n{metrics}");
    }
    // What is written now is published as well: nobody waits for the other two.
    append(&mut writer, &topic, "k", "t", Some(b"2"), "{}").await?;
    Reader::new(&outbox, &topic, 1)?.take(2).await;
    Ok(())
}
