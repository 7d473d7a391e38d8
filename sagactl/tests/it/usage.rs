use std::os::unix::process::CommandExt;

use crate::program::sagactl;

#[tokio::test]
async fn a_wrong_call_says_what_is_expected() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["dragons"], 64, "unrecognized subcommand"),
        (&["order", "place", "--item", "p:1"], 64, "--card <TOKEN>"),
        (
            &["order", "place", "--item", "p", "--page"],
            64,
            "PRODUCT:QUANTITY",
        ),
        (
            &["product", "create", "--name", "Tea", "--price", "4.205 EUR"],
            64,
            "not an amount",
        ),
        (
            &["order", "get", "o-1"],
            64,
            "SAGACTL_ORDER_GRPC is not set; expected http://host:port",
        ),
        (
            &["order", "get", "o-1", "--server", "http://127.0.0.1:1"],
            69,
            "no answer from http://127.0.0.1:1 (ORDER_GRPC)",
        ),
        (&["saga", "show", "o-1"], 64, "SAGACTL_KAFKA_BROKERS is not set"),
        (&["parked", "list"], 64, "SAGACTL_ORDER_OPS_URL is not set"),
        (&["migrate", "--no-topics"], 64, "SAGACTL_ADMIN_URL is not set"),
        // The URL of the administrator may come from the environment, the secrets from a flag.
        (
            &["migrate", "--no-topics", "--secrets", "secrets.json"],
            64,
            "SAGACTL_ADMIN_URL is not set",
        ),
        (
            &[
                "migrate",
                "--secrets",
                "secrets.json",
                "--database",
                "order=postgres://a@b/c",
            ],
            64,
            "cannot be used with",
        ),
        (
            &["migrate", "--no-topics", "--database", "dragons=postgres://a@b/c"],
            64,
            "there is no database dragons",
        ),
        (
            &["topics", "list", "--kafka-brokers", "127.0.0.1:1"],
            69,
            "cannot read from Kafka at 127.0.0.1:1",
        ),
    ];
    for (arguments, code, expected) in cases {
        let said = sagactl(&[], arguments).await;
        assert_eq!(said.code, *code, "{arguments:?}: {said:?}");
        assert!(said.err.contains(expected), "{arguments:?}: {said:?}");
        assert!(said.out.is_empty(), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_database_url_is_never_shown() {
    let settings = [(
        "SAGACTL_ORDER_OPS_URL",
        "mysql://order_ops:geheim@db/order".to_owned(),
    )];
    let said = sagactl(&settings, &["parked", "list"]).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(!said.err.contains("geheim"), "{said:?}");
    let settings = [(
        "SAGACTL_ORDER_OPS_URL",
        "postgres://order_ops:geheim@127.0.0.1:1/order".to_owned(),
    )];
    let said = sagactl(&settings, &["parked", "list"]).await;
    assert_eq!(said.code, 69, "{said:?}");
    assert!(!said.err.contains("geheim"), "{said:?}");
}

#[tokio::test]
async fn help_names_every_verb_and_exit_code() {
    let help = sagactl(&[], &["--help"]).await;
    assert_eq!(help.code, 0);
    for word in [
        "migrate", "order", "saga", "parked", "outbox", "pause", "topics", "64", "69",
    ] {
        assert!(help.out.contains(word), "{word}: {help:?}");
    }
}

#[test]
fn usage_names_sagactl_under_any_name() {
    // As in an image, where every program is called the same.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sagactl"));
    let help = command
        .arg0("service")
        .args(["migrate", "--help"])
        .output()
        .unwrap();
    let out = String::from_utf8(help.stdout).unwrap();
    assert!(out.contains("Usage: sagactl migrate"), "{out}");
}
