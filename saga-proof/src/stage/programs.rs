use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::RELAY;

/// Where each program of a workspace is.
type Built = Arc<BTreeMap<String, PathBuf>>;

/// A folder of a workspace, and programs of it.
type Wanted = (PathBuf, BTreeSet<String>);

/// Builds these programs of the workspace that this folder is in, with cargo's progress on the terminal; once in the life of a
/// process. The relay is ours: where the workspace does not have it, it is built where this crate is.
///
/// They are built with fault points, which no other build has: so they are linked to elsewhere before anybody
/// else builds the same programs without.
///
/// # Errors
/// If they do not build.
pub fn built(workspace: &Path, names: &BTreeSet<&str>) -> Result<Built> {
    static BUILT: Mutex<BTreeMap<Wanted, Built>> = Mutex::new(BTreeMap::new());
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = (
        workspace.to_owned(),
        names.iter().map(|&name| name.to_owned()).collect(),
    );
    if let Some(built) = known.get(&wanted) {
        return Ok(Arc::clone(built));
    }
    let built = Arc::new(build(workspace, names)?);
    // That took as long as it took, and is not what the tests take.
    local_stack::begin_anew();
    known.insert(wanted, Arc::clone(&built));
    Ok(built)
}

/// Puts a program below `dir`, so that whoever cleans up knows whose process it is.
///
/// # Errors
/// If it is not there, or the file system refuses.
pub fn place(from: &Path, dir: &Path, name: &str) -> Result<PathBuf> {
    let to = dir.join(name);
    // On another file system it has to be a copy.
    std::fs::hard_link(from, &to)
        .or_else(|_| std::fs::copy(from, &to).map(drop))
        .with_context(|| format!("link {} to {}", from.display(), to.display()))?;
    Ok(to)
}

fn build(workspace: &Path, names: &BTreeSet<&str>) -> Result<BTreeMap<String, PathBuf>> {
    let has_relay = programs_of(workspace)?.contains(RELAY);
    let (theirs, ours): (BTreeSet<&str>, BTreeSet<&str>) = names
        .iter()
        .copied()
        .partition(|name| *name != RELAY || has_relay);
    let mut programs = build_in(workspace, &theirs)?;
    programs.append(&mut build_in(Path::new(env!("CARGO_MANIFEST_DIR")), &ours)?);
    Ok(programs)
}

/// The names of all programs of the workspace that this folder is in.
fn programs_of(workspace: &Path) -> Result<BTreeSet<String>> {
    let told = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(workspace)
        .output()
        .context("start cargo")?;
    ensure!(
        told.status.success(),
        "cargo says nothing of the workspace of {}: {}",
        workspace.display(),
        String::from_utf8_lossy(&told.stderr)
    );
    let metadata: Value = serde_json::from_slice(&told.stdout).context("what cargo says")?;
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let targets = list(&metadata["packages"])
        .into_iter()
        .flat_map(|package| list(&package["targets"]));
    let programs = targets.filter(|target| target["kind"][0] == "bin");
    Ok(programs
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    local_stack::forget_outer_cargo(&mut cargo);
    cargo
}

fn build_in(workspace: &Path, names: &BTreeSet<&str>) -> Result<BTreeMap<String, PathBuf>> {
    if names.is_empty() {
        // Asked for none, cargo would build all.
        return Ok(BTreeMap::new());
    }
    let mut cargo = cargo();
    cargo
        .args(["build", "--message-format=json-render-diagnostics"])
        // Of the whole workspace: another selection of packages has other features of the dependencies, which would
        // all be built once more. But only these programs: a saga of three need not wait for everybody else's.
        .args(["--workspace", "--features", "quadrille-process/fault-points"])
        .args(names.iter().flat_map(|name| ["--bin", name]))
        .current_dir(workspace)
        .stdout(Stdio::piped());
    let all: Vec<&str> = names.iter().copied().collect();
    eprintln!(
        "building {} with fault points, which the first time takes some minutes",
        all.join(", ")
    );
    let mut child = cargo.spawn().context("start cargo")?;
    let mut programs = BTreeMap::new();
    let messages = BufReader::new(child.stdout.take().context("cargo's output")?);
    for line in messages.lines() {
        let message: Value = serde_json::from_str(&line?).context("a message of cargo")?;
        if let Some(path) = message["executable"].as_str() {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    ensure!(child.wait()?.success(), "the programs do not build");
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_asked_whether_it_has_the_relay() -> Result<()> {
        let ours = programs_of(Path::new(env!("CARGO_MANIFEST_DIR")))?;
        assert!(ours.contains(RELAY), "{ours:?}");

        let elsewhere = std::env::temp_dir().join(format!("quadrille-elsewhere-{}", std::process::id()));
        std::fs::create_dir_all(elsewhere.join("src"))?;
        let manifest = "[package]\nname = \"alone\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        std::fs::write(elsewhere.join("Cargo.toml"), manifest)?;
        std::fs::write(elsewhere.join("src/main.rs"), "fn main() {}\n")?;
        let theirs = programs_of(&elsewhere);
        std::fs::remove_dir_all(&elsewhere)?;
        assert_eq!(theirs?, BTreeSet::from(["alone".to_owned()]));
        Ok(())
    }
}
