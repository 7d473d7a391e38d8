use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde_json::Value;

use crate::failure::{Code, Failure};
use crate::screen::{self, Output};
use crate::settings::Settings;

/// The topics, into files.
mod record;

const EXAMPLES: &str = "\
Examples:
  sagactl replay record month                          # the topics, into files; needs the broker
  sagactl replay run month --programs target/debug   # against the programs there; needs nothing

Each of order, inventory and payment replays what it heard and told with its own decisions, and says where it would
decide otherwise today. Exit code 1 if one would. Card tokens are not recorded.";

/// How the name of a file ends that is not whole.
const DRAFT: &str = "draft";

/// Programs with a participant that can be replayed.
const PROGRAMS: [&str; 3] = ["order", "inventory", "payment"];

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Writes what the topics hold to files, each with all of every saga that is in it.
    Record {
        /// A folder, which is made if it is not there.
        folder: PathBuf,
        /// Only the last so many hours.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=24 * 366))]
        hours: Option<u32>,
        /// Topics of a system of your own, without the prefix, which have one key; instead of the shop's.
        #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "hours")]
        topics: Vec<String>,
    },
    /// Replays files with the decisions of the programs in a folder.
    Run {
        /// What `record` wrote.
        folder: PathBuf,
        /// Where the programs order, inventory and payment are.
        #[arg(long, value_name = "FOLDER")]
        programs: PathBuf,
    },
}

pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Code, Failure> {
    match arguments.verb {
        Verb::Record {
            folder,
            hours,
            topics,
        } => {
            let kafka = settings.kafka()?;
            let back = hours.map(|hours| TimeDelta::hours(hours.into()));
            let stretches = match topics.is_empty() {
                true => record::of_the_shop(&kafka, back).await?,
                false => record::whole(topics),
            };
            let records = record::record(&kafka, &folder, stretches).await?;
            screen::hint(format!("{records} records are in {}", folder.display()));
            Ok(Code::Ok)
        }
        Verb::Run { folder, programs } => replay(&folder, &programs, output).await,
    }
}

async fn replay(folder: &Path, programs: &Path, output: Output) -> Result<Code, Failure> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let ends_in = |path: &Path, ending: &str| path.extension().is_some_and(|extension| extension == ending);
    if files.iter().any(|path| ends_in(path, DRAFT)) {
        return Err(Failure::usage(format!(
            "the record in {} is not whole: it was interrupted, or is still written",
            folder.display()
        )));
    }
    files.retain(|path| ends_in(path, "jsonl"));
    files.sort();
    if files.is_empty() {
        return Err(Failure::not_found(format!(
            "no record is in {}",
            folder.display()
        )));
    }
    let mut same = true;
    let mut reports = Vec::new();
    for name in PROGRAMS {
        let program = programs.join(name);
        let mut command = tokio::process::Command::new(&program);
        command.arg("replay");
        if output == Output::Json {
            command.arg("--json");
        }
        let done = command
            .args(&files)
            .output()
            .await
            .map_err(|error| Failure::usage(format!("cannot start {}: {error}", program.display())))?;
        let said = String::from_utf8_lossy(&done.stdout).trim_end().to_owned();
        match done.status.code() {
            Some(0) => {}
            Some(1) => same = false,
            _ => {
                let why = String::from_utf8_lossy(&done.stderr).trim_end().to_owned();
                return Err(Failure::new(
                    Code::Internal,
                    format!("{name} did not replay: {why}"),
                ));
            }
        }
        match output {
            Output::Table => screen::say(said),
            Output::Json => reports.push(serde_json::from_str::<Value>(&said).unwrap_or_default()),
        }
    }
    if output == Output::Json {
        screen::show(output, &reports, |_| "");
    }
    Ok(if same { Code::Ok } else { Code::No })
}
