use std::fs::{self, File};
use std::process::Stdio;

use anyhow::Result;
use local_stack::KafkaUser;
use tokio::process::{Child, Command};

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
