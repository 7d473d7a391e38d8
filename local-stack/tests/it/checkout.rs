use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A checkout with nothing in it but what the servers need, and the verbs on it.
pub(crate) struct Checkout {
    pub(crate) root: PathBuf,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Checkout {
    pub(crate) fn new() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quadrille-checkout-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let native = root.join("deploy/native");
        fs::create_dir_all(&native)?;
        for entry in fs::read_dir(repository().join("deploy/native"))? {
            let file = entry?.path();
            // What Debezium needs is in a folder of its own: no server needs it.
            if file.is_file() {
                fs::copy(&file, native.join(file.file_name().unwrap()))?;
            }
        }
        Ok(Self {
            root,
            environment: Vec::new(),
        })
    }

    pub(crate) fn local_stack(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// A verb, to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
        command.args(arguments).env("QUADRILLE_ROOT", &self.root);
        // Programs of this checkout go into it.
        command
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET_DIR");
        if std::env::var_os("QUADRILLE_CACHE").is_none() {
            command.env("QUADRILLE_CACHE", repository().join(".local/cache"));
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
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// What it printed; the test fails if the verb did.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.local_stack(arguments)?;
        let said = said(&output);
        assert!(
            output.status.success(),
            "local-stack {arguments:?}: {}\n{said}",
            output.status
        );
        Ok(said)
    }

    /// `value` of a line `export KEY='value'`.
    pub(crate) fn variable(&self, key: &str) -> anyhow::Result<String> {
        let lines = self.succeeds(&["env"])?;
        let start = format!("export {key}='");
        let line = lines.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        Ok(line.trim_end_matches('\'').to_owned())
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // After a failed assertion as well: a test must not leave servers behind.
        let reset = self.local_stack(&["reset"]).map(drop);
        for result in [reset, fs::remove_dir_all(&self.root).map_err(Into::into)] {
            if let Err(error) = result {
                eprintln!("cleaning up {}: {error}", self.root.display());
            }
        }
    }
}

/// Both outputs of a program.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
