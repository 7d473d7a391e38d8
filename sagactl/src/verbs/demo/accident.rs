use std::path::PathBuf;
use std::process::Stdio;

use crate::failure::{Code, Failure};

/// What may happen to a process. Done by `local-stack`, which started it.
pub(super) struct Accident {
    program: PathBuf,
}

const NAME: &str = "local-stack";

impl Accident {
    /// Finds `local-stack` on PATH or beside us.
    pub(super) fn find() -> Result<Self, Failure> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let beside = std::env::current_exe().ok();
        let beside = beside.as_deref().and_then(|exe| exe.parent()).map(PathBuf::from);
        let program = std::env::split_paths(&path)
            .chain(beside)
            .map(|folder| folder.join(NAME))
            .find(|file| file.is_file())
            .ok_or_else(|| {
                Failure::new(
                    Code::Unavailable,
                    "the demo kills a service with `local-stack`, which is not on PATH; start it with `just demo`, or \
                     leave that part out with --no-kill",
                )
            })?;
        Ok(Self { program })
    }

    /// `kill -9`.
    pub(super) async fn kill(&self, service: &str) -> Result<(), Failure> {
        self.run(&["kill", service, "-9"]).await
    }

    /// Starts it again, and waits until it is ready.
    pub(super) async fn start(&self, service: &str) -> Result<(), Failure> {
        self.run(&["start", service]).await
    }

    async fn run(&self, arguments: &[&str]) -> Result<(), Failure> {
        let said = tokio::process::Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| Failure::caused(Code::Unavailable, &error))?;
        if said.status.success() {
            return Ok(());
        }
        Err(Failure::new(
            Code::Unavailable,
            format!(
                "`{NAME} {}` failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&said.stderr).trim()
            ),
        ))
    }
}
