//! The arrows between the crates (ARCHITECTURE.md), held by what their manifests say.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What operators are told to watch.
mod alerts;
/// What programs are built with.
mod features;
/// Mistakes on purpose, and other builds.
mod patches;
/// What is allowed, and why.
mod rules;

use rules::{ARROWS, LIBRARIES, Who};

/// A dependency as a manifest has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Arrow {
    from: String,
    to: String,
    /// For tests, benchmarks and examples only.
    is_dev: bool,
}

/// What breaks a rule, as a sentence that says what to do.
fn violations(crates: &BTreeSet<String>, arrows: &[Arrow]) -> Vec<String> {
    let mut found = Vec::new();
    for name in crates {
        if !ARROWS.iter().any(|rule| rule.from == name) {
            found.push(format!(
                "{name} is new: say in failure-tests/tests/architecture/rules.rs what it may depend on"
            ));
        }
    }
    for Arrow { from, to, is_dev } in arrows {
        let (Some(rule), true) = (ARROWS.iter().find(|rule| rule.from == from), crates.contains(to)) else {
            continue;
        };
        let allowed = match rule.may {
            Who::Everybody => true,
            // Tests may use what helps tests, and may not reach sideways either.
            Who::These(names) => {
                names.contains(&to.as_str())
                    || (*is_dev && (rules::FOR_TESTS.contains(&to.as_str()) || from == to))
            }
        };
        if !allowed {
            found.push(format!("{from} depends on {to}, and may not: {}", rule.why));
        }
    }
    for library in LIBRARIES {
        for Arrow { from, to, is_dev } in arrows {
            let may = library.may.contains(&from.as_str())
                || (*is_dev && library.in_tests.contains(&from.as_str()));
            if to == library.name && !may {
                found.push(format!(
                    "{from} depends on {to}, and may not: {}; those who may are {}",
                    library.why,
                    library.may.join(", ")
                ));
            }
        }
    }
    found
}

fn workspace() -> (BTreeSet<String>, Vec<Arrow>) {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo reads the workspace's manifests");
    let crates = metadata
        .packages
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let arrows = metadata.packages.iter().flat_map(|package| {
        package.dependencies.iter().map(|dependency| Arrow {
            from: package.name.to_string(),
            to: dependency.name.clone(),
            is_dev: dependency.kind == DependencyKind::Development,
        })
    });
    (crates, arrows.collect())
}

#[test]
fn every_arrow_points_the_way_it_should() {
    let (crates, arrows) = workspace();
    let found = violations(&crates, &arrows);
    assert!(found.is_empty(), "\n  {}\n", found.join("\n  "));
}

/// A check that finds nothing may be one that looks at nothing.
#[test]
fn a_wrong_arrow_is_found() {
    let (crates, right) = workspace();
    let wrong = |from: &str, to: &str, is_dev| {
        let mut arrows = right.clone();
        let (from, to) = (from.to_owned(), to.to_owned());
        arrows.push(Arrow { from, to, is_dev });
        let found = violations(&crates, &arrows);
        assert_eq!(found.len(), 1, "{found:?}");
        found.concat()
    };
    for (from, to) in [
        ("saga-core", "tokio"),
        ("saga-core", "saga-runtime"),
        ("order", "payment"),
        ("order", "rdkafka"),
        ("saga-runtime", "order"),
        ("saga-runtime", "outbox-relay"),
        ("outbox-relay", "saga-runtime"),
        ("quadrille-process", "sqlx"),
        ("local-stack", "rdkafka"),
        ("payment-sandbox", "quadrille-contracts"),
    ] {
        let said = wrong(from, to, false);
        assert!(said.contains(from) && said.contains(to), "{said}");
    }
    wrong("order", "inventory", true);
    wrong("order", "local-stack", false);
    let mut newcomer = crates.clone();
    newcomer.insert("warehouse".to_owned());
    assert!(
        violations(&newcomer, &right)
            .concat()
            .contains("warehouse is new")
    );
}
