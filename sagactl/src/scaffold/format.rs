use std::io;
use std::process::{Command, Stdio};

use super::Plan;

/// Why what was written is not formatted. It compiles all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unformatted {
    /// There is none, or it cannot be started.
    #[error("rustfmt cannot be started: {0}")]
    Missing(#[from] io::Error),
    /// It does not take what we wrote.
    #[error("rustfmt ended with {status}: {}", said.trim())]
    Refused {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        said: String,
    },
}

/// Formats what was written, by the rules of the folder it is in. Where lines are broken and in which order imports stand
/// depends on how long a name is and with what it begins, so no template has it right for every name.
///
/// # Errors
/// [`Unformatted`]: whoever asked can do it later.
pub(crate) fn format(plan: &Plan) -> Result<(), Unformatted> {
    let sources = plan.files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let output = Command::new("rustfmt")
        .arg("--edition=2024")
        .args(sources.map(|(path, _)| path))
        .current_dir(&plan.folder)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Unformatted::Refused {
        status: output.status,
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
