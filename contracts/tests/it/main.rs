//! The committed schemas are the promise: what this build writes must keep it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

const ACCEPT: &str = "ACCEPT_SCHEMAS";

/// A new event or field is accepted with `ACCEPT_SCHEMAS=1 cargo test -p quadrille-contracts`; a field that
/// was removed or retyped is not accepted at all: that is a new version with an upcaster.
#[test]
fn events_keep_the_committed_schemas() {
    let mut accepted: Vec<PathBuf> = Vec::new();
    for (name, schema) in quadrille_contracts::schema::all() {
        let file = folder().join(format!("{}.json", name.replace('/', "-v")));
        let written = serde_json::to_value(&schema).expect("a schema is JSON");
        let committed: Option<Value> = std::fs::read_to_string(&file)
            .ok()
            .map(|text| serde_json::from_str(&text).expect("a committed schema is JSON"));
        if let Some(committed) = &committed {
            let broken = broken_fields(committed, &written);
            assert!(
                broken.is_empty(),
                "{name} breaks its promise: {broken:?}; make it a new version with an upcast"
            );
        }
        if committed.as_ref() != Some(&written) {
            assert!(
                std::env::var_os(ACCEPT).is_some(),
                "{} is not what this build writes; look at the difference, then run again with {ACCEPT}=1",
                file.display()
            );
            let text = serde_json::to_string_pretty(&written).expect("a schema is JSON") + "\n";
            std::fs::write(&file, text).expect("the schema folder can be written");
        }
        accepted.push(file);
    }
    for entry in std::fs::read_dir(folder()).expect("the schema folder is there") {
        let path = entry.expect("can be listed").path();
        assert!(
            accepted.contains(&path),
            "{} belongs to no event: a consumer may still read it",
            path.display()
        );
    }
}

#[test]
fn a_removed_or_retyped_field_is_found() {
    let field = |name: &str, ty: &str| (name.to_owned(), serde_json::json!({ "type": ty }));
    let of = |fields: Vec<(String, Value)>| {
        let properties: BTreeMap<_, _> = fields.into_iter().collect();
        serde_json::json!({ "type": "object", "properties": properties })
    };
    let old = of(vec![field("a", "string"), field("b", "integer")]);
    let wider = of(vec![
        field("a", "string"),
        field("b", "integer"),
        field("c", "string"),
    ]);
    assert!(broken_fields(&old, &wider).is_empty());
    assert_eq!(broken_fields(&old, &of(vec![field("a", "string")])), ["/b"]);
    assert_eq!(
        broken_fields(&old, &of(vec![field("a", "integer"), field("b", "integer")])),
        ["/a"]
    );
    let nested = |ty: &str| serde_json::json!({ "$defs": { "M": of(vec![field("minor", ty)]) } });
    assert_eq!(
        broken_fields(&nested("integer"), &nested("string")),
        ["/$defs/M/minor"]
    );
}

/// Paths of what `old` promised and `new` does not hold: fields, and values of enumerations.
fn broken_fields(old: &Value, new: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    compare(old, new, "", &mut broken);
    broken
}

fn compare(old: &Value, new: &Value, path: &str, broken: &mut Vec<String>) {
    for (keyword, prefix) in [("properties", ""), ("$defs", "/$defs")] {
        let Some(fields) = old.get(keyword).and_then(Value::as_object) else {
            continue;
        };
        for (name, was) in fields {
            let path = format!("{path}{prefix}/{name}");
            match new.get(keyword).and_then(|fields| fields.get(name)) {
                Some(is) => compare(was, is, &path, broken),
                None => broken.push(path),
            }
        }
    }
    for keyword in ["type", "$ref", "format", "const", "enum", "pattern"] {
        if old.get(keyword).is_some() && old.get(keyword) != new.get(keyword) {
            broken.push(path.to_owned());
        }
    }
    for (keyword, sub) in [("oneOf", "|"), ("anyOf", "|")] {
        let (Some(was), is) = (
            old.get(keyword).and_then(Value::as_array),
            new.get(keyword).and_then(Value::as_array),
        ) else {
            continue;
        };
        for (i, was) in was.iter().enumerate() {
            match is.and_then(|is| is.get(i)) {
                Some(is) => compare(was, is, &format!("{path}{sub}{i}"), broken),
                None => broken.push(format!("{path}{sub}{i}")),
            }
        }
    }
    if let (Some(was), Some(is)) = (old.get("items"), new.get("items")) {
        compare(was, is, &format!("{path}[]"), broken);
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}
