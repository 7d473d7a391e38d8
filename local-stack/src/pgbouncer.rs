use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::StackError;
use crate::account::Account;
use crate::artifacts::on_path;
use crate::checkout::make_dir;
use crate::daemon::{Daemon, write_whole};
use crate::probe;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long a client of a pooler keeps a session of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// As long as it is connected.
    Session,
    /// For one transaction.
    Transaction,
}

/// A PgBouncer in front of a PostgreSQL server.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    daemon: Daemon,
}

impl PgBouncer {
    /// Whether this machine has a program for it.
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Starts one in front of `server` and waits until it answers. `users` are names and passwords.
    pub(crate) fn start(
        (server, port): (&str, u16),
        mode: PoolMode,
        users: &[(&str, &str)],
        folder: &Path,
        account: Option<&Account>,
        daemon: Daemon,
    ) -> Result<Self, StackError> {
        let program = program().ok_or_else(|| StackError::Unavailable("there is no pgbouncer".to_owned()))?;
        let (host, server_port) = server.rsplit_once(':').unwrap_or((server, "5432"));
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        make_dir(folder)?;
        let (settings, passwords) = (folder.join("pgbouncer.ini"), folder.join("users.txt"));
        let lines: String = users
            .iter()
            .map(|(name, password)| format!("\"{name}\" \"{password}\"\n"))
            .collect();
        let text = format!(
            "[databases]\n* = host={host} port={server_port}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {}\n\
             pool_mode = {mode}\n\
             default_pool_size = 40\n",
            passwords.display()
        );
        for (path, text) in [(&settings, text), (&passwords, lines)] {
            write_whole(path, text.as_bytes())?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                .map_err(StackError::io(|| format!("set the mode of {}", path.display())))?;
            account.map_or(Ok(()), |account| account.own(path))?;
        }
        let mut command = Command::new(program);
        command.arg(&settings).current_dir(folder);
        // It does not run as root either.
        if let Some(account) = account {
            account.run(&mut command);
        }
        daemon.spawn(&mut command)?;
        let pooler = Self { port, daemon };
        pooler
            .daemon
            .wait_ready(START_LIMIT, || probe::postgres(&pooler.address()))?;
        Ok(pooler)
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.stop(Signal::TERM, STOP_GRACE) {
            eprintln!("pgbouncer: {error}");
        }
    }
}

/// Debian installs it where only administrators look for programs.
fn program() -> Option<PathBuf> {
    ["pgbouncer", "/usr/sbin/pgbouncer"]
        .into_iter()
        .map(PathBuf::from)
        .find(|program| on_path(program))
}
