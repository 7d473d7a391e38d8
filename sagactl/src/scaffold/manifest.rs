use std::path::Path;
use std::sync::LazyLock;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Value};

use super::place::{Quadrille, Workspace, way};

const TEMPLATE: &str = include_str!("../../templates/participant/Cargo.toml");

/// Ours, which says in which version and with which features everything is used.
static OURS: LazyLock<DocumentMut> = LazyLock::new(|| {
    include_str!("../../../Cargo.toml")
        .parse()
        .expect("our own manifest")
});

/// The newcomer's manifest for this folder: what the workspace around it has is inherited, the rest stands in it.
pub(super) fn write(folder: &Path, workspace: Option<&Workspace>, quadrille: &Quadrille) -> String {
    let mut manifest: DocumentMut = TEMPLATE.parse().expect("the template's manifest");
    for key in ["version", "edition", "rust-version"] {
        if workspace.is_none_or(|workspace| workspace.inherited("package", key).is_none()) {
            manifest["package"][key] = ours("package", key).clone();
        }
    }
    for table in ["dependencies", "dev-dependencies"] {
        let Some(table) = manifest[table].as_table_like_mut() else {
            continue;
        };
        for (name, item) in table.iter_mut() {
            let ours = ours("dependencies", &name);
            let theirs = workspace.and_then(|workspace| workspace.inherited("dependencies", &name));
            *item = match theirs.filter(|theirs| fits(theirs, ours)) {
                Some(theirs) => inherited(theirs, ours),
                None => own(ours, folder, quadrille),
            };
        }
    }
    if workspace.is_none_or(|workspace| !workspace.has("lints")) {
        manifest.remove("lints");
    }
    manifest.to_string()
}

fn ours(what: &str, key: &str) -> &'static Item {
    &OURS["workspace"][what][key]
}

/// Another major version of theirs is another crate to the compiler.
fn fits(theirs: &Item, ours: &Item) -> bool {
    match (version(theirs), version(ours)) {
        _ if path(ours).is_some() => true,
        (Some(theirs), Some(ours)) => compatible(theirs) == compatible(ours),
        _ => true,
    }
}

/// `x.workspace = true`, with the features that the workspace does not ask for.
fn inherited(theirs: &Item, ours: &Item) -> Item {
    let has = features(theirs);
    let missing: Array = features(ours)
        .into_iter()
        .filter(|one| !has.contains(one))
        .collect();
    let mut table = InlineTable::new();
    table.insert("workspace", true.into());
    if missing.is_empty() {
        table.set_dotted(true);
    } else {
        table.insert("features", Value::Array(missing));
    }
    toml_edit::value(table)
}

/// What would be inherited, in full.
fn own(ours: &Item, folder: &Path, quadrille: &Quadrille) -> Item {
    let Some(path) = path(ours) else {
        return ours.clone();
    };
    match quadrille {
        Quadrille::Checkout(checkout) => {
            let way = way(folder, &checkout.join(path));
            let mut table = InlineTable::new();
            table.insert("path", way.to_string_lossy().as_ref().into());
            toml_edit::value(table)
        }
        Quadrille::With(theirs) => toml_edit::value(theirs.clone()),
    }
}

fn get<'i>(item: &'i Item, key: &str) -> Option<&'i Value> {
    item.as_value()?.as_inline_table()?.get(key)
}

fn path(item: &Item) -> Option<&str> {
    get(item, "path")?.as_str()
}

fn version(item: &Item) -> Option<&str> {
    item.as_str().or_else(|| get(item, "version")?.as_str())
}

fn features(item: &Item) -> Vec<&str> {
    let array = get(item, "features").and_then(Value::as_array);
    array.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The part of a version up to the first number that is not 0.
fn compatible(version: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in version.trim_start_matches(['^', '=', '~', ' ']).split('.') {
        parts.push(part);
        if part != "0" {
            break;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(workspace: Option<&str>, quadrille: &Quadrille) -> DocumentMut {
        let dir = std::env::temp_dir().join(format!("quadrille-manifest-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&dir).expect("a folder");
        if let Some(text) = workspace {
            fs::write(dir.join("Cargo.toml"), text).expect("a manifest");
        }
        let folder = dir.join("hotel");
        let around = Workspace::around(&folder).expect("manifests");
        let text = write(&folder, around.as_ref(), quadrille);
        fs::remove_dir_all(&dir).expect("cleaned up");
        text.parse().expect("a manifest")
    }

    #[test]
    fn alone_it_says_everything_itself() {
        let manifest = written(None, &Quadrille::Checkout("/src/quadrille".into()));
        let core = &manifest["dependencies"]["saga-core"]["path"];
        assert!(
            core.as_str()
                .is_some_and(|path| path.ends_with("quadrille/saga-core")),
            "{manifest}"
        );
        let text = manifest.to_string();
        assert!(!text.contains("workspace"), "{text}");
        assert!(manifest["dependencies"]["sqlx"]["features"].is_array(), "{text}");
        assert!(manifest["package"]["edition"].is_str(), "{text}");
    }

    #[test]
    fn in_a_workspace_it_inherits_what_fits() {
        let around = "[workspace]\n[workspace.dependencies]\n\
            saga-core = { git = \"https://example.org/quadrille\", rev = \"1\" }\n\
            uuid = { version = \"1.8\", features = [\"v4\"] }\n\
            sqlx = \"0.8\"\nserde = { version = \"1\", features = [\"derive\"] }\n";
        let git: Value = "{ git = \"https://example.org/quadrille\", rev = \"1\" }"
            .parse()
            .expect("a value");
        let manifest = written(Some(around), &Quadrille::With(git));
        let text = manifest.to_string();
        let dependencies = &manifest["dependencies"];
        assert_eq!(
            dependencies["saga-core"]["workspace"].as_bool(),
            Some(true),
            "{text}"
        );
        assert_eq!(dependencies["saga-runtime"]["rev"].as_str(), Some("1"), "{text}");
        assert!(text.contains("serde.workspace = true"), "{text}");
        assert_eq!(dependencies["uuid"]["workspace"].as_bool(), Some(true), "{text}");
        assert!(
            dependencies["uuid"]["features"].to_string().contains("v7"),
            "{text}"
        );
        assert!(
            dependencies["sqlx"]["version"]
                .as_str()
                .is_some_and(|v| v.starts_with("0.9")),
            "{text}"
        );
        assert!(!text.contains("[lints]"), "{text}");
    }

    #[test]
    fn in_our_own_workspace_it_inherits_everything() {
        let manifest = written(
            Some(include_str!("../../../Cargo.toml")),
            &Quadrille::Checkout("/x".into()),
        );
        let template: DocumentMut = TEMPLATE.parse().expect("a manifest");
        let names = |manifest: &DocumentMut| -> Vec<String> {
            let table = manifest["dependencies"].as_table().expect("a table");
            table
                .iter()
                .map(|(name, item)| format!("{name} {:?}", item["workspace"].as_bool()))
                .collect()
        };
        assert_eq!(names(&manifest), names(&template));
        assert!(manifest.contains_key("lints"), "{manifest}");
    }

    #[test]
    fn versions_fit_up_to_the_first_number_that_counts() {
        assert_eq!(compatible("1.8"), compatible("^1.54.0"));
        assert_ne!(compatible("0.8.6"), compatible("0.9.0"));
        assert_ne!(compatible("0.9"), compatible("1"));
    }
}
