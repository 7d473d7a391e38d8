//! `<service> replay <files>`: a record of topics against this build's decisions, without a database and without a
//! broker.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use saga_core::replay::{NoRecord, Replay, Report, Sagas};
use serde_json::json;

/// What was heard in the last so many minutes of a record may not have been decided when it ended.
const SETTLING: TimeDelta = TimeDelta::minutes(10);

/// So many stories are told to people.
const TOLD_MAX: usize = 5;

/// Why a record was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line of it that is no record.
    #[error("{}, line {line}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: NoRecord,
    },
}

/// Does it if that is what the program was called for: `replay [--json] FILE…`. Exit code 0: the same decisions; 1:
/// others; 64: called wrongly; 70: a file cannot be read.
pub fn if_asked<P: Replay>(participant: &P) -> Option<ExitCode> {
    if_asked_with(std::env::args().skip(1), participant)
}

/// [`if_asked`] for a program that has verbs: `arguments` are what is left of the command line once the verb is known.
pub fn if_asked_with<P: Replay>(
    mut arguments: impl Iterator<Item = String>,
    participant: &P,
) -> Option<ExitCode> {
    if arguments.next().as_deref() != Some("replay") {
        return None;
    }
    let (flags, files): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| argument.starts_with("--"));
    if files.is_empty() || flags.iter().any(|flag| flag != "--json") {
        eprintln!("usage: {} replay [--json] FILE…", P::NAME);
        return Some(ExitCode::from(64));
    }
    let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    Some(match replay(participant, &files) {
        Ok(report) => {
            let text = if flags.is_empty() {
                people(P::NAME, &report)
            } else {
                scripts(P::NAME, &report)
            };
            // Whoever reads may stop reading.
            writeln!(std::io::stdout(), "{text}").ok();
            ExitCode::from(u8::from(report.differ > 0))
        }
        Err(error) => {
            eprintln!("{}: {}", P::NAME, quadrille_process::Chain(&error));
            ExitCode::from(70)
        }
    })
}

/// Replays files, one after the other: a saga is in one of them.
///
/// # Errors
/// If one cannot be read.
pub fn replay<P: Replay>(participant: &P, files: &[PathBuf]) -> Result<Report, Error> {
    let mut all = Report::default();
    for path in files {
        let mut sagas = Sagas::of(participant);
        let mut last = None;
        each_line(path, |number, line| {
            last = last.max(time(line));
            sagas.take(line).map_err(|source| Error::Line {
                path: path.clone(),
                line: number,
                source,
            })
        })?;
        all.join(sagas.replay(last.map(|last| last - SETTLING)));
    }
    Ok(all)
}

fn each_line(path: &Path, mut each: impl FnMut(usize, &str) -> Result<(), Error>) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
    for (number, line) in (1..).zip(lines) {
        each(number, &line.map_err(failed)?)?;
    }
    Ok(())
}

/// When a record was written.
fn time(line: &str) -> Option<DateTime<Utc>> {
    #[derive(serde::Deserialize)]
    struct Stamp {
        timestamp: Option<DateTime<Utc>>,
    }
    serde_json::from_str::<Stamp>(line).ok()?.timestamp
}

fn people(name: &str, report: &Report) -> String {
    let mut text = format!(
        "{name}: the same in {} sagas ({} decisions on recorded inputs, {} on inferred ones), otherwise in {}",
        report.same, report.recorded, report.inferred, report.differ
    );
    if report.cut > 0 {
        text.push_str(&format!("; {} sagas begin before the record", report.cut));
    }
    if !report.undecided.is_empty() {
        text.push_str(&format!("; {} have too many ways", report.undecided.len()));
    }
    for (saga, difference) in report.stories.iter().take(TOLD_MAX) {
        text.push_str(&format!("\n\n{name}, saga {saga}:\n{difference}"));
    }
    text
}

fn scripts(name: &str, report: &Report) -> String {
    let stories: Vec<_> = report
        .stories
        .iter()
        .map(|(saga, story)| {
            json!({
                "saga": saga,
                "before": story.before,
                "state": story.state,
                "came": story.came,
                "then": story.then,
                "now": story.now,
            })
        })
        .collect();
    json!({
        "participant": name,
        "same": report.same,
        "differ": report.differ,
        "cut": report.cut,
        "undecided": report.undecided,
        "recorded": report.recorded,
        "inferred": report.inferred,
        "stories": stories,
    })
    .to_string()
}
