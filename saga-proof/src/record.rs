//! What `sagactl replay record` has written, and yesterday's events against today's build.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use saga_core::Participant;
use saga_core::replay::{Replay, Report, Sagas};

/// What was heard in the last so many minutes of a record may not have been decided when it ended.
const SETTLING: TimeDelta = TimeDelta::minutes(10);

/// A record: files with lines of JSON, each with all partitions of one number, so with all of a saga.
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
    #[error("{participant} has decided nothing in this record")]
    Nothing {
        /// Who.
        participant: &'static str,
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
            each_line(path, |line| {
                last = last.max(time(line));
                sagas.take(line).ok()
            })?;
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
            0 => Err(RecordError::Nothing { participant: name }),
            _ => Ok(report),
        }
    }

    /// Hands over each line.
    pub(crate) fn lines(&self, mut each: impl FnMut(&str) -> Option<()>) -> Result<(), RecordError> {
        self.files.iter().try_for_each(|path| each_line(path, &mut each))
    }
}

/// `None`: it is no record.
fn each_line(path: &Path, mut each: impl FnMut(&str) -> Option<()>) -> Result<(), RecordError> {
    let failed = |source| RecordError::File {
        path: path.to_owned(),
        source,
    };
    let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
    for (number, line) in (1..).zip(lines) {
        each(&line.map_err(failed)?).ok_or_else(|| RecordError::Line {
            path: path.to_owned(),
            line: number,
        })?;
    }
    Ok(())
}

/// When a record was written.
fn time(line: &str) -> Option<DateTime<Utc>> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    record["timestamp"].as_str()?.parse().ok()
}
