//! The picture: one box for each participant with its timers and effects, one arrow for what one tells another.

use std::collections::BTreeMap;

use super::graph::{Act, Graph, Heard, Member};

/// What an arrow says, and so how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Forward,
    Refusal,
    Backward,
}

/// Readable on a light and on a dark page.
const STYLES: [(Kind, &str); 2] = [
    (Kind::Refusal, "stroke:#d08a1d"),
    (Kind::Backward, "stroke:#d04437,stroke-dasharray:6 4"),
];

const CLASSES: [&str; 6] = [
    "classDef participant fill:#e8eef7,stroke:#4a6fa5,color:#16243a",
    "classDef timer fill:#fff6dd,stroke:#b58a1b,color:#3a2f10",
    "classDef effect fill:#e6f4ea,stroke:#3c8c57,color:#12301d",
    "classDef back fill:#fbe9e7,stroke:#d04437,color:#4a1610,stroke-dasharray:6 4",
    "classDef outside fill:#f4f4f4,stroke:#8a8a8a,color:#222222",
    "classDef group fill:none,stroke:#8a8a8a",
];

/// The text, and what has been drawn.
#[derive(Debug, Default)]
struct Picture {
    lines: Vec<String>,
    arrows: Vec<Kind>,
}

pub(super) fn draw(graph: &Graph) -> String {
    let mut picture = Picture::default();
    for member in &graph.participants {
        picture.participant(member);
    }
    if graph.events.iter().any(|event| event.for_observers.is_some()) {
        picture.node("observers", "([", "observers", "])", "outside");
    }
    for (who, commands) in callers(graph) {
        let from = id(&["from", &who]);
        picture.node(&from, "([", &who, "])", "outside");
        for (member, names) in commands {
            picture.arrow(Kind::Forward, &from, &names, &id_of(&member));
        }
    }
    for ((from, to, kind), names) in told(graph) {
        let to = to.map_or_else(|| "observers".to_owned(), |to| id_of(&to));
        picture.arrow(kind, &id_of(&from), &names, &to);
    }
    picture.finish()
}

impl Picture {
    /// A participant, and in a frame with it its timers and what it does outside.
    fn participant(&mut self, member: &Member) {
        let name = &member.name;
        let it = id_of(name);
        let own = belongings(member);
        if own.is_empty() {
            return self.node(&it, "[", &format!("<b>{name}</b>"), "]", "participant");
        }
        let group = id(&["group", name]);
        self.lines.push(format!("subgraph {group}[\" \"]"));
        self.node(&it, "[", &format!("<b>{name}</b>"), "]", "participant");
        for ((what, class), names) in own {
            let (open, close) = if class == "timer" {
                ("([", "])")
            } else {
                ("{{", "}}")
            };
            let node = id(&[name, what]);
            self.node(
                &node,
                open,
                &format!("{what}: {}", names.join("<br>")),
                close,
                class,
            );
        }
        self.lines.push("end".into());
        self.lines.push(format!("class {group} group"));
    }

    fn node(&mut self, id: &str, open: &str, label: &str, close: &str, class: &str) {
        let label = label.replace('"', "#quot;");
        self.lines.push(format!("{id}{open}\"{label}\"{close}:::{class}"));
    }

    fn arrow(&mut self, kind: Kind, from: &str, names: &[String], to: &str) {
        self.lines
            .push(format!("{from} -->|\"{}\"| {to}", names.join("<br>")));
        self.arrows.push(kind);
    }

    fn finish(mut self) -> String {
        for (kind, style) in STYLES {
            let drawn = self
                .arrows
                .iter()
                .enumerate()
                .filter(|(_, drawn)| **drawn == kind);
            let numbers: Vec<_> = drawn.map(|(number, _)| number.to_string()).collect();
            if !numbers.is_empty() {
                self.lines
                    .push(format!("linkStyle {} {style}", numbers.join(",")));
            }
        }
        self.lines.extend(CLASSES.map(str::to_owned));
        format!("flowchart LR\n    {}\n", self.lines.join("\n    "))
    }
}

/// The timers and effects of a participant, by what they are and how they are drawn.
fn belongings(member: &Member) -> BTreeMap<(&'static str, &'static str), Vec<&str>> {
    let mut own: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for act in member.steps.iter().flat_map(|step| &step.puts_out) {
        let (what, name) = match act {
            Act::Timer { name, .. } => (("timer", "timer"), name),
            Act::Effect {
                name, backward: true, ..
            } => (("undoes", "back"), name),
            Act::Effect { name, asks: true, .. } => (("asks", "effect"), name),
            Act::Effect { name, .. } => (("does", "effect"), name),
            Act::Event { .. } => continue,
        };
        let names = own.entry(what).or_default();
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    own
}

/// Who gives which commands to whom.
fn callers(graph: &Graph) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let mut callers: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for member in &graph.participants {
        for step in &member.steps {
            if let Heard::Command {
                name,
                from: Some(from),
            } = &step.on
            {
                let to = callers.entry(from.clone()).or_default();
                to.entry(member.name.clone()).or_default().push(name.clone());
            }
        }
    }
    callers
}

/// From whom to whom goes what. No receiver: observers.
fn told(graph: &Graph) -> BTreeMap<(String, Option<String>, Kind), Vec<String>> {
    let mut told: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for event in &graph.events {
        let kind = match (event.refuses, event.backward) {
            (true, _) => Kind::Refusal,
            (false, true) => Kind::Backward,
            (false, false) => Kind::Forward,
        };
        let observers = event.for_observers.iter().map(|_| None);
        for to in event.heard_by.iter().cloned().map(Some).chain(observers) {
            for from in &event.said_by {
                told.entry((from.clone(), to.clone(), kind))
                    .or_default()
                    .push(event.name.clone());
            }
        }
    }
    told
}

fn id_of(participant: &str) -> String {
    id(&["it", participant])
}

/// Letters, digits and underscores: `end` and such are words of Mermaid's own, so none stands alone.
fn id(parts: &[&str]) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    parts.join("_").chars().map(clean).collect()
}
