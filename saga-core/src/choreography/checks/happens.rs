use std::collections::BTreeSet;

use super::super::Choreography;
use super::super::course::Ways;
use super::super::finding::{Check, Finding};
use super::super::observed::{Course, Observed};
use super::super::part::Part;

pub(super) fn check(choreography: &Choreography, observed: &Observed, found: &mut Vec<Finding>) {
    for part in &choreography.parts {
        match observed.parts.get(part.name) {
            Some(course) => {
                declared(part, course, found);
                seen(part, course, found);
            }
            None => found.push(Finding::new(
                Check::NeverHappens,
                part.name,
                "it was not watched at all",
                "run it in a model or a test with a Recorder",
            )),
        }
        for output in part.outputs.iter().filter(|spec| !part.puts_out(spec.variant)) {
            found.push(Finding::new(
                Check::NeverHappens,
                format!("{}'s {}", part.name, output.variant),
                "no step puts it out",
                "remove it from the outputs, or name it in steps!",
            ));
        }
    }
}

/// What is declared was seen.
fn declared(part: &Part, course: &Course, found: &mut Vec<Finding>) {
    let ways = Ways::of(course);
    let happened: BTreeSet<_> = course.edges().map(|(on, put)| (on, put.output)).collect();
    for step in part.steps {
        let at = format!("{} on {}", part.name, step.on);
        let mut never =
            |what: String, advice: &str| found.push(Finding::new(Check::NeverHappens, &at, what, advice));
        if !course.heard.contains_key(step.on) {
            never(
                "it was never decided".into(),
                "let the run that was watched lead there, or remove the input",
            );
            continue;
        }
        for output in step
            .emits
            .iter()
            .filter(|output| !happened.contains(&(step.on, **output)))
        {
            never(
                format!("{output} is declared, and was never put out"),
                "remove it from steps!, or let the run that was watched lead there",
            );
        }
        for undone in step.undoes {
            if !part.puts_out(undone) {
                never(
                    format!("it undoes {undone}, which no step puts out"),
                    "name what is undone as it is put out, or remove it",
                );
            } else if !ways.acts_after(undone, step.on) {
                never(
                    format!("it undoes {undone}, and was never seen to do anything after it"),
                    "remove it from undoes, or let the run that was watched lead there",
                );
            }
        }
    }
}

/// What was seen is declared.
fn seen(part: &Part, course: &Course, found: &mut Vec<Finding>) {
    for (on, put) in course.edges() {
        let declared = part
            .steps
            .iter()
            .any(|step| step.on == on && step.emits.contains(&put.output));
        if !declared {
            found.push(Finding::new(
                Check::NotDeclared,
                format!("{} on {on}", part.name),
                format!("it puts out {}, and steps! does not say so", put.output),
                "name it in steps!, or do not put it out",
            ));
        }
    }
}
