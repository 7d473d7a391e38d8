use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("saga_") || word.starts_with("outbox_relay_"))
        .map(str::to_owned)
        .collect()
}

/// An alert on a metric that nobody writes never comes.
#[test]
fn alerts_and_operations_speak_of_metrics_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let there = named(&(read("saga-runtime/src/metrics.rs") + &read("outbox-relay/src/metrics.rs")));
    assert!(there.contains("saga_parked_keys") && there.contains("outbox_relay_parked_keys"));
    for path in [
        "deploy/prometheus/alerts.yaml",
        "deploy/prometheus/alerts.test.yaml",
        "docs/operations.md",
    ] {
        let unknown: Vec<_> = named(&read(path)).difference(&there).cloned().collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}
