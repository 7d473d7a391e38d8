use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const DASHBOARD: &str = "deploy/grafana/quadrille.json";

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("saga_") || word.starts_with("outbox_relay_"))
        .map(str::to_owned)
        .collect()
}

/// A histogram is several series.
fn metric_of(series: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| series.strip_suffix(suffix))
        .unwrap_or(series)
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).expect(path)
}

/// An alert on a metric that nobody writes never comes, and a panel of it stays empty.
#[test]
fn alerts_panels_and_operations_speak_of_metrics_that_there_are() {
    let there = named(&(read("saga-runtime/src/metrics.rs") + &read("outbox-relay/src/metrics.rs")));
    assert!(there.contains("saga_parked_keys") && there.contains("outbox_relay_parked_keys"));
    for path in [
        ALERTS,
        "deploy/prometheus/alerts.test.yaml",
        DASHBOARD,
        "docs/operations.md",
    ] {
        let series = named(&read(path));
        let unknown: Vec<_> = series
            .iter()
            .filter(|name| !there.contains(*name) && !there.contains(metric_of(name)))
            .collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

/// What is counted and nowhere explained is of no use at night.
#[test]
fn operations_speak_of_each_metric() {
    let explained = named(&read("docs/operations.md"));
    for path in ["outbox-relay/src/metrics.rs", "saga-runtime/src/metrics.rs"] {
        let metrics = named(&read(path));
        assert!(metrics.len() > 10, "{path}: {metrics:?}");
        let missing: Vec<_> = metrics.difference(&explained).collect();
        assert!(
            missing.is_empty(),
            "docs/operations.md says nothing of {missing:?}"
        );
    }
}

/// Whoever is woken up by a number wants to see how it came about.
#[test]
fn what_alerts_watch_is_on_the_dashboard() {
    let metrics = |path| -> BTreeSet<String> {
        let series = named(&read(path));
        series.iter().map(|name| metric_of(name).to_owned()).collect()
    };
    let (watched, shown) = (metrics(ALERTS), metrics(DASHBOARD));
    let missing: Vec<_> = watched.difference(&shown).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Grafana moves panels that overlap, and drops one of two with the same number.
#[test]
fn panels_have_a_number_a_place_and_a_query() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).expect(DASHBOARD);
    let mut taken = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let panels = dashboard["panels"].as_array().expect("a list of panels");
    assert!(panels.len() > 20, "{}", panels.len());
    for panel in panels {
        let title = panel["title"].as_str().expect("each has a title");
        assert!(
            numbers.insert(panel["id"].as_u64()),
            "{title}: its number is another's"
        );
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("each has a place");
        assert!(place("x") + place("w") <= 24, "{title}: wider than the page");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title}: its place is another's");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"].is_string(),
            "{title}: says nothing of itself"
        );
        let targets = panel["targets"].as_array().expect("queries");
        assert!(
            !targets.is_empty()
                && targets
                    .iter()
                    .all(|target| !named(&target["expr"].to_string()).is_empty()),
            "{title}: a query without a metric of ours"
        );
    }
}
