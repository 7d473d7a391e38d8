use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use local_stack::probe;

/// A checkout with nothing in it but what the servers need, and the verbs on it.
struct Checkout(PathBuf);

impl Checkout {
    fn new() -> anyhow::Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let root = std::env::temp_dir().join(format!("quadrille-checkout-{}", std::process::id()));
        let native = root.join("deploy/native");
        fs::create_dir_all(&native)?;
        for entry in fs::read_dir(repository.join("deploy/native"))? {
            let file = entry?.path();
            fs::copy(&file, native.join(file.file_name().unwrap()))?;
        }
        Ok(Self(root))
    }

    fn local_stack(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
        command.args(arguments).env("QUADRILLE_ROOT", &self.0);
        let shared = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join(".local/cache");
        if std::env::var_os("QUADRILLE_CACHE").is_none() {
            command.env("QUADRILLE_CACHE", shared);
        }
        for given in [
            "PORT_BASE",
            "POSTGRES_URL",
            "KAFKA_BROKERS",
            "REDIS_URL",
            "OTLP_ENDPOINT",
        ] {
            command.env_remove(format!("QUADRILLE_{given}"));
        }
        Ok(command.output()?)
    }

    fn succeeds(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.local_stack(arguments)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(
            output.status.success(),
            "local-stack {arguments:?}: {}\n{said}",
            output.status
        );
        Ok(said)
    }

    fn up(&self) -> anyhow::Result<String> {
        self.succeeds(&["up", "--native", "--servers-only"])
    }

    /// `value` of a line `export KEY='value'`.
    fn variable(&self, key: &str) -> anyhow::Result<String> {
        let lines = self.succeeds(&["env"])?;
        let start = format!("export {key}='");
        let line = lines.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        Ok(line.trim_end_matches('\'').to_owned())
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // After a failed assertion as well: a test must not leave servers behind.
        for result in [
            self.local_stack(&["reset"]).map(drop),
            fs::remove_dir_all(&self.0).map_err(Into::into),
        ] {
            if let Err(error) = result {
                eprintln!("cleaning up {}: {error}", self.0.display());
            }
        }
    }
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
    let first = checkout.up()?;
    let kafka = checkout.variable("QUADRILLE_KAFKA_BROKERS")?;
    let postgres = checkout.variable("QUADRILLE_POSTGRES_URL")?;
    let postgres = postgres.split(['@', '/']).nth(3).unwrap();
    assert_ne!(kafka, "127.0.0.1:17401");
    assert_eq!(probe::kafka(&kafka), Ok(()));
    assert_eq!(probe::postgres(postgres), Ok(()));

    let second = checkout.up()?;
    assert!(pids(&first).len() >= 2, "{first}");
    assert_eq!(pids(&first), pids(&second), "a second `up` restarted something");

    checkout.succeeds(&["kill", "postgres", "-9"])?;
    let status = checkout.local_stack(&["status"])?;
    assert_eq!(status.status.code(), Some(1), "a dead server is not seen");
    checkout.succeeds(&["start", "postgres"])?;
    checkout.succeeds(&["restart", "kafka"])?;
    checkout.succeeds(&["status"])?;

    let written = checkout.0.join(".local/data/kafka/segments/meta.properties");
    let before = fs::read_to_string(&written)?;
    checkout.succeeds(&["down"])?;
    assert!(
        probe::kafka(&kafka).is_err() && probe::postgres(postgres).is_err(),
        "`down` left a server"
    );
    assert_eq!(
        fs::read_dir(checkout.0.join(".local/pids"))?.count(),
        0,
        "`down` left a pid file"
    );
    checkout.up()?;
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
    let left: Vec<_> = fs::read_dir(checkout.0.join(".local"))?
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
