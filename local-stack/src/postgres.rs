use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::StackError;
use crate::account::Account;
use crate::artifacts::{Artifacts, remove_dir, run};
use crate::checkout::{make_dir, name_dir};
use crate::daemon::{Daemon, children_of, start_time, write_whole};
use crate::probe;
use crate::tls::Identity;
use crate::wait::{Look, until};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Backends notice within moments that their postmaster was killed.
const ORPHANS_LIMIT: Duration = Duration::from_secs(10);

/// How `initdb` is told about texts: in the same order on every system, whatever its C library thinks, natively and in
/// a container (`deploy/compose.yaml`).
pub(crate) const TEXTS: [&str; 4] = [
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
];

/// How a PostgreSQL server of ours is set up.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Data directory; made by the first start.
    pub data: PathBuf,
    /// Password of the superuser `postgres`.
    pub password: String,
    /// Most sessions at the same time.
    pub max_connections: u16,
    /// Page cache of the server.
    pub shared_buffers_mb: u16,
    /// Off: a crash of the machine (not of the server) loses data. Only for tests that do not look at that.
    pub fsync: bool,
    /// Encrypts, and lets in nobody who does not.
    pub tls: Option<PostgresTls>,
    /// Writes a log that can be decoded (`wal_level = logical`), which Debezium needs and Quadrille does not.
    pub logical: bool,
    /// The server that this one follows while it is a standby, as libpq names it.
    pub follows: Option<String>,
}

/// How a server encrypts.
#[derive(Clone, Debug)]
pub struct PostgresTls {
    /// What the server shows.
    pub identity: Identity,
    /// A PEM file with the certificate of who signed that.
    pub ca_file: PathBuf,
}

/// A PostgreSQL server on this machine.
#[derive(Debug)]
pub struct Postgres {
    settings: PostgresSettings,
    programs: PathBuf,
    account: Option<Account>,
    daemon: Daemon,
}

impl Postgres {
    /// A server that may or may not run; nothing is started.
    pub fn new(
        settings: PostgresSettings,
        artifacts: &Artifacts,
        account: Option<Account>,
        daemon: Daemon,
    ) -> Self {
        Self {
            settings,
            programs: artifacts.postgres.join("bin"),
            account,
            daemon,
        }
    }

    /// The address for the superuser, with its password.
    pub fn admin_url(&self) -> String {
        format!(
            "postgres://postgres:{}@{}/postgres{}",
            self.settings.password,
            self.address(),
            match &self.settings.tls {
                Some(tls) => format!("?sslmode=verify-full&sslrootcert={}", tls.ca_file.display()),
                None => String::new(),
            }
        )
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.settings.port)
    }

    /// Starts the server and waits until it takes connections; makes its data directory first if there is none.
    /// Harmless if it runs.
    ///
    /// # Errors
    /// If it cannot be made or started, or does not answer within a minute.
    pub fn start(&self) -> Result<(), StackError> {
        if self.daemon.pid().is_none() {
            self.init()?;
            self.configure()?;
            self.remove_lock_of_the_dead()?;
            let mut command = Command::new(self.programs.join("postgres"));
            command
                .arg("-D")
                .arg(&self.settings.data)
                .current_dir(&self.settings.data);
            self.as_account(&mut command);
            self.daemon.spawn(&mut command)?;
        }
        self.daemon
            .wait_ready(START_LIMIT, || probe::postgres(&self.address()))
    }

    /// Fast mode: sessions are ended, everything is written out.
    ///
    /// # Errors
    /// If the server cannot be removed.
    pub fn stop(&self) -> Result<(), StackError> {
        self.daemon.stop(Signal::INT, STOP_GRACE)
    }

    /// Immediate mode: no checkpoint, so the next start recovers from the WAL, as after a crash.
    ///
    /// # Errors
    /// If the server cannot be removed.
    pub fn stop_immediately(&self) -> Result<(), StackError> {
        self.resume();
        self.daemon.stop(Signal::QUIT, STOP_GRACE)
    }

    /// `kill -9` of the postmaster and of its backends.
    ///
    /// # Errors
    /// If a process cannot be removed.
    pub fn kill(&self) -> Result<(), StackError> {
        let backends = self.backends();
        self.daemon.stop(Signal::KILL, Duration::ZERO)?;
        signal_each(&backends, Signal::KILL);
        // The next postmaster refuses to start while one of them still has the shared memory.
        until(
            "the end of PostgreSQL's backends",
            ORPHANS_LIMIT,
            || match backends.iter().filter(|&&pid| start_time(pid).is_some()).count() {
                0 => Look::Ready,
                left => Look::NotYet(format!("{left} still run")),
            },
        )
    }

    /// Freezes the server with all its sessions: connections stay open, nobody answers.
    pub fn pause(&self) {
        // The postmaster first, so that no new backend comes after the others are frozen.
        self.daemon.signal(Signal::STOP);
        signal_each(&self.backends(), Signal::STOP);
    }

    /// Wakes what [`pause`](Self::pause) froze.
    pub fn resume(&self) {
        signal_each(&self.backends(), Signal::CONT);
        self.daemon.signal(Signal::CONT);
    }

    /// A standby on another port, which is a copy of this server and follows it. Neither of them runs afterwards.
    ///
    /// # Errors
    /// If this server cannot be stopped or copied.
    pub(crate) fn standby(&self, port: u16, data: PathBuf, daemon: Daemon) -> Result<Self, StackError> {
        self.stop()?;
        run(
            "copy PostgreSQL's data directory",
            Command::new("cp").arg("-a").arg(&self.settings.data).arg(&data),
        )?;
        let tls = self.settings.tls.as_ref().map_or(String::new(), |tls| {
            format!(" sslmode=verify-full sslrootcert='{}'", tls.ca_file.display())
        });
        let follows = format!(
            "host=127.0.0.1 port={} user=postgres password={}{tls}",
            self.settings.port, self.settings.password
        );
        let standby = Self {
            settings: PostgresSettings {
                port,
                data,
                follows: Some(follows),
                ..self.settings.clone()
            },
            programs: self.programs.clone(),
            account: self.account.clone(),
            daemon,
        };
        standby.write_owned(&standby.settings.data.join("standby.signal"), "")?;
        Ok(standby)
    }

    /// Its process, if it runs.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Who it runs as, if not as who we are.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    fn backends(&self) -> Vec<Pid> {
        self.daemon.pid().map(children_of).unwrap_or_default()
    }

    fn init(&self) -> Result<(), StackError> {
        let data = &self.settings.data;
        if data.join("PG_VERSION").is_file() {
            return Ok(());
        }
        // It gets its name once it is whole: who is interrupted begins anew.
        let unfinished = data.with_extension("unfinished");
        remove_dir(&unfinished)?;
        make_dir(&unfinished)?;
        if let Some(account) = &self.account {
            account.own(&unfinished)?;
        }
        set_mode(&unfinished, 0o700)?;
        let password_file = data.with_extension("password");
        self.write_owned(&password_file, &format!("{}\n", self.settings.password))?;
        let mut command = Command::new(self.programs.join("initdb"));
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .arg("--pwfile")
            .arg(&password_file)
            .args(["--username=postgres", "--auth=scram-sha-256"])
            .args(TEXTS)
            .current_dir(&unfinished);
        if !self.settings.fsync {
            command.arg("--no-sync");
        }
        self.as_account(&mut command);
        let made = run("make PostgreSQL's data directory", &mut command);
        fs::remove_file(&password_file)
            .map_err(StackError::io(|| format!("remove {}", password_file.display())))?;
        made?;
        let main = unfinished.join("postgresql.conf");
        let text =
            fs::read_to_string(&main).map_err(StackError::io(|| format!("read {}", main.display())))?;
        self.write_owned(&main, &format!("{text}\ninclude = 'quadrille.conf'\n"))?;
        name_dir(&unfinished, data)
    }

    /// Written anew at each start, so that a changed setting reaches data directories that are already there.
    fn configure(&self) -> Result<(), StackError> {
        let PostgresSettings {
            port,
            max_connections,
            shared_buffers_mb,
            fsync,
            logical,
            follows,
            ..
        } = &self.settings;
        let tls = self.configure_tls()?;
        let follows = follows.as_ref().map_or(String::new(), |server| {
            format!("primary_conninfo = '{}'\n", server.replace('\'', "''"))
        });
        let fsync = if *fsync { "on" } else { "off" };
        let wal_level = if *logical { "logical" } else { "replica" };
        let text = format!(
            "# Written by local-stack at each start; changes of your own go into postgresql.auto.conf (ALTER SYSTEM).\n\
             listen_addresses = '127.0.0.1'\n\
             port = {port}\n\
             # A path of a socket must be short, and a checkout's path may be long.\n\
             unix_socket_directories = ''\n\
             password_encryption = 'scram-sha-256'\n\
             max_connections = {max_connections}\n\
             max_prepared_transactions = 16\n\
             shared_buffers = '{shared_buffers_mb}MB'\n\
             max_wal_size = '2GB'\n\
             fsync = {fsync}\n\
             wal_level = {wal_level}\n\
             timezone = 'UTC'\n\
             log_timezone = 'UTC'\n\
             log_line_prefix = '%m [%p] %u@%d '\n\
             log_lock_waits = on\n\
             idle_in_transaction_session_timeout = '10min'\n\
             {follows}{tls}"
        );
        self.write_owned(&self.settings.data.join("quadrille.conf"), &text)
    }

    fn configure_tls(&self) -> Result<&'static str, StackError> {
        let Some(PostgresTls { identity, .. }) = &self.settings.tls else {
            return Ok("");
        };
        let data = &self.settings.data;
        self.write_owned(&data.join("quadrille.crt"), &identity.certificate)?;
        self.write_owned(&data.join("quadrille.key"), &identity.key)?;
        self.write_owned(
            &data.join("quadrille.hba"),
            "hostssl all,replication all 127.0.0.1/32 scram-sha-256\n",
        )?;
        Ok("ssl = on\n\
            ssl_cert_file = 'quadrille.crt'\n\
            ssl_key_file = 'quadrille.key'\n\
            hba_file = 'quadrille.hba'\n")
    }

    /// PostgreSQL takes a zombie for a server that runs. Where process 1 is slow to reap orphans (many containers), a
    /// killed server would keep the next one from starting. Sessions of it that still live are found by their shared
    /// memory, with or without this file.
    fn remove_lock_of_the_dead(&self) -> Result<(), StackError> {
        let path = self.settings.data.join("postmaster.pid");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let pid = text
            .lines()
            .next()
            .and_then(|line| Pid::from_raw(line.trim().parse().ok()?));
        match pid {
            Some(pid) if test_kill_process(pid).is_ok() && start_time(pid).is_none() => {
                fs::remove_file(&path).map_err(StackError::io(|| format!("remove {}", path.display())))
            }
            _ => Ok(()),
        }
    }

    fn write_owned(&self, path: &Path, text: &str) -> Result<(), StackError> {
        write_whole(path, b"")?;
        set_mode(path, 0o600)?;
        fs::write(path, text).map_err(StackError::io(|| format!("write {}", path.display())))?;
        self.account.as_ref().map_or(Ok(()), |account| account.own(path))
    }

    fn as_account(&self, command: &mut Command) {
        if let Some(account) = &self.account {
            account.run(command);
        }
        // Settings of a client on this machine are not for a server.
        for key in [
            "PGDATA",
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGDATABASE",
            "PGPASSWORD",
            "PGSERVICE",
            "PGOPTIONS",
        ] {
            command.env_remove(key);
        }
    }
}

fn signal_each(processes: &[Pid], signal: Signal) {
    for &pid in processes {
        if kill_process(pid, signal).is_err() {
            // It ended by itself, which is what a signal to it was for, or nothing that we can mend.
        }
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StackError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(StackError::io(|| format!("set the mode of {}", path.display())))
}
