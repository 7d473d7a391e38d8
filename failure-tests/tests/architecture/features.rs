use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// With it a program can be told to end, to stand still or to fail at any step.
const FAULT_POINTS: &str = "fault-points";

/// A feature of a crate, with what it turns on: `other`, or `crate/feature`.
#[derive(Clone, Debug)]
struct Feature {
    of: String,
    name: String,
    turns_on: Vec<String>,
}

/// What a crate asks of a dependency for everything that it builds: not for its tests alone.
#[derive(Clone, Debug)]
struct Asks {
    who: String,
    of: String,
    features: Vec<String>,
}

/// By whom fault points get into programs that nobody built with them on purpose.
fn violations(features: &[Feature], asks: &[Asks]) -> Vec<String> {
    let arming = arming(features);
    let is_arming = |of: &str, feature: &str| arming.contains(&(of.to_owned(), feature.to_owned()));
    let by_default = features
        .iter()
        .filter(|feature| feature.name == "default" && is_arming(&feature.of, "default"))
        .map(|feature| {
            format!(
                "{} has {FAULT_POINTS} among its default features: take it out, and build with --features where it is wanted",
                feature.of
            )
        });
    let by_asking = asks
        .iter()
        .filter(|asks| asks.features.iter().any(|feature| is_arming(&asks.of, feature)))
        .map(|asks| {
            format!(
                "{} asks {} for {FAULT_POINTS}: only [dev-dependencies] may",
                asks.who, asks.of
            )
        });
    by_default.chain(by_asking).collect()
}

/// The features that lead to fault points, each with its crate.
fn arming(features: &[Feature]) -> BTreeSet<(String, String)> {
    let leads = |found: &BTreeSet<(String, String)>, of: &str, on: &str| match on.split_once('/') {
        // `crate?/feature`: if it is there.
        Some((other, feature)) => {
            let other = other.trim_end_matches('?');
            feature == FAULT_POINTS || found.contains(&(other.to_owned(), feature.to_owned()))
        }
        None => on == FAULT_POINTS || found.contains(&(of.to_owned(), on.to_owned())),
    };
    let named = features.iter().filter(|feature| feature.name == FAULT_POINTS);
    let mut found: BTreeSet<_> = named
        .map(|feature| (feature.of.clone(), feature.name.clone()))
        .collect();
    loop {
        let more = features.iter().filter(|feature| {
            let mut turns_on = feature.turns_on.iter();
            turns_on.any(|on| leads(&found, &feature.of, on))
        });
        let more: BTreeSet<_> = more
            .map(|feature| (feature.of.clone(), feature.name.clone()))
            .collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

fn workspace() -> (Vec<Feature>, Vec<Asks>) {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo reads the workspace's manifests");
    let (mut features, mut asks) = (Vec::new(), Vec::new());
    for package in &metadata.packages {
        for (name, turns_on) in &package.features {
            features.push(Feature {
                of: package.name.to_string(),
                name: name.to_string(),
                turns_on: turns_on.iter().map(ToString::to_string).collect(),
            });
        }
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Development {
                asks.push(Asks {
                    who: package.name.to_string(),
                    of: dependency.name.clone(),
                    features: dependency.features.clone(),
                });
            }
        }
    }
    (features, asks)
}

/// What runs in production has no fault points, whatever is built beside it.
#[test]
fn no_program_has_fault_points_by_itself() {
    let (features, asks) = workspace();
    let armed = arming(&features);
    let engine = ("saga-runtime".to_owned(), FAULT_POINTS.to_owned());
    assert!(armed.contains(&engine), "the feature has another name: {armed:?}");
    let found = violations(&features, &asks);
    assert!(found.is_empty(), "\n  {}\n", found.join("\n  "));
}

/// Also by way of a feature with another name.
#[test]
fn who_turns_fault_points_on_is_found() {
    let (features, asks) = workspace();
    let feature = |of: &str, name: &str, turns_on: &str| Feature {
        of: of.to_owned(),
        name: name.to_owned(),
        turns_on: vec![turns_on.to_owned()],
    };
    let ask = |of: &str, feature: &str| Asks {
        who: "order".to_owned(),
        of: of.to_owned(),
        features: vec![feature.to_owned()],
    };
    let broken = |more: &[Feature], asking: Option<Asks>| {
        let features: Vec<_> = features.iter().chain(more).cloned().collect();
        let asks: Vec<_> = asks.iter().cloned().chain(asking).collect();
        let found = violations(&features, &asks);
        assert_eq!(found.len(), 1, "{found:?}");
        found.concat()
    };
    let said = broken(&[], Some(ask("saga-runtime", FAULT_POINTS)));
    assert!(said.contains("order asks saga-runtime"), "{said}");
    let debug = feature("saga-runtime", "debug", FAULT_POINTS);
    let said = broken(&[debug], Some(ask("saga-runtime", "debug")));
    assert!(said.contains("order asks saga-runtime"), "{said}");
    let default = feature("order", "default", "quadrille-process?/fault-points");
    let said = broken(&[default], None);
    assert!(said.contains("order has fault-points"), "{said}");
}
