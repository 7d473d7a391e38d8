//! What `sagactl replay record` has written, and yesterday's events against today's build.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use saga_core::Participant;
use saga_core::replay::{Replay, Report, Sagas};
use serde_json::Value;

/// What was heard in the last so many minutes of a record may not have been decided when it ended.
const SETTLING: TimeDelta = TimeDelta::minutes(10);

/// A record: files with lines of JSON, each with all of every saga that is in it. Of a partition whose topic grew some sagas
/// stay and others went on elsewhere, so its records may be in several files.
#[derive(Clone, Debug)]
pub struct Recorded {
    files: Vec<PathBuf>,
}

/// Why there is no good answer. Its `Debug` is its `Display`, so that a test which unwraps it tells the story.
#[derive(thiserror::Error)]
pub enum RecordError {
    /// A file or folder that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line that is no record of a topic.
    #[error("{}, line {line}: it is no record of a topic", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Today something else would be decided.
    #[error("{participant} would decide otherwise today, in {} sagas; the first of them, {saga}:\n{story}", .report.differ)]
    Differs {
        /// Who.
        participant: &'static str,
        /// Which saga.
        saga: String,
        /// How it comes to that.
        story: String,
        /// Everything that was found.
        report: Box<Report>,
    },
    /// Nothing was replayed that could have differed.
    #[error(
        "{participant} has decided nothing in this record: none of the {cut} sagas that it hears or tells of has its {begins}; its Replay::BEGINS has to be an event that it hears or tells itself"
    )]
    Nothing {
        /// Who.
        participant: &'static str,
        /// The event with which a saga begins for it.
        begins: &'static str,
        /// Sagas of which it heard or told something, but not that.
        cut: u64,
    },
    /// Nothing was audited of which anything is claimed.
    #[error(
        "no saga that begins with {begins} has ended in this record, so it shows nothing; record for longer, or name another event"
    )]
    NothingEnded {
        /// The event with which a saga begins.
        begins: &'static str,
    },
    /// Something does not add up.
    #[error("{} discrepancies:\n  {}", .0.len(), .0.join("\n  "))]
    Discrepancies(Vec<String>),
}

impl std::fmt::Debug for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f)?;
        std::fmt::Display::fmt(self, f)
    }
}

impl Recorded {
    /// The files in a folder.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn in_folder(folder: impl AsRef<Path>) -> Result<Self, RecordError> {
        let folder = folder.as_ref();
        let failed = |source| RecordError::File {
            path: folder.to_owned(),
            source,
        };
        let entries = std::fs::read_dir(folder).map_err(failed)?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        Ok(Self { files })
    }

    /// Puts it to the decisions of this build: in each saga the same has to be decided.
    ///
    /// # Errors
    /// [`RecordError::Differs`] with the story of the first difference, and [`RecordError::Nothing`].
    pub fn replay<P: Replay>(&self, participant: &P) -> Result<Report, RecordError> {
        let name = <P as Participant>::NAME;
        let mut report = Report::default();
        for path in &self.files {
            let mut sagas = Sagas::of(participant);
            let mut last = None;
            let mut lines = Lines::of(path)?;
            while let Some(line) = lines.next()? {
                last = last.max(time(&line));
                sagas.take(&line).map_err(|_| lines.wrong())?;
            }
            report.join(sagas.replay(last.map(|last| last - SETTLING)));
        }
        if let Some((saga, difference)) = report.stories.first() {
            return Err(RecordError::Differs {
                participant: name,
                saga: saga.clone(),
                story: difference.to_string(),
                report: Box::new(report),
            });
        }
        match report.same {
            0 => Err(RecordError::Nothing {
                participant: name,
                begins: P::BEGINS,
                cut: report.cut,
            }),
            _ => Ok(report),
        }
    }

    /// The same for several participants, as a tuple: `(&Desk::default(), &Hotels)`.
    ///
    /// # Errors
    /// The first that would decide otherwise, or has decided nothing.
    pub fn replay_all(&self, participants: impl Replays) -> Result<(), RecordError> {
        participants.replay(self)
    }

    /// Hands over each record, those of a partition in its order: each file has its part of them in order.
    pub(crate) fn records(&self, mut each: impl FnMut(&Value) -> Option<()>) -> Result<(), RecordError> {
        let mut files: Vec<Lines> = self.files.iter().map(Lines::of).collect::<Result<_, _>>()?;
        let mut heads = BTreeMap::new();
        for (file, lines) in files.iter_mut().enumerate() {
            heads.extend(lines.record()?.map(|(place, record)| ((place, file), record)));
        }
        while let Some(((_, file), record)) = heads.pop_first() {
            each(&record).ok_or_else(|| files[file].wrong())?;
            let next = files[file].record()?;
            heads.extend(next.map(|(place, record)| ((place, file), record)));
        }
        Ok(())
    }
}

/// Participants that can be replayed, in a tuple.
pub trait Replays {
    /// Puts the record to each of them.
    ///
    /// # Errors
    /// As [`Recorded::replay`].
    fn replay(self, recorded: &Recorded) -> Result<(), RecordError>;
}

macro_rules! tuples {
    ($($first:ident $($rest:ident)*)?) => {
        $(
            impl<$first: Replay, $($rest: Replay),*> Replays for (&$first, $(&$rest,)*) {
                fn replay(self, recorded: &Recorded) -> Result<(), RecordError> {
                    #[allow(non_snake_case)]
                    let ($first, $($rest,)*) = self;
                    recorded.replay($first)?;
                    $(recorded.replay($rest)?;)*
                    Ok(())
                }
            }
            tuples!($($rest)*);
        )?
    };
}

tuples!(A B C D E F G H I J K L);

/// Topic, partition and offset.
type Place = (String, i64, i64);

/// The lines of one file.
struct Lines {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    number: usize,
}

impl Lines {
    fn of(path: &PathBuf) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(|source| RecordError::File {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path: path.clone(),
            lines: BufReader::new(file).lines(),
            number: 0,
        })
    }

    fn next(&mut self) -> Result<Option<String>, RecordError> {
        self.number += 1;
        self.lines.next().transpose().map_err(|source| RecordError::File {
            path: self.path.clone(),
            source,
        })
    }

    fn record(&mut self) -> Result<Option<(Place, Value)>, RecordError> {
        match self.next()? {
            Some(line) => placed(&line).ok_or_else(|| self.wrong()).map(Some),
            None => Ok(None),
        }
    }

    /// The last line is no record.
    fn wrong(&self) -> RecordError {
        RecordError::Line {
            path: self.path.clone(),
            line: self.number,
        }
    }
}

fn placed(line: &str) -> Option<(Place, Value)> {
    let record: Value = serde_json::from_str(line).ok()?;
    let topic = record["topic"].as_str()?.to_owned();
    let place = (topic, record["partition"].as_i64()?, record["offset"].as_i64()?);
    Some((place, record))
}

/// When a record was written.
fn time(line: &str) -> Option<DateTime<Utc>> {
    let record: Value = serde_json::from_str(line).ok()?;
    record["timestamp"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partition 3 of a topic that grew: of its records some are of sagas that stayed, others of such that went on in 7.
    #[test]
    fn a_partition_is_in_its_order_although_two_files_have_it() {
        let folder = std::env::temp_dir().join(format!("quadrille-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let lines = |records: &[(i64, i64)]| -> String {
            let line = |(partition, offset): &(i64, i64)| {
                format!("{{\"topic\": \"t\", \"partition\": {partition}, \"offset\": {offset}}}\n")
            };
            records.iter().map(line).collect()
        };
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
        write("partition-003.jsonl", lines(&[(3, 0), (3, 2), (3, 10)]));
        write("partition-007.jsonl", lines(&[(3, 1), (3, 9), (7, 0)]));

        let recorded = Recorded::in_folder(&folder).expect("it is there");
        let mut read = Vec::new();
        let done = recorded.records(|record| {
            read.push((record["partition"].as_i64()?, record["offset"].as_i64()?));
            Some(())
        });
        done.expect("records");
        assert_eq!(read, [(3, 0), (3, 1), (3, 2), (3, 9), (3, 10), (7, 0)]);

        write("partition-007.jsonl", lines(&[(3, 1)]) + "{}\n");
        let wrong = recorded.records(|_| Some(()));
        assert!(
            matches!(wrong, Err(RecordError::Line { line: 2, .. })),
            "{wrong:?}"
        );
        std::fs::remove_dir_all(&folder).expect("it was there");
    }
}
