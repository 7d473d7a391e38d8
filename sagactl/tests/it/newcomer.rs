use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use local_stack::{KAFKA_VARIABLE, POSTGRES_VARIABLE, TestStack, forget_outer_cargo};
use uuid::Uuid;

use crate::program::sagactl;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("quadrille-newcomer-{}", Uuid::new_v4().simple()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A workspace like ours, to which a member can be added. What is in it are links, and a crate is known by where it is
    /// in its workspace: so cargo finds built what is built for ours, with the features that it has there.
    fn like_ours() -> Self {
        let folder = Self::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for entry in fs::read_dir(root).unwrap().flatten() {
            let name = entry.file_name();
            let path = folder.0.join(&name);
            match name.to_str().unwrap() {
                "target" | ".git" | ".local" => {}
                "Cargo.toml" | "Cargo.lock" => drop(fs::copy(entry.path(), path).unwrap()),
                _ => std::os::unix::fs::symlink(entry.path(), path).unwrap(),
            }
        }
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// What it writes compiles, and its tests pass on real servers, under a name that is written in three ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_participant_compiles_and_passes_its_tests() {
    let workspace = Folder::like_ours();
    let folder = workspace.path("seat_map");
    let said = sagactl(&[], &["new", "participant", "seat_map", "--dir", &folder]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("one member more"), "{said:?}");

    // Cargo can be asked for these alone, and the features of everything stay those of the whole workspace.
    let manifest = workspace.0.join("seat_map/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let text = text.replace("name = \"it\"", "name = \"seat_map_it\"");
    let decisions = "\n[[test]]\nname = \"seat_map_decisions\"\npath = \"src/lib.rs\"\n";
    fs::write(&manifest, text + decisions).unwrap();

    let servers = tokio::task::spawn_blocking(TestStack::shared)
        .await
        .unwrap()
        .unwrap();
    let target = Path::new(env!("CARGO_BIN_EXE_sagactl"))
        .ancestors()
        .nth(2)
        .unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_outer_cargo(&mut cargo)
        .args(["test", "--offline", "--workspace", "--no-fail-fast"])
        .args(["--test", "seat_map_it", "--test", "seat_map_decisions"])
        .arg("--target-dir")
        .arg(target)
        .env(POSTGRES_VARIABLE, &servers.postgres_admin_url)
        .env(KAFKA_VARIABLE, &servers.kafka_brokers)
        .current_dir(&workspace.0)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || cargo.output())
        .await
        .unwrap()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    for passed in ["test course::", "test tables::", "test participant::tests::"] {
        assert!(out.contains(passed), "{passed}: {out}\n{err}");
    }
    assert!(!err.contains("warning: `seat_map`"), "{err}");
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let workspace = Folder::like_ours();
    let (folder, manifest) = (workspace.path("hotel"), workspace.path("Cargo.toml"));
    let before = fs::read_to_string(&manifest).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(workspace.path("hotel/notes"), "mine").unwrap();
    let said = sagactl(&[], &["new", "participant", "hotel", "--dir", &folder]).await;
    assert_eq!(said.code, 73, "{said:?}");
    assert!(
        said.err.contains("is there already; nothing was written"),
        "{said:?}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&manifest).unwrap(), before);
}

#[tokio::test]
async fn a_dry_run_says_everything_and_writes_nothing() {
    let workspace = Folder::like_ours();
    let (folder, manifest) = (workspace.path("hotel"), workspace.path("Cargo.toml"));
    let before = fs::read_to_string(&manifest).unwrap();
    let said = sagactl(
        &[],
        &["new", "participant", "hotel", "--dir", &folder, "--dry-run"],
    )
    .await;
    assert_eq!(said.code, 0, "{said:?}");
    for line in [
        "src/participant.rs",
        "migrations/0001_hotel.sql",
        "one member more",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    assert!(!Path::new(&folder).exists());
    assert_eq!(fs::read_to_string(&manifest).unwrap(), before);
}

#[tokio::test]
async fn without_the_crates_of_quadrille_it_says_what_to_do() {
    let nowhere = Folder::new();
    let folder = nowhere.path("hotel");
    let new = ["new", "participant", "hotel", "--dir", &folder];
    let said = sagactl(&[], &new).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.contains("--quadrille DIR"), "{said:?}");
    let said = sagactl(&[], &[&new[..], &["--quadrille", &nowhere.path("")]].concat()).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.contains("is no checkout of Quadrille"), "{said:?}");
    assert!(!Path::new(&folder).exists());

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let said = sagactl(
        &[],
        &[&new[..], &["--quadrille", root.to_str().unwrap()]].concat(),
    )
    .await;
    assert_eq!(said.code, 0, "{said:?}");
    let manifest = fs::read_to_string(nowhere.path("hotel/Cargo.toml")).unwrap();
    assert!(!manifest.contains("workspace"), "{manifest}");
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_refused() {
    for (name, why) in [
        ("Seat-Map", "lower case letters"),
        ("match", "a keyword of Rust"),
        ("tokio", "a crate that every participant uses"),
    ] {
        let said = sagactl(&[], &["new", "participant", name, "--dir", "/nowhere/at/all"]).await;
        assert_eq!(said.code, 64, "{name}: {said:?}");
        assert!(said.err.contains(why), "{name}: {said:?}");
    }
}

/// What a program needs to find a rustfmt, and rustup to find its own.
fn with_rustfmt() -> Vec<(&'static str, String)> {
    ["PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)))
        .collect()
}

/// As our own code, under the name that they have here.
#[test]
fn the_templates_are_formatted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/participant");
    assert_formatted("newcomer", &folder);
}

fn assert_formatted(name: &str, folder: &Path) {
    let output = Command::new("rustfmt")
        .args(["--check", "--edition=2024"])
        .args(["build.rs", "src/main.rs", "src/lib.rs", "tests/it/main.rs"])
        .current_dir(folder)
        .output()
        .unwrap();
    let differs = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {differs}");
}

/// Whoever begins with it should not have to format it first. Where a line is broken depends on how long
/// the name is, the order of imports on its first letter.
#[tokio::test]
async fn what_is_written_is_formatted_whatever_its_name() {
    for name in ["hotel", "x", "warehouse_of_rare_things"] {
        let workspace = Folder::like_ours();
        let folder = workspace.path(name);
        let said = sagactl(&with_rustfmt(), &["new", "participant", name, "--dir", &folder]).await;
        assert_eq!(
            (said.code, said.err.contains("cargo fmt")),
            (0, false),
            "{said:?}"
        );
        assert_formatted(name, Path::new(&folder));
    }
}

#[tokio::test]
async fn without_rustfmt_it_says_what_to_do() {
    let workspace = Folder::like_ours();
    let folder = workspace.path("hotel");
    let new = ["new", "participant", "hotel", "--dir", &folder];
    let said = sagactl(&[("PATH", "/nowhere".to_owned())], &new).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("run cargo fmt"), "{said:?}");
}
