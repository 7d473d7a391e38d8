use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::{Code, Failure};

/// Writes a text and a line end to standard output. Whoever reads may stop reading: `sagactl … | head`.
pub(crate) fn say(text: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Progress and advice go to standard error, so that standard output is what was asked for and nothing else.
pub(crate) fn hint(text: impl std::fmt::Display) {
    // Nobody is left to be told that it failed.
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// For people or for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Tables and sentences.
    Table,
    /// One JSON document; of a stream, one per line.
    Json,
}

/// Writes a result in the form that was asked for.
pub(crate) fn show<T: serde::Serialize, D: std::fmt::Display>(
    output: Output,
    result: &T,
    for_people: impl FnOnce(&T) -> D,
) {
    match output {
        Output::Table => say(for_people(result)),
        Output::Json => say(serde_json::to_string_pretty(result).expect("results have a JSON form")),
    }
}

/// As [`show`], for one of many: JSON on one line.
pub(crate) fn show_line<T: serde::Serialize, D: std::fmt::Display>(
    output: Output,
    result: &T,
    for_people: impl FnOnce(&T) -> D,
) {
    match output {
        Output::Table => say(for_people(result)),
        Output::Json => say(serde_json::to_string(result).expect("results have a JSON form")),
    }
}

/// A person has to say yes; a script says --yes.
pub(crate) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to be asked; say --yes"));
    }
    eprint!("{question}");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::caused(Code::Internal, &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
