use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use local_stack::{TestStack, free_ports};

fn deploy(file: &str) -> std::path::PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    repository.join("deploy").join(file)
}

/// The script of the broker's health check, for a broker elsewhere that calls itself `name`.
fn broker_is_healthy(address: &str, name: &str) -> anyhow::Result<bool> {
    let file = std::fs::read_to_string(deploy("compose.yaml"))?;
    let begin = file.find("exec 3<>/dev/tcp/127.0.0.1/9092").unwrap();
    let length = file[begin..].find("interval:").unwrap();
    let script = file[begin..begin + length].split_whitespace();
    let script = script.collect::<Vec<_>>().join(" ");
    let (head, grep) = ("head -c 23", "grep -q kafka");
    assert!(script.contains(head) && script.contains(grep), "{script}");
    let script = script
        .replace("127.0.0.1/9092", &address.replace(':', "/"))
        .replace(head, &format!("head -c {}", 18 + name.len()))
        .replace(grep, &format!("grep -qF {name}"));
    Ok(Command::new("bash").args(["-c", &script]).status()?.success())
}

#[test]
fn the_health_check_of_the_broker_knows_it() -> anyhow::Result<()> {
    let stack = TestStack::shared()?;
    let broker = stack.kafka_brokers.as_str();
    assert!(broker_is_healthy(broker, "127.0.0.1")?, "a broker that runs");
    assert!(!broker_is_healthy(broker, "kafka.else")?, "another broker");
    let [nobody] = free_ports()?;
    assert!(
        !broker_is_healthy(&format!("127.0.0.1:{nobody}"), "127.0.0.1")?,
        "nobody listens"
    );
    // PostgreSQL listens, too, and is no broker.
    let postgres = stack.postgres_admin_url.rsplit_once('@').unwrap().1;
    let postgres = postgres.split('/').next().unwrap();
    assert!(!broker_is_healthy(postgres, "127.0.0.1")?, "no broker");
    Ok(())
}

#[test]
fn the_health_check_of_a_service_wants_200() -> anyhow::Result<()> {
    for (answer, is_ready) in [("200 OK", true), ("503 Service Unavailable", false)] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        let server = std::thread::spawn(move || -> std::io::Result<String> {
            let (mut stream, _) = listener.accept()?;
            // To the blank line: bash writes line by line.
            let lines = BufReader::new(&stream).lines();
            let request: Vec<String> = lines
                .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                .collect::<Result<_, _>>()?;
            write!(stream, "HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n")?;
            Ok(request.join("\n"))
        });
        let status = Command::new(deploy("ready")).arg(port).status()?;
        let request = server.join().unwrap()?;
        assert!(request.starts_with("GET /ready HTTP/1.1\n"), "{request}");
        assert_eq!(status.success(), is_ready, "{answer}");
    }
    let [nobody] = free_ports()?;
    let status = Command::new(deploy("ready")).arg(nobody.to_string()).status()?;
    assert!(!status.success(), "nobody listens");
    Ok(())
}
