use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use quadrille_contracts::{order, payment, stock};
use quadrille_process::kafka::KafkaSettings;
use saga_core::partitioner::partition_for;

use super::DRAFT;
use crate::audit;
use crate::failure::{Code, Failure};
use crate::records::{self, Begin, Range, Record};

/// Topics whose key is the order.
const TOPICS: [&str; 3] = [order::TOPIC, stock::TOPIC, payment::TOPIC];

/// A topic, and where each partition of it begins, if not at its beginning.
type Stretch = (String, BTreeMap<i32, i64>);

pub(super) async fn of_the_shop(
    kafka: &KafkaSettings,
    back: Option<TimeDelta>,
) -> Result<Vec<Stretch>, Failure> {
    let begins = audit::begins(kafka, back.map(|back| Utc::now() - back)).await?;
    let stretch = |(index, topic): (usize, &&str)| {
        let of_topic = begins.iter().filter(|((of, _), _)| *of == index);
        let begins = of_topic.map(|((_, partition), begin)| (*partition, *begin));
        ((*topic).to_owned(), begins.collect())
    };
    Ok(TOPICS.iter().enumerate().map(stretch).collect())
}

pub(super) fn whole(topics: Vec<String>) -> Vec<Stretch> {
    topics.into_iter().map(|topic| (topic, BTreeMap::new())).collect()
}

/// Writes what the topics hold now to a folder of its own.
///
/// All of a saga is in one file, whichever partitions it stands in: a topic that grew has the older events of a key
/// elsewhere, and the topics may have different numbers of partitions. In each file the records of a partition are in
/// their order, and partitions and topics are in theirs, so that a reader can put the partitions together again.
pub(super) async fn record(
    kafka: &KafkaSettings,
    folder: &Path,
    mut topics: Vec<Stretch>,
) -> Result<u64, Failure> {
    let failed = cannot_write(folder);
    std::fs::create_dir_all(folder).map_err(&failed)?;
    if std::fs::read_dir(folder).map_err(&failed)?.next().is_some() {
        return Err(Failure::usage(format!(
            "{} is not empty; a record has a folder of its own, or the two would be replayed as one",
            folder.display()
        )));
    }
    topics.sort();
    // All ends before the first record is read: what came of events that are not in the record would be no part of it.
    let mut parts = Vec::new();
    for (topic, begins) in topics {
        let topic = kafka.prefixed(&topic);
        let partitions: Vec<i32> = (0..records::partitions(kafka, &topic).await?).collect();
        let ends = records::ends(kafka, &topic, &partitions).await?;
        parts.extend(ends.into_iter().map(|(partition, end)| Part {
            topic: topic.clone(),
            partition,
            begin: begins.get(&partition).copied(),
            end,
        }));
    }
    let files = parts.iter().map(|part| part.partition + 1).max().unwrap_or(0);
    let mut drafts = Drafts::in_folder(folder, files)?;
    match write(kafka, &parts, &mut drafts).await {
        Ok(written) => drafts.keep().map(|()| written),
        Err(failure) => {
            drafts.remove();
            Err(failure)
        }
    }
}

/// What of a partition is recorded.
struct Part {
    topic: String,
    partition: i32,
    begin: Option<i64>,
    end: i64,
}

async fn write(kafka: &KafkaSettings, parts: &[Part], drafts: &mut Drafts) -> Result<u64, Failure> {
    let mut written = 0;
    for part in parts.iter().filter(|part| part.begin.unwrap_or(0) < part.end) {
        let at = |offset| Begin::At([(part.partition, offset)].into());
        let range = Range {
            topic: part.topic.clone(),
            partitions: vec![part.partition],
            begin: part.begin.map_or(Begin::Beginning, at),
            follow: false,
        };
        let mut records = records::read(kafka, range)?;
        while let Some(record) = records.recv().await {
            let record = record?;
            if record.offset >= part.end {
                break;
            }
            drafts.write(&record)?;
            written += 1;
        }
    }
    Ok(written)
}

/// Files that are not whole yet, by the partition that a key is in when there are as many partitions as files.
struct Drafts {
    folder: PathBuf,
    files: Vec<(PathBuf, BufWriter<File>)>,
}

impl Drafts {
    fn in_folder(folder: &Path, files: i32) -> Result<Self, Failure> {
        let mut drafts = Self {
            folder: folder.to_owned(),
            files: Vec::new(),
        };
        for number in 0..files {
            let path = folder.join(format!("partition-{number:03}.{DRAFT}"));
            match File::create_new(&path) {
                Ok(file) => drafts.files.push((path, BufWriter::new(file))),
                Err(error) => {
                    drafts.remove();
                    return Err(cannot_write(folder)(error));
                }
            }
        }
        Ok(drafts)
    }

    fn write(&mut self, record: &Record) -> Result<(), Failure> {
        let files = i32::try_from(self.files.len()).unwrap_or(i32::MAX);
        let number = match &record.key {
            Some(key) => partition_for(key, files),
            None => record.partition,
        };
        let failed = cannot_write(&self.folder);
        let file = usize::try_from(number)
            .ok()
            .and_then(|number| self.files.get_mut(number));
        match file {
            Some((_, file)) => writeln!(file, "{}", record.to_json()).map_err(failed),
            None => Ok(()),
        }
    }

    /// Not before the last one is whole: half a record would be replayed as if nothing else had happened.
    fn keep(self) -> Result<(), Failure> {
        let failed = cannot_write(&self.folder);
        let mut whole = Vec::new();
        for (path, file) in self.files {
            file.into_inner().map_err(|error| failed(error.into_error()))?;
            whole.push(path);
        }
        let rename = |path: PathBuf| std::fs::rename(&path, path.with_extension("jsonl"));
        whole.into_iter().try_for_each(rename).map_err(failed)
    }

    fn remove(self) {
        for (path, _) in self.files {
            std::fs::remove_file(path).ok();
        }
    }
}

fn cannot_write(folder: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::new(
            Code::Internal,
            format!("cannot write to {}: {error}", folder.display()),
        )
    }
}
