use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use toml_edit::{Decor, DocumentMut, Item, RawString, Table, Value};

use super::Error;

/// A cargo workspace.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Its `Cargo.toml`.
    pub(super) manifest: PathBuf,
    document: DocumentMut,
}

/// Where the crates of Quadrille are.
#[derive(Debug)]
pub(super) enum Quadrille {
    /// In a checkout.
    Checkout(PathBuf),
    /// Where the workspace has saga-core from.
    With(Value),
}

impl Workspace {
    /// The nearest one that does not exclude the folder.
    pub(super) fn around(folder: &Path) -> Result<Option<Self>, Error> {
        for ancestor in folder.ancestors().skip(1) {
            let manifest = ancestor.join("Cargo.toml");
            let text = match fs::read_to_string(&manifest) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    return Err(Error::Read {
                        path: manifest,
                        source,
                    });
                }
            };
            let document: DocumentMut = match text.parse() {
                Ok(document) => document,
                Err(source) => {
                    return Err(Error::Manifest {
                        path: manifest,
                        source,
                    });
                }
            };
            let workspace = Self { manifest, document };
            if workspace.table().is_some() {
                let excluded = workspace
                    .list("exclude")
                    .any(|path| folder.starts_with(ancestor.join(path)));
                return Ok((!excluded).then_some(workspace));
            }
        }
        Ok(None)
    }

    /// What members inherit: `package`, `dependencies`, `lints`.
    pub(super) fn inherited(&self, what: &str, key: &str) -> Option<&Item> {
        self.table()?.get(what)?.get(key)
    }

    /// Whether it has this table.
    pub(super) fn has(&self, what: &str) -> bool {
        self.table().is_some_and(|table| table.contains_key(what))
    }

    /// Its manifest with one member more; `None` if that is one already.
    pub(super) fn with_member(&self, folder: &Path) -> Option<String> {
        let path = folder.strip_prefix(self.manifest.parent()?).ok()?.to_str()?;
        if self.list("members").any(|pattern| covers(pattern, path)) {
            return None;
        }
        let mut document = self.document.clone();
        let members = document["workspace"]["members"]
            .or_insert(toml_edit::value(toml_edit::Array::new()))
            .as_array_mut()?;
        let mut member = Value::from(path);
        if let Some(last) = members
            .len()
            .checked_sub(1)
            .and_then(|last| members.get_mut(last))
        {
            let text =
                |raw: Option<&RawString>| raw.and_then(RawString::as_str).unwrap_or_default().to_owned();
            let (before, after) = (text(last.decor().prefix()), text(last.decor().suffix()));
            // On a line of its own where the last one is; what stands between that and the end stays at the end.
            let line = before.rfind('\n').map_or(before.as_str(), |line| &before[line..]);
            *member.decor_mut() = Decor::new(line, after);
            last.decor_mut().set_suffix("");
        }
        members.push_formatted(member);
        Some(document.to_string())
    }

    fn table(&self) -> Option<&Table> {
        self.document.get("workspace")?.as_table()
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        let array = self.table().and_then(|table| table.get(key)?.as_array());
        array.into_iter().flatten().filter_map(Value::as_str)
    }
}

impl Quadrille {
    /// What was given; or what the workspace uses; or the checkout that the folder, or whoever calls, is in.
    pub(super) fn find(
        folder: &Path,
        workspace: Option<&Workspace>,
        given: Option<&Path>,
    ) -> Result<Self, Error> {
        if let Some(given) = given {
            let path = std::path::absolute(given).map_err(|source| Error::Read {
                path: given.to_owned(),
                source,
            })?;
            return if is_checkout(&path) {
                Ok(Self::Checkout(lexical(&path)))
            } else {
                Err(Error::NotQuadrille { path })
            };
        }
        let used = workspace.and_then(|workspace| workspace.inherited("dependencies", "saga-core"));
        if let (Some(used), Some(workspace)) = (used.and_then(Item::as_value), workspace) {
            let Some(path) = used
                .as_inline_table()
                .and_then(|table| table.get("path")?.as_str())
            else {
                return Ok(Self::With(used.clone()));
            };
            let saga_core = workspace.manifest.with_file_name("").join(path);
            if let Some(checkout) = lexical(&saga_core).parent() {
                return Ok(Self::Checkout(checkout.to_owned()));
            }
        }
        let here = std::env::current_dir().unwrap_or_default();
        let checkout = folder
            .ancestors()
            .chain(here.ancestors())
            .find(|path| is_checkout(path));
        checkout
            .map(|path| Self::Checkout(path.to_owned()))
            .ok_or_else(|| Error::NoQuadrille {
                folder: folder.to_owned(),
            })
    }
}

/// The way from one folder to another; from the root if they have nothing else in common.
pub(super) fn way(from: &Path, to: &Path) -> PathBuf {
    let common = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    if common < 2 {
        return to.to_owned();
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

fn is_checkout(path: &Path) -> bool {
    path.join("saga-core/Cargo.toml").is_file() && path.join("saga-runtime/Cargo.toml").is_file()
}

/// Without `.` and `..`, as it is written.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(whole.pop()),
            other => whole.push(other),
        }
        whole
    })
}

/// Whether a member of a workspace (`services/*`) is this path.
fn covers(pattern: &str, path: &str) -> bool {
    let pattern = pattern
        .strip_prefix("./")
        .unwrap_or(pattern)
        .trim_end_matches('/');
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) => {
                let fits = match pattern.split_once('*') {
                    None => pattern == part,
                    Some((begin, end)) => {
                        part.len() >= begin.len() + end.len()
                            && part.starts_with(begin)
                            && part.ends_with(end)
                    }
                };
                if !fits {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(text: &str) -> Workspace {
        Workspace {
            manifest: PathBuf::from("/w/Cargo.toml"),
            document: text.parse().expect("a manifest"),
        }
    }

    #[test]
    fn a_member_is_added_as_the_others_are_written() {
        let lines = workspace("[workspace]\nmembers = [\n    \"a\", # the first\n    \"b\",\n]\n");
        assert_eq!(
            lines.with_member(Path::new("/w/services/c")).expect("a new one"),
            "[workspace]\nmembers = [\n    \"a\", # the first\n    \"b\",\n    \"services/c\",\n]\n"
        );
        let no_comma = workspace("[workspace]\nmembers = [\n  \"a\"\n]\n");
        assert_eq!(
            no_comma.with_member(Path::new("/w/c")).expect("a new one"),
            "[workspace]\nmembers = [\n  \"a\",\n  \"c\"\n]\n"
        );
        let line = workspace("[workspace]\nmembers = [\"a\", \"b\"]\n");
        assert_eq!(
            line.with_member(Path::new("/w/c")).expect("a new one"),
            "[workspace]\nmembers = [\"a\", \"b\", \"c\"]\n"
        );
        let none = workspace("[workspace]\nresolver = \"3\"\n");
        let added = none.with_member(Path::new("/w/c")).expect("a new one");
        assert!(added.contains("members = [\"c\"]"), "{added}");
    }

    #[test]
    fn a_member_that_is_one_is_not_added() {
        for pattern in [
            "services/hotel",
            "services/*",
            "./services/hotel",
            "services/ho*",
            "*/*",
        ] {
            let workspace = workspace(&format!("[workspace]\nmembers = [\"{pattern}\"]\n"));
            assert_eq!(
                workspace.with_member(Path::new("/w/services/hotel")),
                None,
                "{pattern}"
            );
        }
        for pattern in ["services", "services/hotels", "*", "services/h*x"] {
            let workspace = workspace(&format!("[workspace]\nmembers = [\"{pattern}\"]\n"));
            assert!(
                workspace.with_member(Path::new("/w/services/hotel")).is_some(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn the_way_is_short_where_there_is_one() {
        let way = |from, to| way(Path::new(from), Path::new(to));
        assert_eq!(
            way("/home/ann/hotel", "/home/ann/quadrille/saga-core"),
            Path::new("../quadrille/saga-core")
        );
        assert_eq!(way("/srv/hotel", "/home/quadrille"), Path::new("/home/quadrille"));
        assert_eq!(lexical(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
