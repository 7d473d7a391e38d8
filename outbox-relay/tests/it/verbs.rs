use std::process::{Output, Stdio};

use anyhow::Result;
use tokio::process::Command;

use super::checker::Reader;
use super::support::{Outbox, Running, append, run, until_down};

/// What a verb says, and its exit code.
async fn verb(outbox: &Outbox, brokers: &str, verb: &str, more: &[(&str, &str)]) -> Result<(i32, String)> {
    let arguments: Vec<_> = verb.split(' ').collect();
    let source = outbox.source();
    let mut settings = vec![
        ("RELAY_SOURCES", source.as_str()),
        ("RELAY_KAFKA_BROKERS", brokers),
        ("RELAY_LEASE_MS", "2000"),
    ];
    settings.extend(more);
    called(&arguments, &settings).await
}

async fn called(arguments: &[&str], settings: &[(&str, &str)]) -> Result<(i32, String)> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = [stdout, stderr].concat();
    Ok((status.code().unwrap_or(-1), String::from_utf8(said)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_and_how_to_mend_it() -> Result<()> {
    let outbox = Outbox::new().await?;
    let brokers = outbox.servers.kafka_brokers.clone();
    let topic = outbox
        .create_topic("small", 3, &[("max.message.bytes", "5000")])
        .await?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    let (code, said) = verb(&outbox, &brokers, "check", &[]).await?;
    assert_eq!(code, 0, "{said}");
    for words in [
        "sessions are kept",
        "may do what the relay does",
        "the clocks agree",
        "the broker answers",
        "3 partitions, events of up to 5000 bytes",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }

    append(&mut writer, &topic, "k", "t", Some(&[b'x'; 6000]), "{}").await?;
    append(&mut writer, &outbox.topic("missing"), "k", "t", Some(b"1"), "{}").await?;
    let mut owner = outbox.superuser().await?;
    run(&mut owner, "alter sequence saga.outbox_position cache 10").await?;
    let kafka = [("RELAY_KAFKA_PROPERTIES", "acks=1")];
    let (code, said) = verb(&outbox, &brokers, "check", &kafka).await?;
    assert_eq!(code, 1, "{said}");
    for words in [
        "an event of 6001 bytes waits",
        "max.message.bytes",
        "-missing is not there",
        "hands out 10 positions at once",
        "acks is set, and does not count",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }

    let transactions = [("RELAY_TRANSACTIONAL_ID_PREFIX", "shop")];
    let (_, said) = verb(&outbox, &brokers, "check", &transactions).await?;
    for words in [
        "group shop-it tells what was committed",
        "transactions can be made (tried as shop-it-check)",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }

    run(&mut owner, "revoke truncate on saga.outbox_2 from it_relay").await?;
    let (code, said) = verb(&outbox, "127.0.0.1:1", "check", &[]).await?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("may not truncate saga.outbox_2"), "{said}");
    assert!(said.contains("the broker does not answer: "), "{said}");

    // As before an upgrade, and on a database that nobody has prepared.
    for drop in [
        "alter function saga.relay_resume rename to later",
        "drop table saga.topic_growth",
        "drop schema saga cascade",
    ] {
        run(&mut owner, drop).await?;
        let (code, said) = verb(&outbox, &brokers, "check", &[]).await?;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("run `outbox-relay migrate`"), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_when_the_outbox_is_empty() -> Result<()> {
    let outbox = Outbox::new().await?;
    let brokers = outbox.servers.kafka_brokers.clone();
    let topic = outbox
        .create_topic("events", 1, &[("max.message.bytes", "5000")])
        .await?;
    let mut writer = outbox.connect("it").await?;
    for _ in 0..50 {
        append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    }
    let short = [("RELAY_DRAIN_WITHIN_MS", "8000")];
    let (code, said) = verb(&outbox, "127.0.0.1:1", "drain", &short).await?;
    assert_eq!(code, 69, "{said}");
    assert!(
        said.contains("it: 50 event(s) left; broker is in trouble"),
        "{said}"
    );

    let (code, said) = verb(&outbox, &brokers, "drain", &[]).await?;
    assert_eq!((code, said.as_str()), (0, "it is empty\n"));
    Reader::new(&outbox, &topic, 1)?.take(50).await;

    // Somebody else's relay drains it as well; what is parked stays, and is told.
    let relay = Running::start(outbox.relay("a"));
    append(&mut writer, &topic, "k", "t", Some(&[b'x'; 6000]), "{}").await?;
    until_down(&relay, "parked").await;
    let (code, said) = verb(&outbox, &brokers, "drain", &[]).await?;
    assert_eq!(
        (code, said.as_str()),
        (1, "it is empty\nit: 1 event(s) are parked\n")
    );
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grow_looks_on_until_it_is_done() -> Result<()> {
    let outbox = Outbox::new().await?;
    let brokers = outbox.servers.kafka_brokers.clone();
    let topic = outbox.create_topic("events", 2, &[]).await?;
    let relay = Running::start(outbox.relay("a"));
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    Reader::new(&outbox, &topic, 2)?.take(1).await;

    let (code, said) = verb(&outbox, &brokers, &format!("grow {topic} --partitions 5"), &[]).await?;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("waits for: nobody"), "{said}");
    assert!(said.contains("nobody can be asked here; say --yes"), "{said}");
    let (code, said) = verb(
        &outbox,
        &brokers,
        &format!("grow {topic} --partitions 5 --yes"),
        &[],
    )
    .await?;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("it: keys are spread over 5 partitions"), "{said}");
    let (code, said) = verb(
        &outbox,
        &brokers,
        &format!("grow {topic} --partitions 5 --yes"),
        &[],
    )
    .await?;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing to do"), "{said}");
    let (code, said) = verb(&outbox, &brokers, &format!("grow {topic} --to 5"), &[]).await?;
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("there is no --to"), "{said}");
    relay.stop().await;
    Ok(())
}

/// What the program says, and its exit code, for somebody who has configured nothing.
async fn unconfigured(arguments: &[&str]) -> Result<(i32, String)> {
    called(arguments, &[]).await
}

/// Those that `--help` names: one that comes later is tried as well.
async fn verbs() -> Result<Vec<String>> {
    let (code, said) = unconfigured(&["--help"]).await?;
    assert_eq!(code, 0, "{said}");
    let named = said.split(['[', ']']).nth(1).unwrap_or_default();
    let verbs: Vec<String> = named.split('|').map(str::to_owned).collect();
    assert!(verbs.len() >= 6, "{said}");
    Ok(verbs)
}

#[tokio::test]
async fn help_of_a_verb_needs_no_configuration_and_does_nothing() -> Result<()> {
    for verb in verbs().await? {
        for flag in ["--help", "-h"] {
            let (code, said) = unconfigured(&[verb.as_str(), flag]).await?;
            assert_eq!(code, 0, "{verb} {flag}: {said}");
            let usage = format!("usage: outbox-relay {verb} ");
            for words in [usage.as_str(), "Exit codes:", "  64  ", "SOURCES[_FILE]"] {
                assert!(said.contains(words), "{verb} {flag}: {words}:\n{said}");
            }
        }
    }
    Ok(())
}

/// `drain --dry-run` must not drain.
#[tokio::test]
async fn an_argument_that_a_verb_does_not_have_is_wrong_usage() -> Result<()> {
    for verb in verbs().await? {
        let (code, said) = unconfigured(&[verb.as_str(), "--bogus"]).await?;
        assert_eq!(code, 64, "{verb}: {said}");
        // And not for want of a configuration, which has the same code.
        assert!(said.contains("--bogus"), "{verb}: {said}");
    }
    Ok(())
}
