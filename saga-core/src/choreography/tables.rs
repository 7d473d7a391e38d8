//! What each participant does on which input, for people who want the whole of it.

use std::fmt::Write;

use super::graph::{Act, Graph, Heard, Member, Reaction};

pub(super) fn write(graph: &Graph) -> String {
    let mut text = String::new();
    for member in &graph.participants {
        table(&mut text, member).expect("a string takes all");
    }
    text
}

fn table(text: &mut String, member: &Member) -> std::fmt::Result {
    writeln!(text, "### {}\n", member.name)?;
    writeln!(text, "| on | may put out | undoes |\n|---|---|---|")?;
    for Reaction { on, puts_out, undoes } in &member.steps {
        let puts_out: Vec<_> = puts_out.iter().map(act).collect();
        let undoes: Vec<_> = undoes.iter().map(|name| format!("`{name}`")).collect();
        writeln!(
            text,
            "| {} | {} | {} |",
            input(on),
            or_nothing(&puts_out),
            or_nothing(&undoes)
        )?;
    }
    writeln!(text)
}

fn input(on: &Heard) -> String {
    match on {
        Heard::Event { name } => format!("`{name}`"),
        Heard::Command {
            name,
            from: Some(from),
        } => format!("command `{name}` of {from}"),
        Heard::Command { name, from: None } => format!("command `{name}`"),
        Heard::Timer { name } => format!("timer `{name}` fires"),
        Heard::Outcome { name } => format!("outcome of `{name}`"),
    }
}

fn act(act: &Act) -> String {
    match act {
        Act::Event {
            name, refuses: true, ..
        } => format!("`{name}` (no)"),
        Act::Event { name, .. } => format!("`{name}`"),
        Act::Effect { name, asks: true, .. } => format!("asks `{name}`"),
        Act::Effect { name, .. } => format!("does `{name}`"),
        Act::Timer {
            name,
            sets: true,
            cancels: true,
        } => format!("sets or cancels `{name}`"),
        Act::Timer {
            name, cancels: true, ..
        } => format!("cancels `{name}`"),
        Act::Timer { name, .. } => format!("sets `{name}`"),
    }
}

fn or_nothing(names: &[String]) -> String {
    match names {
        [] => "–".to_owned(),
        names => names.join(", "),
    }
}
