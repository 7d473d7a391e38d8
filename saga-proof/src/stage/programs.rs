use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// Where each program of a workspace is.
type Built = Arc<BTreeMap<String, PathBuf>>;

/// A folder of a workspace, and programs of it.
type Wanted = (PathBuf, BTreeSet<String>);

/// Builds these programs of the workspace that this folder is in, with cargo's progress on the terminal; once in the life of a
/// process.
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
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    local_stack::forget_outer_cargo(&mut cargo)
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
        let message: serde_json::Value = serde_json::from_str(&line?).context("a message of cargo")?;
        if let Some(path) = message["executable"].as_str() {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    ensure!(child.wait()?.success(), "the programs do not build");
    Ok(programs)
}
