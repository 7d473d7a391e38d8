use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::StackError;

/// A checkout of Quadrille and the places in it.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that `QUADRILLE_ROOT` names, or else the one around the current directory.
    ///
    /// # Errors
    /// [`StackError::NoCheckout`] if neither is one.
    pub fn find() -> Result<Self, StackError> {
        let is_checkout = |dir: &Path| dir.join("deploy/native/pom.xml").is_file();
        let named = env::var_os("QUADRILLE_ROOT")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let here = named
            .or_else(|| env::current_dir().ok())
            .unwrap_or_else(|| PathBuf::from("."));
        let found = here.ancestors().find(|dir| is_checkout(dir));
        found
            .map(|dir| Self { root: dir.to_owned() })
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

    /// Kafka's log settings.
    pub fn log4j(&self) -> PathBuf {
        self.root.join("deploy/native/log4j2.properties")
    }
}

/// Creates a directory with its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), StackError> {
    fs::create_dir_all(path).map_err(StackError::io(|| format!("create {}", path.display())))
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
