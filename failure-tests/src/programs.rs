use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

/// Where each program is. The first call builds them, with cargo's progress on the terminal.
///
/// They are built with fault points, which no other build has: so they are linked to elsewhere before anybody
/// else builds the same programs without.
pub(crate) fn built() -> Result<&'static BTreeMap<String, PathBuf>> {
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Puts a program below `dir`, so that whoever cleans up knows whose process it is: one of the folder `finished` if there
/// is one, or else one with fault points.
pub(crate) fn place(name: &str, finished: Option<&Path>, dir: &Path) -> Result<PathBuf> {
    let from = match finished {
        Some(folder) => folder.join(name),
        None => built()?
            .get(name)
            .with_context(|| format!("there is no program {name}"))?
            .clone(),
    };
    let to = dir.join(name);
    // On another file system it has to be a copy.
    std::fs::hard_link(&from, &to)
        .or_else(|_| std::fs::copy(&from, &to).map(drop))
        .with_context(|| format!("link {} to {}", from.display(), to.display()))?;
    Ok(to)
}

fn build() -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    local_stack::forget_outer_cargo(&mut cargo)
        .args(["build", "--bins", "--message-format=json-render-diagnostics"])
        // Of the whole workspace: another selection of packages has other features of the dependencies, which would
        // all be built once more.
        .args(["--workspace", "--features", "quadrille-process/fault-points"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped());
    eprintln!("building the services with their fault points");
    let mut child = cargo.spawn().context("start cargo")?;
    let mut programs = BTreeMap::new();
    let messages = BufReader::new(child.stdout.take().context("cargo's output")?);
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(&line?).context("a message of cargo")?;
        if let Some(path) = message["executable"].as_str() {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    ensure!(child.wait()?.success(), "the services do not build");
    Ok(programs)
}
