use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::StackError;
use crate::artifacts::run;
use crate::checkout::Checkout;
use crate::compose::visibly;
use crate::outer_cargo::forget_outer_cargo;

/// The programs of this workspace and where cargo puts them.
#[derive(Debug)]
pub struct Programs {
    /// Names of all binaries that the workspace's manifests declare.
    declared: BTreeSet<String>,
    folder: PathBuf,
    release: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Programs {
    /// Asks cargo.
    ///
    /// # Errors
    /// If a manifest is broken, or cargo is missing.
    pub fn find(checkout: &Checkout, release: bool) -> Result<Self, StackError> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["metadata", "--no-deps", "--format-version=1"])
            .current_dir(checkout.root());
        let text = run("read the workspace's manifests", &mut cargo)?;
        let metadata: Metadata = serde_json::from_str(&text).map_err(|error| StackError::Io {
            doing: "understand what `cargo metadata` says".to_owned(),
            source: error.into(),
        })?;
        let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
        let declared = targets
            .filter(|t| t.kind.iter().any(|k| k == "bin"))
            .map(|t| t.name)
            .collect();
        let folder = metadata
            .target_directory
            .join(if release { "release" } else { "debug" });
        Ok(Self {
            declared,
            folder,
            release,
        })
    }

    /// Whether there is such a program in this workspace.
    pub fn has(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// Where cargo puts it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder with all of them.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Builds programs; cargo's progress is shown.
    ///
    /// # Errors
    /// If one does not compile.
    pub fn build(&self, checkout: &Checkout, names: &[&str]) -> Result<(), StackError> {
        let mut cargo = Command::new("cargo");
        forget_outer_cargo(&mut cargo)
            .arg("build")
            .current_dir(checkout.root());
        if self.release {
            cargo.arg("--release");
        }
        for name in names {
            cargo.args(["--bin", name]);
        }
        visibly("build the services", &mut cargo)
    }
}
