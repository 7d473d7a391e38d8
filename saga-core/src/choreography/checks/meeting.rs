use super::super::Choreography;
use super::super::finding::{Check, Finding};
use super::super::part::{Part, meets};
use crate::input::{InputKind, InputSpec};
use crate::output::{OutputKind, OutputSpec};

pub(super) fn check(choreography: &Choreography, found: &mut Vec<Finding>) {
    for part in &choreography.parts {
        for output in part.outputs.iter().filter(|spec| part.puts_out(spec.variant)) {
            heard(choreography, part, output, found);
        }
        for input in part.inputs {
            said(choreography, part, input, found);
        }
    }
    declared(choreography, found);
}

fn heard(choreography: &Choreography, part: &Part, output: &OutputSpec, found: &mut Vec<Finding>) {
    let at = format!("{}'s {}", part.name, output.name);
    let hearers: Vec<_> = hearers(choreography, part, output).collect();
    let unheard = |what: String, advice: String| Finding::new(Check::NobodyHears, &at, what, advice);
    match output.kind {
        OutputKind::Event { topic, .. } if hearers.is_empty() => {
            if !choreography.observers.iter().any(|seen| seen.name == output.name) {
                found.push(unheard(
                    format!("no participant has an input for it on {topic}"),
                    "give one an #[event] input, or say with for_observers who reads it".into(),
                ));
            }
        }
        OutputKind::Event { version, .. } => {
            for (by, input) in hearers {
                let InputKind::Event { version: reads, .. } = input.kind else {
                    continue;
                };
                if reads < version {
                    found.push(unheard(
                        format!(
                            "it is written in version {version}, and {} reads up to {reads}",
                            by.name
                        ),
                        format!("upgrade {} first", by.name),
                    ));
                }
            }
        }
        OutputKind::Effect { .. } if hearers.is_empty() => found.push(unheard(
            "nobody hears what came of it".into(),
            format!("give {} a #[result] input for it", part.name),
        )),
        OutputKind::Timer if hearers.is_empty() => found.push(unheard(
            "nobody hears that it fires".into(),
            format!("give {} a #[timer] input {}", part.name, output.variant),
        )),
        OutputKind::Effect { .. } | OutputKind::Timer => {}
    }
}

fn hearers<'c>(
    choreography: &'c Choreography,
    from: &'c Part,
    output: &'c OutputSpec,
) -> impl Iterator<Item = (&'c Part, &'static InputSpec)> {
    choreography.parts.iter().flat_map(move |to| {
        let inputs = to.inputs.iter();
        inputs
            .filter(move |input| meets(from, output, to, input))
            .map(move |input| (to, input))
    })
}

fn said(choreography: &Choreography, part: &Part, input: &InputSpec, found: &mut Vec<Finding>) {
    let is_said = choreography.parts.iter().any(|from| {
        let mut outputs = from.outputs.iter();
        outputs.any(|output| from.puts_out(output.variant) && meets(from, output, part, input))
    });
    let at = format!("{}'s {}", part.name, input.variant);
    let unsaid = |what: String, advice: String| Finding::new(Check::NobodySays, &at, what, advice);
    match input.kind {
        InputKind::Event { topic, .. } => {
            let elsewhere = || {
                choreography
                    .elsewhere
                    .iter()
                    .any(|event| event.name == input.name)
            };
            if !is_said && !elsewhere() {
                found.push(unsaid(
                    format!("no step puts out {} on {topic}", input.name),
                    "emit it, remove the input, or say with published_elsewhere who publishes it".into(),
                ));
            }
        }
        InputKind::Command => {
            let mut entries = choreography.entries.iter();
            if !entries.any(|entry| entry.participant == part.name && entry.command == input.variant) {
                found.push(unsaid(
                    "nobody gives this command".into(),
                    "say who does with entry, or remove it".into(),
                ));
            }
        }
        InputKind::Timer if !is_said => found.push(unsaid(
            format!("no step of {} sets it", part.name),
            format!(
                "put out a #[timer] {} where the wait begins, or remove it",
                input.variant
            ),
        )),
        InputKind::Result if !is_said => found.push(unsaid(
            format!("no step of {} puts out the effect {}", part.name, input.name),
            "put it out, or remove the input".into(),
        )),
        InputKind::Timer | InputKind::Result => {}
    }
}

/// What is declared of events and commands is so.
fn declared(choreography: &Choreography, found: &mut Vec<Finding>) {
    let says = |name: &str| {
        choreography
            .parts
            .iter()
            .any(|part| part.says().any(|spec| spec.name == name))
    };
    let hears = |name: &str| {
        choreography
            .parts
            .iter()
            .any(|part| part.hears().any(|spec| spec.name == name))
    };
    let mut stale = |at: &str, what: &str| {
        found.push(Finding::new(
            Check::Stale,
            at,
            what,
            "remove it from the choreography",
        ))
    };
    for event in &choreography.observers {
        if !says(event.name) {
            stale(event.name, "it is declared as for observers, and nobody says it");
        } else if hears(event.name) {
            stale(
                event.name,
                "it is declared as for observers, and a participant hears it",
            );
        }
    }
    for event in &choreography.elsewhere {
        if !hears(event.name) {
            stale(
                event.name,
                "it is declared as published elsewhere, and nobody hears it",
            );
        } else if says(event.name) {
            stale(
                event.name,
                "it is declared as published elsewhere, and a participant says it",
            );
        }
    }
    for entry in &choreography.entries {
        let part = choreography
            .parts
            .iter()
            .find(|part| part.name == entry.participant);
        let input = part.and_then(|part| part.input(entry.command));
        if input.map(|input| input.kind) != Some(InputKind::Command) {
            let at = format!("{}'s {}", entry.participant, entry.command);
            stale(&at, "it is declared as an entry, and is no command");
        }
    }
}
