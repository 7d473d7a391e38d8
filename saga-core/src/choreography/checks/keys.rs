use std::collections::{BTreeMap, BTreeSet};

use super::super::Choreography;
use super::super::finding::{Check, Finding};
use super::super::observed::{Course, Observed};
use super::super::part::Part;
use crate::input::InputKind;
use crate::output::OutputKind;

/// A topic and what its key is called.
type Keyed = (&'static str, &'static str);

pub(super) fn check(choreography: &Choreography, observed: &Observed, found: &mut Vec<Finding>) {
    for part in &choreography.parts {
        let Some(course) = observed.parts.get(part.name) else {
            continue;
        };
        let topics = of_its_saga(part, course);
        same_key(part, &topics, found);
        same_partitions(choreography, part, &topics, found);
        for output in &course.astray {
            found.push(Finding::new(
                Check::KeysDiffer,
                format!("{}'s {output}", part.name),
                "it went out under another key than its saga's",
                "fill the field of the key with the saga's",
            ));
        }
    }
    registered(choreography, found);
}

/// The topics that a participant hears and speaks of in its sagas.
fn of_its_saga(part: &Part, course: &Course) -> BTreeSet<Keyed> {
    let of_a_saga = |on: &str| course.heard.get(on).copied().unwrap_or_default();
    let heard = part.hears().filter(|spec| of_a_saga(spec.variant));
    let heard = heard.filter_map(|spec| match spec.kind {
        InputKind::Event { topic, key, .. } => Some((topic, key)),
        InputKind::Command | InputKind::Timer | InputKind::Result => None,
    });
    let in_a_saga = |output: &str| {
        let mut steps = part.steps.iter();
        steps.any(|step| of_a_saga(step.on) && step.emits.contains(&output))
    };
    let said = part.says().filter(|spec| in_a_saga(spec.variant));
    let said = said.filter_map(|spec| match spec.kind {
        OutputKind::Event { topic, key, .. } => Some((topic, key)),
        OutputKind::Effect { .. } | OutputKind::Timer => None,
    });
    heard.chain(said).collect()
}

fn same_key(part: &Part, topics: &BTreeSet<Keyed>, found: &mut Vec<Finding>) {
    let mut by_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (topic, key) in topics {
        by_key.entry(key).or_default().insert(topic);
    }
    if by_key.len() > 1 {
        let each: Vec<_> = by_key
            .iter()
            .map(|(key, topics)| format!("{} by {key}", list(topics)))
            .collect();
        found.push(Finding::new(
            Check::KeysDiffer,
            part.name,
            format!("the topics of its saga are keyed differently: {}", each.join(", ")),
            "give all events of a saga one key (key = field as name, where only the field is called otherwise), or \
             answer None in Participant::key to what belongs to no saga",
        ));
    }
}

fn same_partitions(
    choreography: &Choreography,
    part: &Part,
    topics: &BTreeSet<Keyed>,
    found: &mut Vec<Finding>,
) {
    let mut by_number: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for (name, _) in topics {
        if let Some(topic) = choreography.topics.iter().find(|topic| topic.name == *name) {
            by_number.entry(topic.partitions).or_default().insert(name);
        }
    }
    if by_number.len() > 1 {
        let each: Vec<_> = by_number
            .iter()
            .map(|(n, topics)| format!("{} have {n}", list(topics)))
            .collect();
        found.push(Finding::new(
            Check::KeysDiffer,
            part.name,
            format!(
                "the topics of its saga differ in their partitions: {}",
                each.join(", ")
            ),
            "give them the same number, or a saga's events meet in different workers",
        ));
    }
}

/// Whoever speaks of a topic finds it in the registry.
fn registered(choreography: &Choreography, found: &mut Vec<Finding>) {
    let said = choreography.parts.iter().flat_map(|part| part.says());
    let said = said.filter_map(|spec| match spec.kind {
        OutputKind::Event { topic, .. } => Some(topic),
        OutputKind::Effect { .. } | OutputKind::Timer => None,
    });
    let heard = choreography.parts.iter().flat_map(|part| part.hears());
    let heard = heard.filter_map(|spec| match spec.kind {
        InputKind::Event { topic, .. } => Some(topic),
        InputKind::Command | InputKind::Timer | InputKind::Result => None,
    });
    for name in said.chain(heard).collect::<BTreeSet<_>>() {
        if !choreography.topics.iter().any(|topic| topic.name == name) {
            found.push(Finding::new(
                Check::KeysDiffer,
                name,
                "it is in no registry, so nobody knows how many partitions it has",
                "name it in topics",
            ));
        }
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(" and ")
}
