use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{API_KEY, Database, WEBHOOK_SECRET};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payment-sandbox"));
    for (name, _) in std::env::vars() {
        if name.starts_with("SANDBOX_") || name.starts_with("QUADRILLE_") {
            command.env_remove(name);
        }
    }
    command
}

fn configured(database_url: &str) -> Command {
    let mut command = program();
    command
        .env("SANDBOX_LISTEN", "127.0.0.1:0")
        .env("SANDBOX_ADMIN_LISTEN", "127.0.0.1:0")
        .env("SANDBOX_API_KEY", API_KEY)
        .env("SANDBOX_DATABASE_URL", database_url)
        .env("SANDBOX_WEBHOOK_URL", "http://127.0.0.1:9/webhooks")
        .env("SANDBOX_WEBHOOK_SECRET", WEBHOOK_SECRET)
        .env("QUADRILLE_LOG_FORMAT", "json");
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_wrong_configuration_names_every_problem_and_ends_with_64() {
    let Output { status, stderr, .. } = program()
        .env("SANDBOX_LISTEN", "here")
        .env("SANDBOX_WEBHOOK_SECRET", "whsec_c2hvcnQ=")
        .env("SANDBOX_DATABASE_POOL_MAX", "1")
        .env("QUADRILLE_OTLP_ENDPOINT", "localhost")
        .output()
        .unwrap();
    let stderr = text(&stderr);
    assert_eq!(status.code(), Some(64), "{stderr}");
    for problem in [
        "SANDBOX_LISTEN is `here`; expected address:port",
        "SANDBOX_API_KEY is not set",
        "SANDBOX_DATABASE_URL is not set; expected postgres://",
        "SANDBOX_DATABASE_POOL_MAX is `1`; expected a number from 2 to 200",
        "SANDBOX_WEBHOOK_URL is not set",
        "SANDBOX_WEBHOOK_SECRET is `***`",
        "QUADRILLE_OTLP_ENDPOINT is `localhost`",
    ] {
        assert!(stderr.contains(problem), "{problem} is not in:\n{stderr}");
    }
    assert!(!stderr.contains("c2hvcnQ"), "{stderr}");
}

#[test]
fn it_explains_itself() {
    let help = program().arg("--help").output().unwrap();
    let shown = text(&help.stdout);
    assert!(help.status.success());
    for key in [
        "LISTEN ",
        "API_KEY[_FILE]",
        "DATABASE_URL[_FILE]",
        "SLOW_MS",
        "LOG_FORMAT",
        "SHUTDOWN_GRACE_MS",
    ] {
        assert!(shown.contains(key), "{key} is not in:\n{shown}");
    }
    let version = program().arg("--version").output().unwrap();
    assert_eq!(
        text(&version.stdout),
        format!("payment-sandbox {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        program().arg("--port=1").output().unwrap().status.code(),
        Some(64)
    );
}

#[tokio::test]
async fn without_its_tables_it_ends_with_69_and_the_command_to_run() {
    let database = Database::create().await;
    let output = configured(&database.worker_url).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("run `sagactl migrate`"), "{stderr}");
    assert!(!stderr.contains("books@"), "the password is in the log: {stderr}");
}

#[tokio::test]
async fn it_migrates_serves_and_ends_with_0_when_told_to() {
    let database = Database::create().await;
    let mut child = configured(&database.worker_url)
        .env("SANDBOX_MIGRATE_DATABASE_URL", &database.migrate_url)
        .env("SANDBOX_MISTYPED", "x")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let log: Vec<serde_json::Value> = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        for line in lines {
            let line = line.unwrap();
            let entry: serde_json::Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
            let serving = entry["message"] == "serving";
            seen.push(entry);
            if serving {
                break;
            }
        }
        seen
    })
    .await
    .unwrap();
    let field = |message: &str, field: &str| {
        let line = log
            .iter()
            .find(|line| line["message"] == message)
            .unwrap_or_else(|| panic!("{log:?}"));
        line[field].as_str().unwrap().to_owned()
    };
    assert_eq!(
        field("nobody reads this variable; is it mistyped?", "key"),
        "SANDBOX_MISTYPED"
    );
    let admin = field("admin port is open", "address");
    crate::harness::until("it is ready", || async {
        reqwest::get(format!("http://{admin}/ready"))
            .await
            .is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    let address = field("serving", "address");
    let answer = reqwest::Client::new()
        .get(format!("http://{address}/v1/books"))
        .bearer_auth(API_KEY);
    assert!(answer.send().await.unwrap().status().is_success());
    let metrics = reqwest::get(format!("http://{admin}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("http_server_request_duration_seconds_bucket{route=\"/v1/books\""),
        "{metrics}"
    );

    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
