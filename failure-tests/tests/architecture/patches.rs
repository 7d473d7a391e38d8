use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Mistakes on purpose: each is made in the tree as it is.
const MISTAKES: [&str; 3] = [
    "failure-tests/mutants",
    "examples/trip/mutants",
    "outbox-relay/mutants",
];

/// Other builds, each made of the one before.
const BUILDS: [&str; 2] = [
    "failure-tests/upgrade/tomorrow.patch",
    "failure-tests/upgrade/careless.patch",
];

/// Who plays them is told that one does not apply after minutes of building, and perhaps weeks after it broke.
#[test]
fn every_patch_applies_to_this_tree() {
    let root = root();
    let mut refused = Vec::new();
    for folder in MISTAKES {
        let patches = patches(&root.join(folder));
        assert!(!patches.is_empty(), "{folder} has no patch");
        for patch in patches {
            let name = patch.strip_prefix(&root).unwrap_or(&patch).display();
            if let Err(why) = applies(&root, &text(&patch)) {
                refused.push(format!("{name}: {why}"));
            }
        }
    }
    // Of one input git takes what comes first as applied where what follows changes the same file.
    let mut stacked = String::new();
    for build in BUILDS {
        stacked += &text(&root.join(build));
        if let Err(why) = applies(&root, &stacked) {
            refused.push(format!("{build}: {why}"));
            break;
        }
    }
    assert!(
        refused.is_empty(),
        "\n{}\nmake the same mistake, or the same change, in the code of today",
        refused.join("\n")
    );
}

/// A check that refuses nothing may be one that looks at nothing: `git apply` passes over what is outside of its folder.
#[test]
fn a_patch_of_another_tree_is_refused() {
    let root = root();
    let patch = text(&patches(&root.join(MISTAKES[0]))[0]);
    let line = patch
        .lines()
        .find(|line| line.starts_with('-') && !line.starts_with("---"));
    let line = line.expect("it takes something away");
    let other = patch.replace(line, &format!("{line} as it never was"));
    let why = applies(&root, &other).expect_err("no such line is there");
    assert!(why.contains("does not apply"), "{why}");
    let elsewhere = patch.replace("/services/", "/nowhere/");
    let why = applies(&root, &elsewhere).expect_err("no such file is there");
    assert!(why.contains("nowhere/"), "{why}");
}

/// Whether git would apply this to the files that are there, committed or not; it changes nothing.
fn applies(root: &Path, patch: &str) -> Result<(), String> {
    let mut git = Command::new("git");
    git.args(["apply", "--check", "-"]).current_dir(root);
    // A source archive has no `.git`, which is all the same to `git apply`; but if it was unpacked within somebody's repository,
    // git would find that one above, and pass over all paths here without a word.
    if let Some(above) = root.parent() {
        git.env("GIT_CEILING_DIRECTORIES", above);
    }
    // A hook of git's sets these, for its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    let git = git
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut git = git.spawn().expect("git is here");
    let mut input = git.stdin.take().expect("it was asked for");
    // Who refuses the first lines does not read the others.
    let written = input.write_all(patch.as_bytes());
    drop(input);
    let said = git.wait_with_output().expect("git ends");
    if said.status.success() {
        written.expect("who takes it reads all of it");
        return Ok(());
    }
    Err(String::from_utf8_lossy(&said.stderr).trim().to_owned())
}

fn patches(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("can be listed").path());
    let mut patches: Vec<_> = paths
        .filter(|path| path.extension() == Some(OsStr::new("patch")))
        .collect();
    patches.sort();
    patches
}

fn text(patch: &Path) -> String {
    fs::read_to_string(patch).expect("a patch is text")
}

/// Without links in it: git compares the folder above with where it is.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the workspace is there")
}
