use std::fs;
use std::net::TcpListener;
use std::process::Command;

use local_stack::probe;

use crate::checkout::Checkout;
use crate::{comes_to_be_well, eventually_is};

fn up(checkout: &Checkout) -> anyhow::Result<String> {
    checkout.succeeds(&["up", "--native", "--servers-only"])
}

fn pids(said: &str) -> Vec<&str> {
    said.split("pid ")
        .skip(1)
        .map(|rest| rest.split_whitespace().next().unwrap())
        .collect()
}

#[test]
fn a_stack_comes_up_survives_and_goes() -> anyhow::Result<()> {
    // Somebody else has a port of the first base: the next base is taken. (If it is taken already, so much the better.)
    let _taken = TcpListener::bind("127.0.0.1:17401");
    let checkout = Checkout::new()?;
    // Left by a start that was interrupted.
    for half in ["postgres.unfinished/base", "kafka/segments.unfinished/half"] {
        fs::create_dir_all(checkout.root.join(".local/data").join(half))?;
    }
    let first = up(&checkout)?;
    let kafka = checkout.variable("QUADRILLE_KAFKA_BROKERS")?;
    let postgres = checkout.variable("QUADRILLE_POSTGRES_URL")?;
    let postgres = postgres.split(['@', '/']).nth(3).unwrap();
    assert_ne!(kafka, "127.0.0.1:17401");
    eventually_is(Ok(()), || probe::kafka(&kafka));
    eventually_is(Ok(()), || probe::postgres(postgres));

    let second = up(&checkout)?;
    assert!(pids(&first).len() >= 2, "{first}");
    // What the first one lacked, the second may have found meanwhile: somebody else installs Redis.
    let (first, second) = (pids(&first), pids(&second));
    for pid in &first {
        assert!(
            second.contains(pid),
            "a second `up` restarted something: {first:?}, then {second:?}"
        );
    }

    checkout.succeeds(&["kill", "postgres", "-9"])?;
    let status = checkout.local_stack(&["status"])?;
    assert_eq!(status.status.code(), Some(1), "a dead server is not seen");
    checkout.succeeds(&["start", "postgres"])?;
    checkout.succeeds(&["restart", "kafka"])?;
    comes_to_be_well(&checkout);

    let written = checkout.root.join(".local/data/kafka/segments/meta.properties");
    let before = fs::read_to_string(&written)?;
    checkout.succeeds(&["down"])?;
    assert!(
        probe::kafka(&kafka).is_err() && probe::postgres(postgres).is_err(),
        "`down` left a server"
    );
    assert_eq!(
        fs::read_dir(checkout.root.join(".local/pids"))?.count(),
        0,
        "`down` left a pid file"
    );
    up(&checkout)?;
    assert_eq!(
        fs::read_to_string(&written)?,
        before,
        "data did not survive `down`"
    );
    assert_eq!(
        checkout.variable("QUADRILLE_KAFKA_BROKERS")?,
        kafka,
        "the ports moved"
    );

    checkout.succeeds(&["reset"])?;
    assert!(
        probe::kafka(&kafka).is_err() && probe::postgres(postgres).is_err(),
        "`reset` left a server"
    );
    let left: Vec<_> = fs::read_dir(checkout.root.join(".local"))?
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"], "`reset` left data");
    Ok(())
}

#[test]
fn wrong_settings_are_named() -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
    let empty = std::env::temp_dir();
    let output = command.args(["up"]).env("QUADRILLE_ROOT", &empty).output()?;
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("QUADRILLE_ROOT"));
    Ok(())
}
