use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use quadrille_contracts::{order, payment, stock};
use quadrille_process::kafka::KafkaSettings;
use saga_core::partitioner::partition_for;
use serde_json::Value;

use crate::audit;
use crate::failure::{Code, Failure};
use crate::records::{self, Begin, Range, Record};
use crate::screen::{self, Output};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  sagactl replay record month                          # the topics, into files; needs the broker
  sagactl replay run month --programs target/debug   # against the programs there; needs nothing

Each of order, inventory and payment replays what it heard and told with its own decisions, and says where it would
decide otherwise today. Exit code 1 if one would. Card tokens are not recorded.";

/// Topics whose key is the order.
const TOPICS: [&str; 3] = [order::TOPIC, stock::TOPIC, payment::TOPIC];

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
    /// Writes what the topics hold to files, one for each partition.
    Record {
        /// A folder, which is made if it is not there.
        folder: PathBuf,
        /// Only the last so many hours.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=24 * 366))]
        hours: Option<u32>,
        /// Topics of a system of your own, without the prefix, which have one key and as many partitions; instead of the
        /// shop's.
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
            let records = match topics.is_empty() {
                true => record(&kafka, &folder, &of_the_shop(&kafka, back).await?).await?,
                false => record(&kafka, &folder, &whole(topics)).await?,
            };
            screen::hint(format!("{records} records are in {}", folder.display()));
            Ok(Code::Ok)
        }
        Verb::Run { folder, programs } => replay(&folder, &programs, output).await,
    }
}

/// A topic, and where each partition of it begins, if not at its beginning.
type Stretch = (String, Option<BTreeMap<i32, i64>>);

async fn of_the_shop(kafka: &KafkaSettings, back: Option<TimeDelta>) -> Result<Vec<Stretch>, Failure> {
    let begins = audit::begins(kafka, back.map(|back| Utc::now() - back)).await?;
    let stretch = |(index, topic): (usize, &&str)| {
        let of_topic = begins.iter().filter(|((of, _), _)| *of == index);
        let begins = of_topic.map(|((_, partition), begin)| (*partition, *begin));
        ((*topic).to_owned(), Some(begins.collect()))
    };
    Ok(TOPICS.iter().enumerate().map(stretch).collect())
}

fn whole(topics: Vec<String>) -> Vec<Stretch> {
    topics.into_iter().map(|topic| (topic, None)).collect()
}

/// A saga is in the same partition of each topic, so a file has all of it.
async fn record(kafka: &KafkaSettings, folder: &Path, topics: &[Stretch]) -> Result<u64, Failure> {
    let failed = cannot_write(folder);
    std::fs::create_dir_all(folder).map_err(&failed)?;
    if std::fs::read_dir(folder).map_err(&failed)?.next().is_some() {
        return Err(Failure::usage(format!(
            "{} is not empty; a record has a folder of its own, or the two would be replayed as one",
            folder.display()
        )));
    }
    let mut all = None;
    for (topic, _) in topics {
        let partitions = records::partitions(kafka, &kafka.prefixed(topic)).await?;
        if *all.get_or_insert(partitions) != partitions {
            return Err(Failure::usage(format!(
                "{topic} has {partitions} partitions, and the topics before it have another number"
            )));
        }
    }
    let mut drafts = Vec::new();
    let written = write(kafka, folder, topics, all.unwrap_or(0), &mut drafts).await;
    // Not before the last one is whole: half a record would be replayed as if nothing else had happened.
    for draft in drafts {
        match &written {
            Ok(_) => std::fs::rename(&draft, draft.with_extension("jsonl")).map_err(&failed)?,
            Err(_) => drop(std::fs::remove_file(draft)),
        }
    }
    written
}

async fn write(
    kafka: &KafkaSettings,
    folder: &Path,
    topics: &[Stretch],
    partitions: i32,
    drafts: &mut Vec<PathBuf>,
) -> Result<u64, Failure> {
    let failed = cannot_write(folder);
    let mut written = 0;
    for partition in 0..partitions {
        let draft = folder.join(format!("partition-{partition:03}.{DRAFT}"));
        let mut file = BufWriter::new(File::create_new(&draft).map_err(&failed)?);
        drafts.push(draft);
        for (topic, begins) in topics {
            let begin = begins.as_ref().and_then(|begins| begins.get(&partition));
            let range = Range {
                topic: kafka.prefixed(topic),
                partitions: vec![partition],
                begin: begin.map_or(Begin::Beginning, |begin| Begin::At([(partition, *begin)].into())),
                follow: false,
            };
            let mut records = records::read(kafka, range)?;
            while let Some(record) = records.recv().await {
                let record = record?;
                stays_where_it_was(&record, partitions)?;
                writeln!(file, "{}", record.to_json()).map_err(&failed)?;
                written += 1;
            }
        }
        file.flush().map_err(&failed)?;
    }
    Ok(written)
}

fn cannot_write(folder: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::new(
            Code::Internal,
            format!("cannot write to {}: {error}", folder.display()),
        )
    }
}

/// A topic that has grown has the older events of a saga in another partition than the later ones.
fn stays_where_it_was(record: &Record, partitions: i32) -> Result<(), Failure> {
    let Some(key) = &record.key else {
        return Ok(());
    };
    let now = partition_for(key, partitions);
    if now == record.partition {
        return Ok(());
    }
    Err(Failure::new(
        Code::No,
        format!(
            "{} is of {}, whose records are in partition {now} of {partitions} by now: the topic has grown, and what is in one file \
             would not be all of a saga. With --hours begin after that",
            record.place(),
            record.key_text()
        ),
    ))
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
