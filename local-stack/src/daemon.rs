use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::StackError;
use crate::wait::{Look, until};

/// A log that grew past this is set aside as `<name>.log.1` at the next start.
const LOG_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 20;
/// How long the kernel may take to remove a process after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A server process that outlives the program which starts it: in a process group of its own, known by a pid file.
///
/// The pid file holds the process's start time beside its number, so that a number that was given to another process
/// (after a reboot, say) is never mistaken for ours.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    pid_file: PathBuf,
    log: PathBuf,
    /// Set when this program started it: then it has to be reaped here.
    child: Mutex<Option<Child>>,
}

impl Daemon {
    /// A daemon that may or may not run; nothing is started.
    pub fn new(name: impl Into<String>, pid_file: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            pid_file: pid_file.into(),
            log: log.into(),
            child: Mutex::new(None),
        }
    }

    /// Where its standard output and error go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.reap();
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (pid, started) = text.trim().split_once('\n')?;
        let pid = Pid::from_raw(pid.parse().ok()?)?;
        (start_time(pid).as_deref() == Some(started)).then_some(pid)
    }

    /// Starts `command` with its output in the log.
    ///
    /// # Errors
    /// If the log, the program or the pid file cannot be had; then nothing runs.
    pub fn spawn(&self, command: &mut Command) -> Result<(), StackError> {
        let log = open_log(&self.log)?;
        let also = log
            .try_clone()
            .map_err(StackError::io(|| format!("open {}", self.log.display())))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            .process_group(0)
            .spawn()
            .map_err(StackError::io(|| {
                format!("start {} ({})", self.name, command.get_program().display())
            }))?;
        let pid = pid_of(&child);
        let started = start_time(pid).unwrap_or_default();
        let written = write_whole(
            &self.pid_file,
            format!("{}\n{started}\n", pid.as_raw_nonzero()).as_bytes(),
        );
        if written.is_err() {
            // Nobody would find it again.
            kill_and_reap(&mut child);
        }
        *self.lock() = Some(child);
        written
    }

    /// Waits until `probe` says ready; gives up at once if the process ends.
    ///
    /// # Errors
    /// [`StackError::Died`] or [`StackError::TimedOut`], both with the end of the log.
    pub fn wait_ready(
        &self,
        limit: Duration,
        mut probe: impl FnMut() -> Result<(), String>,
    ) -> Result<(), StackError> {
        let result = until(&self.name, limit, || {
            // The process first: a server of somebody else may answer on the port.
            if self.pid().is_none() {
                return Look::Never(StackError::Died {
                    part: self.name.clone(),
                    status: self.exit_status(),
                    log: self.log.clone(),
                    tail: tail(&self.log),
                });
            }
            match probe() {
                Ok(()) => Look::Ready,
                Err(reason) => Look::NotYet(reason),
            }
        });
        result.map_err(|error| match error {
            StackError::TimedOut {
                what, limit, last, ..
            } => StackError::TimedOut {
                what,
                limit,
                last,
                tail: tail(&self.log),
            },
            other => other,
        })
    }

    /// Sends a signal; `false` if nothing runs.
    pub fn signal(&self, signal: Signal) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Asks it to stop, and kills it (with its process group) if it is still there after `grace`.
    ///
    /// # Errors
    /// If even SIGKILL does not remove it.
    pub fn stop(&self, signal: Signal, grace: Duration) -> Result<(), StackError> {
        let Some(pid) = self.pid() else {
            self.forget();
            return Ok(());
        };
        if signal != Signal::KILL && kill_process(pid, signal).is_ok() {
            // A frozen process sees no signal but SIGKILL.
            let thawed = kill_process(pid, Signal::CONT);
            let gone = thawed.is_ok() && self.wait_gone(grace).is_ok();
            if gone {
                self.forget();
                return Ok(());
            }
            eprintln!(
                "  {}: still there {} s after {signal:?}, killing it",
                self.name,
                grace.as_secs()
            );
        }
        if kill_process_group(pid, Signal::KILL).is_err() {
            // It ended in between; wait_gone will see that.
        }
        self.wait_gone(KILL_LIMIT)?;
        self.forget();
        Ok(())
    }

    fn wait_gone(&self, limit: Duration) -> Result<(), StackError> {
        until(&format!("the end of {}", self.name), limit, || match self.pid() {
            None => Look::Ready,
            Some(pid) => Look::NotYet(format!("process {} still runs", pid.as_raw_nonzero())),
        })
    }

    fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.pid_file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!(
                "  {}: cannot remove {}: {error}",
                self.name,
                self.pid_file.display()
            );
        }
    }

    /// Without this a child of ours would stay as a zombie.
    fn reap(&self) {
        if let Some(child) = self.lock().as_mut() {
            // Its status is kept in the handle.
            drop(child.try_wait());
        }
    }

    fn exit_status(&self) -> String {
        match self.lock().as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => status.to_string(),
            _ => "an unknown status".to_owned(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The processes whose parent is `pid`.
pub(crate) fn children_of(pid: Pid) -> Vec<Pid> {
    let parent = pid.as_raw_nonzero().get();
    let families = if cfg!(target_os = "linux") {
        families_of_proc()
    } else {
        families_of_ps()
    };
    families
        .into_iter()
        .filter(|&(_, p)| p == parent)
        .filter_map(|(child, _)| Pid::from_raw(child))
        .collect()
}

/// Pairs of (process, parent); `ps` is not on every slim image, `/proc` is on every Linux.
fn families_of_proc() -> Vec<(i32, i32)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let ppid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, ppid))
        })
        .collect()
}

fn families_of_ps() -> Vec<(i32, i32)> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let table = output
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace().map(str::parse);
            Some((columns.next()?.ok()?, columns.next()?.ok()?))
        })
        .collect()
}

/// When a process started, in a form that is equal for equal processes only. `None` if it has ended (a zombie has).
pub(crate) fn start_time(pid: Pid) -> Option<String> {
    let number = pid.as_raw_nonzero();
    if cfg!(target_os = "linux") {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // The second column is the program's name in parentheses and may hold anything.
        let mut columns = stat.rsplit_once(')')?.1.split_whitespace();
        let state = columns.next()?;
        // A process that aborts is a zombie while threads of its still hold its ports.
        let has_ended = matches!(state, "Z" | "X") && threads_of(pid) <= 1;
        return (!has_ended).then(|| columns.nth(18).map(str::to_owned)).flatten();
    }
    let output = Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &number.to_string()])
        .output()
        .ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let (state, started) = line.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

fn threads_of(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).map_or(0, Iterator::count)
}

/// Writes a file so that a reader sees all of it or nothing.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), StackError> {
    let draft = path.with_extension("draft");
    fs::write(&draft, content)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(StackError::io(|| format!("write {}", path.display())))
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    last_lines(&read().unwrap_or_default())
}

/// The last lines of an output.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn open_log(path: &Path) -> Result<File, StackError> {
    let open = || {
        if fs::metadata(path).is_ok_and(|m| m.len() > LOG_LIMIT_BYTES) {
            fs::rename(path, path.with_extension("log.1"))?;
        }
        OpenOptions::new().create(true).append(true).open(path)
    };
    open().map_err(StackError::io(|| format!("open {}", path.display())))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn kill_and_reap(child: &mut Child) {
    if child.kill().is_ok() {
        drop(child.wait());
    }
}
