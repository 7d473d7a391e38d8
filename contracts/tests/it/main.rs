//! The committed schemas are the promise: what this build writes must keep it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

const ACCEPT: &str = "ACCEPT_SCHEMAS";

/// A new event or field is accepted with `just schemas`; a field that was removed, renamed or retyped, or that is
/// required and was not, or a value that an enumeration had not, is not accepted at all: that is a new version with an upcaster.
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
                "{name} breaks its promise:\n  {}\n{WHAT_TO_DO}",
                broken.join("\n  ")
            );
        }
        if committed.as_ref() != Some(&written) {
            assert!(
                std::env::var_os(ACCEPT).is_some(),
                "{} is not what this build writes; if that is meant, run `just schemas` and commit it",
                file.display()
            );
            let text = serde_json::to_string_pretty(&written).expect("a schema is JSON") + "\n";
            std::fs::write(&file, text).expect("the schema folder can be written");
        }
        accepted.push(file);
    }
    for entry in std::fs::read_dir(folder()).expect("the schema folder is there") {
        let path = entry.expect("can be listed").path();
        if !accepted.contains(&path) {
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if let Err(why) = may_stay(stem) {
                panic!("{}: {why}", path.display());
            }
        }
    }
}

const WHAT_TO_DO: &str = "\
Topics hold events of this version for 14 days, and other builds and other languages read it. So make it a new version:
  1. keep the old shape as a type of its own, and write a pure function from it to the new one;
  2. say #[event(…, version = N + 1, upcast(N => that_function))], and test that function;
  3. leave the committed schema of version N where it is, and run `just schemas` for that of N + 1;
  4. deploy every consumer before the first producer. A field that is new may stay in this version with #[serde(default)].";

/// Whether the schema of an older version may stay: as long as this build reads it.
fn may_stay(stem: &str) -> Result<(), String> {
    let version = stem
        .rsplit_once("-v")
        .and_then(|(name, version)| Some((name, version.parse().ok()?)));
    match version.map(|(name, version)| (name, version, quadrille_contracts::schema::reads(name, version))) {
        Some((_, _, Some(true))) => Ok(()),
        Some((name, version, Some(false))) => Err(format!(
            "{name}/{version} may still be in a topic or a quarantine, and this build cannot read it; say upcast({version} => …)"
        )),
        _ => Err("it belongs to no event: a consumer may still read it".to_owned()),
    }
}

#[test]
fn the_schema_of_an_older_version_stays_as_long_as_it_is_read() {
    assert_eq!(may_stay("order.created-v1"), Ok(()));
    for (stem, why) in [
        ("order.created-v7", "say upcast(7"),
        ("order.wrapped-v1", "belongs to no event"),
        ("order.created", "belongs to no event"),
    ] {
        let said = may_stay(stem).unwrap_err();
        assert!(said.contains(why), "{stem}: {said}");
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
    let broken = |new: &Value| broken_fields(&old, new);
    assert!(broken(&wider).is_empty());
    assert_eq!(broken(&of(vec![field("a", "string")])), ["/b is gone"]);
    assert_eq!(
        broken(&of(vec![field("a", "integer"), field("b", "integer")])),
        ["/a has another type"]
    );
    let renamed = of(vec![field("a", "string"), field("c", "integer")]);
    assert_eq!(broken(&renamed), ["/b is gone"]);
    let required = |names: &[&str]| {
        let mut schema = wider.clone();
        schema["required"] = serde_json::json!(names);
        schema
    };
    assert_eq!(
        broken_fields(&required(&["a", "b"]), &required(&["a"])),
        ["/b was always there, and need not be any more"]
    );
    assert_eq!(
        broken_fields(&required(&["a"]), &required(&["a", "c"])),
        ["/c is required, and what is in the topics lacks it"]
    );
    let one_of = |names: &[&str]| {
        let variants: Vec<_> = names
            .iter()
            .map(|name| serde_json::json!({ "type": "string", "const": name }))
            .collect();
        serde_json::json!({ "oneOf": variants })
    };
    let (two, three) = (one_of(&["a", "b"]), one_of(&["a", "b", "c"]));
    assert!(broken_fields(&three, &three).is_empty());
    assert_eq!(broken_fields(&three, &two), ["|2 is gone"]);
    assert_eq!(
        broken_fields(&two, &three),
        ["|2 is new, and who reads today's cannot read it"]
    );
    assert_eq!(
        broken_fields(&two, &one_of(&["a", "z", "b"])),
        [
            "|1 has another const",
            "|2 is new, and who reads today's cannot read it"
        ]
    );
    let free = serde_json::json!({ "type": "string" });
    for (keyword, value) in [
        ("enum", serde_json::json!(["a", "b"])),
        ("pattern", serde_json::json!("^[A-Z]{3}$")),
        ("format", serde_json::json!("uuid")),
    ] {
        let mut bound = free.clone();
        bound[keyword] = value;
        assert!(broken_fields(&bound, &bound).is_empty());
        for (was, is) in [(&bound, &free), (&free, &bound)] {
            assert_eq!(broken_fields(was, is), [format!(" has another {keyword}")]);
        }
    }
    let nested = |ty: &str| serde_json::json!({ "$defs": { "M": of(vec![field("minor", ty)]) } });
    assert_eq!(
        broken_fields(&nested("integer"), &nested("string")),
        ["/$defs/M/minor has another type"]
    );
}

/// What `old` promised and `new` does not hold, by path: fields, and values of enumerations. To those who read the new
/// with the old one in mind, and to those who read the old with the new one in mind.
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
                None => broken.push(format!("{path} is gone")),
            }
        }
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        let names = schema.get("required").and_then(Value::as_array);
        let names = names.into_iter().flatten();
        names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    let (was, is) = (required(old), required(new));
    let stays = |name: &&String| {
        new.get("properties")
            .is_some_and(|fields| fields.get(name.as_str()).is_some())
    };
    for name in was.difference(&is).filter(stays) {
        broken.push(format!(
            "{path}/{name} was always there, and need not be any more"
        ));
    }
    for name in is.difference(&was) {
        broken.push(format!(
            "{path}/{name} is required, and what is in the topics lacks it"
        ));
    }
    for keyword in ["type", "$ref", "const"] {
        if old.get(keyword).is_some() && old.get(keyword) != new.get(keyword) {
            broken.push(format!("{path} has another {keyword}"));
        }
    }
    // One that is new is a bound that what is in the topics may not keep; one that is gone lets through what readers refuse.
    for keyword in ["enum", "pattern", "format"] {
        if old.get(keyword) != new.get(keyword) {
            broken.push(format!("{path} has another {keyword}"));
        }
    }
    for keyword in ["oneOf", "anyOf"] {
        let variants = |schema: &Value| -> Vec<Value> {
            let variants = schema.get(keyword).and_then(Value::as_array);
            variants.cloned().unwrap_or_default()
        };
        let (was, is) = (variants(old), variants(new));
        for (i, was) in was.iter().enumerate() {
            match is.get(i) {
                Some(is) => compare(was, is, &format!("{path}|{i}"), broken),
                None => broken.push(format!("{path}|{i} is gone")),
            }
        }
        // No event of ours has a place for what its type does not know: serde refuses it, and the key is parked.
        for i in was.len()..is.len() {
            broken.push(format!("{path}|{i} is new, and who reads today's cannot read it"));
        }
    }
    if let (Some(was), Some(is)) = (old.get("items"), new.get("items")) {
        compare(was, is, &format!("{path}[]"), broken);
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}
