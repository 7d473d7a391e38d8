//! `sagactl new participant`: the rooms of a new service, from the files below `templates/participant`.
//!
//! Those are a crate called `newcomer` that could be compiled as it is; here it gets another name, and a manifest that
//! fits where it goes. What is to be written is decided first ([`plan`]), and then written.

/// What a participant may be called.
mod name;

/// `Cargo.toml`, where it goes.
mod manifest;

/// The workspace and the checkout of Quadrille around a folder.
mod place;

/// As `cargo fmt` would leave it.
mod format;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub(crate) use format::format;
pub(crate) use name::Name;

use place::{Quadrille, Workspace};

macro_rules! templates {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/participant/", $path)))),+]
    };
}

/// Of the crate `newcomer`, the manifest aside.
const TEMPLATES: &[(&str, &str)] = templates![
    "README.md",
    "build.rs",
    "migrations/0001_newcomer.sql",
    "src/config.rs",
    "src/events.rs",
    "src/lib.rs",
    "src/main.rs",
    "src/participant.rs",
    "src/participant/replay.rs",
    "src/participant/tests.rs",
    "src/service.rs",
    "src/store.rs",
    "tests/it/course.rs",
    "tests/it/main.rs",
    "tests/it/tables.rs",
];

/// Why there is no new participant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something is where it should go.
    #[error("{} is there already; nothing was written", path.display())]
    There {
        /// What.
        path: PathBuf,
    },
    /// Nobody said where the crates of Quadrille are.
    #[error(
        "the crates of Quadrille are not on crates.io: say where a checkout is with --quadrille DIR, or have saga-core among the [workspace.dependencies] around {}",
        folder.display()
    )]
    NoQuadrille {
        /// Where the participant should go.
        folder: PathBuf,
    },
    /// What was given is something else.
    #[error("{} is no checkout of Quadrille: it has no saga-core", path.display())]
    NotQuadrille {
        /// What was given.
        path: PathBuf,
    },
    /// A manifest that cargo would not read either.
    #[error("cannot read {}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: toml_edit::TomlError,
    },
    /// The system refuses to read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refuses to write.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The new crate's folder.
    pub(crate) folder: PathBuf,
    /// Its files, by their paths in it.
    pub(crate) files: Vec<(String, String)>,
    /// The manifest of the workspace around it with one member more, if it has to be changed.
    pub(crate) workspace: Option<(PathBuf, String)>,
}

/// Decides what to write, and refuses what cannot be.
///
/// # Errors
/// Anything but [`Error::Write`].
pub(crate) fn plan(name: &Name, folder: &Path, quadrille: Option<&Path>) -> Result<Plan, Error> {
    if is_taken(folder)? {
        return Err(Error::There {
            path: folder.to_owned(),
        });
    }
    let workspace = Workspace::around(folder)?;
    let quadrille = Quadrille::find(folder, workspace.as_ref(), quadrille)?;
    let mut files = vec![(
        "Cargo.toml".to_owned(),
        name.put_into(&manifest::write(folder, workspace.as_ref(), &quadrille)),
    )];
    files.extend(
        TEMPLATES
            .iter()
            .map(|(path, text)| (name.put_into(path), name.put_into(text))),
    );
    let workspace = workspace.and_then(|workspace| {
        let changed = workspace.with_member(folder)?;
        Some((workspace.manifest, changed))
    });
    Ok(Plan {
        folder: folder.to_owned(),
        files,
        workspace,
    })
}

/// Writes all of it, or nothing.
///
/// # Errors
/// [`Error::There`], [`Error::Write`].
pub(crate) fn write(plan: &Plan) -> Result<(), Error> {
    let is_new = !plan.folder.exists();
    let mut made = Vec::new();
    let written = write_files(plan, &mut made).and_then(|()| write_workspace(plan));
    if written.is_err() {
        for path in made {
            fs::remove_file(path).ok();
        }
        if is_new {
            // It was not there before us, so nothing in it is anybody else's.
            fs::remove_dir_all(&plan.folder).ok();
        }
    }
    written
}

fn write_files(plan: &Plan, made: &mut Vec<PathBuf>) -> Result<(), Error> {
    for (path, text) in &plan.files {
        let path = plan.folder.join(path);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::There { path: path.clone() },
            _ => Error::Write {
                path: path.clone(),
                source,
            },
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = fs::File::create_new(&path).map_err(failed)?;
        made.push(path.clone());
        file.write_all(text.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Somebody's manifest is never half-written: a draft takes its place.
fn write_workspace(plan: &Plan) -> Result<(), Error> {
    let Some((path, text)) = &plan.workspace else {
        return Ok(());
    };
    let draft = path.with_extension("toml.draft");
    let written = fs::File::create_new(&draft).and_then(|mut file| {
        let put = file
            .write_all(text.as_bytes())
            .and_then(|()| fs::set_permissions(&draft, fs::metadata(path)?.permissions()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&draft, path));
        if put.is_err() {
            fs::remove_file(&draft).ok();
        }
        put
    });
    written.map_err(|source| Error::Write {
        path: path.clone(),
        source,
    })
}

/// A folder that is empty may be filled.
fn is_taken(folder: &Path) -> Result<bool, Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(source) => Err(Error::Read {
            path: folder.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_that_cannot_be_told_leaves_nothing() {
        let root = std::env::temp_dir().join(format!("quadrille-scaffold-{}", std::process::id()));
        let folder = root.join("newcomer");
        fs::create_dir_all(&folder).expect("a folder");
        let manifest = root.join("Cargo.toml");
        fs::write(&manifest, "before").expect("a manifest");
        let plan = |manifest: &Path| Plan {
            folder: folder.clone(),
            files: vec![("src/lib.rs".to_owned(), String::new())],
            workspace: Some((manifest.to_owned(), "after".to_owned())),
        };
        let failed = write(&plan(&root.join("nowhere/Cargo.toml")));
        assert!(matches!(failed, Err(Error::Write { .. })), "{failed:?}");
        assert!(!folder.join("src/lib.rs").exists(), "a file was left");
        // Somebody else's draft is not touched.
        let draft = root.join("Cargo.toml.draft");
        fs::write(&draft, "somebody's").expect("a draft");
        assert!(write(&plan(&manifest)).is_err());
        assert_eq!(fs::read_to_string(&manifest).expect("it is there"), "before");
        fs::remove_file(&draft).expect("it is there");
        write(&plan(&manifest)).expect("nothing is in the way");
        assert_eq!(fs::read_to_string(&manifest).expect("it is there"), "after");
        assert!(!draft.exists(), "a draft was left");
        fs::remove_dir_all(root).expect("it is ours");
    }

    /// A file that was forgotten in the list would be missing in each new participant.
    #[test]
    fn every_template_is_in_the_list() {
        fn below(folder: &Path, all: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                if entry.path().is_dir() {
                    below(&entry.path(), all);
                } else {
                    all.push(entry.path());
                }
            }
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/participant");
        let mut found = Vec::new();
        below(&folder, &mut found);
        let mut found: Vec<String> = found
            .iter()
            .filter_map(|path| Some(path.strip_prefix(&folder).ok()?.to_str()?.to_owned()))
            .filter(|path| path != "Cargo.toml")
            .collect();
        found.sort();
        let listed: Vec<&str> = TEMPLATES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, listed);
    }
}
