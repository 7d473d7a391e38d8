use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::StackError;

/// A checkout of Quadrille and the places in it.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that `QUADRILLE_ROOT` names, or the one around the current directory, or else the one from which the
    /// crate around the current directory has us.
    ///
    /// # Errors
    /// [`StackError::NoCheckout`] if none is one.
    pub fn find() -> Result<Self, StackError> {
        let named = env::var_os("QUADRILLE_ROOT")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let here = named
            .or_else(|| env::current_dir().ok())
            .unwrap_or_else(|| PathBuf::from("."));
        let found = here.ancestors().find(|dir| is_checkout(dir));
        found
            .map(Path::to_owned)
            .or_else(|| depended_on(&here))
            .map(|root| Self { root })
            .ok_or(StackError::NoCheckout(here))
    }

    /// The folder with `Cargo.toml` and `justfile`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that the stack writes, unless a server's account cannot reach it there.
    pub fn state(&self) -> PathBuf {
        self.root.join(".local")
    }

    /// Fetched programs. `QUADRILLE_CACHE` shares one among checkouts.
    pub fn cache(&self) -> PathBuf {
        let shared = env::var_os("QUADRILLE_CACHE").filter(|v| !v.is_empty());
        shared.map_or_else(|| self.state().join("cache"), PathBuf::from)
    }

    /// The script that checks for and installs the system's packages.
    pub fn prerequisites(&self) -> PathBuf {
        self.root.join("deploy/native/prerequisites.sh")
    }

    /// The pinned versions of Kafka and PostgreSQL.
    pub fn pom(&self) -> PathBuf {
        self.root.join("deploy/native/pom.xml")
    }

    /// The pinned versions of Kafka Connect and Debezium.
    pub fn debezium_pom(&self) -> PathBuf {
        self.root.join("deploy/native/debezium/pom.xml")
    }

    /// Held while something is started or stopped, so that two of us do not do it at the same time.
    pub(crate) fn hold(&self) -> Result<File, StackError> {
        lock(&self.state().join("lock"), "local-stack")
    }

    /// Kafka's log settings.
    pub fn log4j(&self) -> PathBuf {
        self.root.join("deploy/native/log4j2.properties")
    }
}

fn is_checkout(dir: &Path) -> bool {
    dir.join("deploy/native/pom.xml").is_file()
}

/// Cargo knows where it has a dependency from.
fn depended_on(here: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: PathBuf,
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["metadata", "--offline", "--format-version=1"])
        // Else it wants the crates of other systems as well, which nobody has fetched, and says nothing.
        .args(["--filter-platform", "host-tuple"])
        .current_dir(here);
    let output = cargo.output().ok()?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).ok()?;
    let own = metadata
        .packages
        .into_iter()
        .find(|package| package.name == env!("CARGO_PKG_NAME"))?;
    let root = own.manifest_path.ancestors().nth(2)?;
    is_checkout(root).then(|| root.to_owned())
}

/// Creates a directory with its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), StackError> {
    fs::create_dir_all(path).map_err(StackError::io(|| format!("create {}", path.display())))
}

/// Gives a folder that is whole the name by which it is looked for.
pub(crate) fn name_dir(draft: &Path, path: &Path) -> Result<(), StackError> {
    fs::rename(draft, path).map_err(StackError::io(|| {
        format!("rename {} to {}", draft.display(), path.display())
    }))
}

/// Waits for the lock of `path`; it is held until the file is dropped, or this process ends however it ends.
pub(crate) fn lock(path: &Path, what: &str) -> Result<File, StackError> {
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    };
    let file = open().map_err(StackError::io(|| format!("open {}", path.display())))?;
    if file.try_lock().is_err() {
        eprintln!(
            "  … {what}: waiting for another process that holds {}",
            path.display()
        );
        file.lock()
            .map_err(StackError::io(|| format!("lock {}", path.display())))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where nobody has ever fetched what other systems need of its dependencies.
    #[test]
    fn a_crate_of_another_workspace_finds_the_checkout_that_it_has_us_from() {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = ours.parent().unwrap();
        let elsewhere = env::temp_dir().join(format!("quadrille-depends-{}", std::process::id()));
        fs::create_dir_all(elsewhere.join("src")).unwrap();
        let manifest = format!(
            "[package]\nname = \"elsewhere\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nlocal-stack = {{ path = {ours:?} }}\n"
        );
        fs::write(elsewhere.join("Cargo.toml"), manifest).unwrap();
        fs::write(elsewhere.join("src/lib.rs"), "").unwrap();
        // The versions that are here.
        fs::copy(root.join("Cargo.lock"), elsewhere.join("Cargo.lock")).unwrap();
        let found = depended_on(&elsewhere);
        fs::remove_dir_all(&elsewhere).unwrap();
        assert_eq!(found.as_deref(), Some(root));
    }
}
