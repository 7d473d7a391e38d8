use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::StackError;
use crate::artifacts::on_path;
use crate::checkout::make_dir;
use crate::daemon::Daemon;
use crate::probe;
use crate::secrets::write_private;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A Redis server on this machine.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    data: PathBuf,
    password: String,
    daemon: Daemon,
}

impl Redis {
    /// A server that may or may not run; nothing is started.
    pub fn new(port: u16, data: PathBuf, password: String, daemon: Daemon) -> Self {
        Self {
            port,
            data,
            password,
            daemon,
        }
    }

    /// Whether this machine has a program for it.
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address with its password.
    pub fn url(&self) -> String {
        format!("redis://:{}@{}/", self.password, self.address())
    }

    /// Starts the server and waits until it answers. Harmless if it runs.
    ///
    /// # Errors
    /// If there is no program for it, or it does not start.
    pub fn start(&self) -> Result<(), StackError> {
        if self.daemon.pid().is_none() {
            make_dir(&self.data)?;
            let settings = self.data.join("redis.conf");
            let text = format!(
                "bind 127.0.0.1\nport {}\ndir \"{}\"\nrequirepass {}\nappendonly yes\nsave \"\"\nmaxmemory 256mb\n",
                self.port,
                self.data.display(),
                self.password
            );
            write_private(&settings, &text)?;
            let program =
                program().ok_or_else(|| StackError::Unavailable("there is no redis-server".to_owned()))?;
            // Debian's server is this program under another name, and it is the name that decides.
            self.daemon.spawn(
                Command::new(program)
                    .arg0("redis-server")
                    .arg(&settings)
                    .current_dir(&self.data),
            )?;
        }
        self.daemon
            .wait_ready(START_LIMIT, || probe::redis(&self.address()))
    }

    /// Writes out what is in memory and ends.
    ///
    /// # Errors
    /// If the process cannot be removed.
    pub fn stop(&self) -> Result<(), StackError> {
        self.daemon.stop(Signal::TERM, STOP_GRACE)
    }

    /// Its process, if it runs.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}

/// Debian's `redis-tools` has the server as `redis-check-rdb`; the package `redis-server` adds a link to it and a system
/// service, which nobody here wants to be started.
fn program() -> Option<&'static Path> {
    ["redis-server", "redis-check-rdb"]
        .into_iter()
        .map(Path::new)
        .find(|program| on_path(program))
}
