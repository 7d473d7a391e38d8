use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use local_stack::TestStack;

use crate::checkout::{Checkout, said};
use crate::comes_to_be_well;

/// Stands for a service: says what it was told, and answers everything on its admin port with 200.
const SERVICE: &str = r#"
use std::io::{Read, Write};
fn main() {
    for (key, value) in std::env::vars() {
        if ["ORDER_", "PAYMENT_", "QUADRILLE_"].iter().any(|start| key.starts_with(start)) {
            println!("{key}={value}");
        }
    }
    if std::path::Path::new("broken").exists() {
        println!("this order service is broken");
        std::process::exit(64);
    }
    let listener = std::net::TcpListener::bind(std::env::var("ORDER_ADMIN_LISTEN").unwrap()).unwrap();
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        if connection.read(&mut [0; 1024]).is_ok() {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    }
}
"#;

/// Stands for `sagactl`: leaves its arguments and the administrator's URL in a file.
const SAGACTL: &str = r#"
fn main() {
    let mut told: Vec<String> = std::env::args().skip(1).collect();
    told.push(std::env::var("SAGACTL_ADMIN_URL").unwrap());
    std::fs::write("migrated", told.join("\n")).unwrap();
}
"#;

fn with_an_order_service() -> anyhow::Result<Checkout> {
    let mut checkout = Checkout::new()?;
    let servers = TestStack::shared()?;
    checkout.environment = vec![
        ("QUADRILLE_POSTGRES_URL", servers.postgres_admin_url.clone()),
        ("QUADRILLE_KAFKA_BROKERS", servers.kafka_brokers.clone()),
        // Another service's setting in somebody's shell.
        ("PAYMENT_PROVIDER_KEY", "not for order".to_owned()),
        ("ORDER_LOG", "debug".to_owned()),
    ];
    fs::write(
        checkout.root.join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"order\", \"sagactl\"]\n",
    )?;
    for (name, program) in [("order", SERVICE), ("sagactl", SAGACTL)] {
        let folder = checkout.root.join(name);
        fs::create_dir_all(folder.join("src"))?;
        fs::write(
            folder.join("Cargo.toml"),
            format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n"),
        )?;
        fs::write(folder.join("src/main.rs"), program)?;
    }
    Ok(checkout)
}

fn pid_of(checkout: &Checkout, name: &str) -> anyhow::Result<String> {
    let file = fs::read_to_string(checkout.root.join(".local/pids").join(name))?;
    Ok(file.lines().next().unwrap().to_owned())
}

/// Whoever starts or stops something has the lock.
fn a_verb_waits_for_whoever_is_at_work(checkout: &Checkout) -> anyhow::Result<()> {
    let held = fs::File::options()
        .write(true)
        .open(checkout.root.join(".local/lock"))?;
    held.lock()?;
    let mut kill = checkout
        .command(&["kill", "order", "-9"])
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(kill.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line)?;
    assert!(line.contains("waiting for another process"), "{line}");
    let pid = pid_of(checkout, "order")?;
    assert!(fs::exists(format!("/proc/{pid}"))?, "it was killed all the same");
    drop(held);
    assert!(kill.wait()?.success());
    Ok(())
}

#[test]
fn a_service_is_built_told_where_things_are_and_can_be_killed() -> anyhow::Result<()> {
    let checkout = with_an_order_service()?;
    let first = checkout.succeeds(&["up", "--native"])?;
    assert!(first.contains("postgres: taken from the environment"), "{first}");
    assert!(first.contains("inventory: skipped"), "{first}");
    assert!(first.contains("order: ready"), "{first}");

    let migrated = fs::read_to_string(checkout.root.join("migrated"))?;
    assert!(migrated.starts_with("migrate\n--kafka-brokers\n"), "{migrated}");
    let (arguments, admin_url) = migrated.rsplit_once('\n').unwrap();
    assert!(admin_url.starts_with("postgres://postgres:"), "{migrated}");
    assert!(
        !arguments.contains("postgres://"),
        "a password is an argument: {migrated}"
    );
    let secrets: serde_json::Value =
        serde_json::from_slice(&fs::read(checkout.root.join(".local/secrets.json"))?)?;
    let password = secrets["roles"]["order"].as_str().unwrap();

    let log = checkout.succeeds(&["logs", "order"])?;
    assert!(
        log.contains(&format!("ORDER_DATABASE_URL=postgres://order:{password}@")),
        "{log}"
    );
    assert!(log.contains("ORDER_LOG=debug"), "{log}");
    assert!(
        !log.contains("not for order"),
        "another service's setting came through: {log}"
    );
    assert!(
        !log.contains("postgres://postgres:"),
        "the superuser's password came through: {log}"
    );

    a_verb_waits_for_whoever_is_at_work(&checkout)?;
    checkout.succeeds(&["start", "order"])?;

    let pid = pid_of(&checkout, "order")?;
    checkout.succeeds(&["up", "--native"])?;
    assert_eq!(
        pid_of(&checkout, "order")?,
        pid,
        "a second `up` restarted a service"
    );

    checkout.succeeds(&["kill", "order", "-9"])?;
    let status = checkout.local_stack(&["status"])?;
    assert_eq!(
        status.status.code(),
        Some(1),
        "a dead service is not seen: {}",
        said(&status)
    );
    // Its container, say, which must not be taken for the process that cannot have its port.
    let admin = checkout.variable("QUADRILLE_ORDER_ADMIN")?;
    let other = std::net::TcpListener::bind(admin.trim_start_matches("http://"))?;
    let refused = checkout.local_stack(&["start", "order"])?;
    assert_eq!(refused.status.code(), Some(69));
    let refused = said(&refused);
    assert!(
        refused.contains("order cannot start, something listens on"),
        "{refused}"
    );
    drop(other);

    checkout.succeeds(&["start", "order"])?;
    assert_ne!(pid_of(&checkout, "order")?, pid);
    comes_to_be_well(&checkout);

    let path = checkout.succeeds(&[
        "run",
        "--",
        "sh",
        "-c",
        "command -v sagactl; echo $QUADRILLE_ORDER_GRPC",
    ])?;
    assert!(path.contains("target/debug/sagactl\nhttp://127.0.0.1:"), "{path}");

    // A service that does not come up: the reason is shown, and so is the table.
    checkout.succeeds(&["kill", "order", "-9"])?;
    fs::write(checkout.root.join("broken"), "")?;
    let broken = checkout.local_stack(&["up", "--native"])?;
    assert_eq!(broken.status.code(), Some(70));
    let broken = said(&broken);
    assert!(
        broken.contains("order ended during its start with exit status: 64"),
        "{broken}"
    );
    assert!(broken.contains("this order service is broken"), "{broken}");
    assert!(broken.contains("DOWN"), "{broken}");
    Ok(())
}
