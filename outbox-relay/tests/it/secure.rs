use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use local_stack::{Authority, KafkaUser, Secure, TestStack, TestStackOptions};
use outbox_relay::{Health, Options, status};
use quadrille_process::config::Env;
use quadrille_process::kafka::KafkaSettings;
use sqlx::postgres::PgSslMode;

use super::checker::{Checker, Reader};
use super::parked::{append_all, ids, request_replay, until_parked};
use super::support::{Outbox, Running, append, eventually, until_down};
use super::writers::Writers;

/// Servers that encrypt, for all tests of this process.
pub(crate) async fn servers() -> &'static TestStack {
    static SERVERS: OnceLock<TestStack> = OnceLock::new();
    let start = || {
        let authority = Authority::new("the authority of the tests");
        let options = TestStackOptions {
            secure: Some(Secure {
                identity: authority.identity(),
                authority: authority.certificate(),
                kafka_users: ["relay", "reader", "late"].map(user).into(),
            }),
            ..TestStackOptions::default()
        };
        TestStack::with_options(&options).expect("servers for tests")
    };
    tokio::task::spawn_blocking(move || SERVERS.get_or_init(start))
        .await
        .unwrap()
}

pub(crate) fn user(name: &str) -> KafkaUser {
    KafkaUser {
        name: name.to_owned(),
        password: format!("{name}KnowsThis"),
    }
}

/// The settings of a login as people write them.
pub(crate) fn login(
    servers: &TestStack,
    mechanism: &str,
    user: &KafkaUser,
    ca_file: &Path,
) -> [(&'static str, String); 6] {
    let brokers = servers.kafka().sasl_ssl_brokers();
    [
        ("QUADRILLE_KAFKA_BROKERS", brokers.expect("they are secure")),
        ("QUADRILLE_KAFKA_SECURITY_PROTOCOL", "sasl_ssl".to_owned()),
        ("QUADRILLE_KAFKA_CA_FILE", ca_file.display().to_string()),
        ("RELAY_KAFKA_SASL_MECHANISM", mechanism.to_owned()),
        ("RELAY_KAFKA_SASL_USERNAME", user.name.clone()),
        ("RELAY_KAFKA_SASL_PASSWORD", user.password.clone()),
    ]
}

fn properties<const N: usize>(settings: [(&'static str, String); N]) -> Result<Vec<(String, String)>> {
    let settings = Env::from_pairs("RELAY", settings).build(KafkaSettings::from_env)?;
    Ok(settings.client_properties())
}

/// A file with the certificate of an authority that signed nothing here.
fn stranger(servers: &TestStack, outbox: &Outbox) -> Result<PathBuf> {
    let path = servers.dir().join(format!("{}.pem", outbox.name));
    fs::write(&path, Authority::new("a stranger").certificate())?;
    Ok(path)
}

/// An outbox with one event that waits for its relay.
async fn one_event(servers: &TestStack) -> Result<(Outbox, String)> {
    let outbox = Outbox::on(servers.addresses()).await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    Ok((outbox, topic))
}

fn relay(outbox: &Outbox, kafka: Vec<(String, String)>) -> Options {
    let mut options = outbox.relay("a");
    options.kafka = kafka;
    options
}

async fn unpublished(outbox: &Outbox) -> Result<i64> {
    let status = status::read(&outbox.options("it_relay")).await?;
    Ok(status.context("a relay was there")?.unpublished)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_from_a_scram_512_login_to_another_over_tls_all_the_way() -> Result<()> {
    over_tls_all_the_way("SCRAM-SHA-512").await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_from_a_scram_256_login_to_another_over_tls_all_the_way() -> Result<()> {
    over_tls_all_the_way("SCRAM-SHA-256").await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_from_a_plain_login_to_another_over_tls_all_the_way() -> Result<()> {
    over_tls_all_the_way("PLAIN").await
}

/// The relay logs in by this mechanism, its readers by another one or not at all.
async fn over_tls_all_the_way(mechanism: &str) -> Result<()> {
    let servers = servers().await;
    let outbox = Outbox::on(servers.addresses()).await?;
    let topic = outbox.create_topic("events", 3, &[]).await?;
    let ca_file = servers.ca_file();
    let ours = properties(login(servers, mechanism, &user("relay"), &ca_file))?;
    let logs_in_by_it = |(name, value): &(String, String)| name == "sasl.mechanism" && value == mechanism;
    ensure!(
        ours.iter().any(logs_in_by_it),
        "another mechanism than {mechanism}"
    );
    let relay = Running::start(relay(&outbox, ours));
    let writers = Writers {
        tasks: 2,
        transactions: 50,
        keys: 10,
        seed: 11,
    };
    let expected = writers.write(&outbox, &topic).await?;

    let theirs = if mechanism == "PLAIN" {
        "SCRAM-SHA-512"
    } else {
        "PLAIN"
    };
    let theirs = properties(login(servers, theirs, &user("reader"), &ca_file))?;
    Checker::default()
        .finish(&Reader::with(&theirs, &topic, 3)?, &expected)
        .await?;
    let without_login = properties([
        (
            "RELAY_KAFKA_BROKERS",
            servers.kafka().ssl_brokers().context("they are secure")?,
        ),
        ("RELAY_KAFKA_SECURITY_PROTOCOL", "ssl".to_owned()),
        ("RELAY_KAFKA_CA_FILE", ca_file.display().to_string()),
    ])?;
    Reader::with(&without_login, &topic, 3)?.take(1).await;

    let sessions: (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where ssl) from pg_stat_ssl join pg_stat_activity using (pid)
          where application_name = 'outbox-relay' and datname = current_database()",
    )
    .fetch_one(&mut outbox.superuser().await?)
    .await?;
    ensure!(sessions.0 > 0 && sessions.0 == sessions.1, "{sessions:?}");
    relay.stop().await;
    Ok(())
}

/// What others write goes on meanwhile, and what waits goes out once the relay's user may write there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_relay_may_not_write_to_is_parked_until_it_may() -> Result<()> {
    let servers = servers().await;
    let outbox = Outbox::on(servers.addresses()).await?;
    let closed = outbox.create_topic("closed", 1, &[]).await?;
    let open = outbox.create_topic("open", 1, &[]).await?;
    tokio::task::block_in_place(|| servers.kafka().deny("relay", &closed))?;
    let ca_file = servers.ca_file();
    let kafka = properties(login(servers, "SCRAM-SHA-512", &user("relay"), &ca_file))?;
    let mut options = relay(&outbox, kafka);
    options.park_topic_after = Duration::ZERO;
    // Only who asks for it has it sent again.
    options.retry_parked_topic = Duration::from_secs(3600);
    let relay = Running::start(options);

    let mut waits = append_all(&outbox, &closed, &[("k", 10), ("l", 10)]).await?;
    until_parked(&outbox, &[("*", 2)]).await;
    let sent = append_all(&outbox, &open, &[("k", 10), ("k", 10)]).await?;
    assert_eq!(ids(&Reader::new(&outbox, &open, 1)?.take(2).await), sent);
    waits.extend(append_all(&outbox, &closed, &[("k", 10)]).await?);
    until_parked(&outbox, &[("*", 3)]).await;
    let reason: String = sqlx::query_scalar("select reason from saga.outbox_parked_key")
        .fetch_one(&mut outbox.connect("it_ops").await?)
        .await?;
    assert_eq!(reason, "not_authorised");

    tokio::task::block_in_place(|| servers.kafka().allow(&closed))?;
    request_replay(&outbox).await?;
    assert_eq!(ids(&Reader::new(&outbox, &closed, 1)?.take(3).await), waits);
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_the_broker_refuses_is_named_until_the_broker_takes_it() -> Result<()> {
    let servers = servers().await;
    let (outbox, topic) = one_event(servers).await?;
    let changed = KafkaUser {
        password: "thisIsKnownLater".to_owned(),
        ..user("late")
    };
    let ca_file = servers.ca_file();
    let relay = Running::start(relay(
        &outbox,
        properties(login(servers, "SCRAM-SHA-512", &changed, &ca_file))?,
    ));
    until_down(&relay, "Authentication failed").await;
    ensure!(unpublished(&outbox).await? == 1);

    tokio::task::block_in_place(|| servers.kafka().set_password(&changed))?;
    let plain = properties(login(servers, "PLAIN", &user("reader"), &ca_file))?;
    Reader::with(&plain, &topic, 1)?.take(1).await;
    eventually("the relay is well", || async {
        relay.handle.health() == Health::Up
    })
    .await;
    relay.stop().await;
    ensure!(unpublished(&outbox).await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_our_authority_did_not_sign_gets_nothing_until_the_file_is_right() -> Result<()> {
    let servers = servers().await;
    let (outbox, topic) = one_event(servers).await?;
    let ca_file = stranger(servers, &outbox)?;
    let relay = Running::start(relay(
        &outbox,
        properties(login(servers, "SCRAM-SHA-512", &user("relay"), &ca_file))?,
    ));
    until_down(&relay, "certificate verify failed").await;
    ensure!(unpublished(&outbox).await? == 1);

    fs::copy(servers.ca_file(), &ca_file)?;
    Reader::new(&outbox, &topic, 1)?.take(1).await;
    relay.stop().await;
    ensure!(unpublished(&outbox).await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_reached_over_tls_or_not_at_all() -> Result<()> {
    let servers = servers().await;
    let (outbox, topic) = one_event(servers).await?;
    let (ours, right) = (outbox.relay("a"), outbox.options("it_relay"));
    for (database, words) in [
        (
            right.clone().ssl_root_cert(stranger(servers, &outbox)?),
            "UnknownIssuer",
        ),
        // The server's certificate is for its address.
        (right.clone().host("localhost"), "not valid for name"),
        (right.clone().ssl_mode(PgSslMode::Disable), "no encryption"),
    ] {
        let mut options = ours.clone();
        options.database = database.into();
        let relay = Running::start(options);
        until_down(&relay, words).await;
        relay.stop().await;
    }
    let relay = Running::start(ours);
    Reader::new(&outbox, &topic, 1)?.take(1).await;
    relay.stop().await;
    Ok(())
}
