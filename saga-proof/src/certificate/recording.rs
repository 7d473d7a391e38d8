//! What the topics hold after a rehearsal, written as `sagactl replay record` writes it: so replays and audits have
//! something to read before there is anything in production.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::stage::topics::Record;

/// All of every saga is in this one file.
const FILE: &str = "walked.jsonl";

/// A folder that the last record of this kind may be in, and no other: two would be read as one. Asked before there is
/// anything to be written, since that takes a minute.
///
/// # Errors
/// If another is in it, or it cannot be looked at.
pub(super) fn is_free(folder: &Path) -> Result<()> {
    let failed = || format!("look into {}", folder.display());
    if !folder.try_exists().with_context(failed)? {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") && !path.ends_with(FILE) {
            bail!(
                "{} is of another record, and the two would be read as one; move it away first",
                path.display()
            );
        }
    }
    Ok(())
}

/// Writes a record, in place of the last one that was written here.
///
/// # Errors
/// If it cannot be written; what was there is there still.
pub(super) fn write(folder: &Path, mut records: Vec<Record>) -> Result<()> {
    let failed = || format!("write {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    records.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    let (path, draft) = (folder.join(FILE), folder.join("walked.draft"));
    let mut file = BufWriter::new(File::create(&draft).with_context(failed)?);
    for record in &records {
        writeln!(file, "{}", line(record)).with_context(failed)?;
    }
    file.into_inner()?.sync_all().with_context(failed)?;
    fs::rename(&draft, &path).with_context(failed)?;
    println!("written: {}, {} records", path.display(), records.len());
    Ok(())
}

/// Without the time at which the broker had it: everything in it was at rest, so no saga may still have time.
fn line(record: &Record) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: BTreeMap<&str, String> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), text(value)))
        .collect();
    let payload = record.payload.as_deref();
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key.as_deref().map(text),
        "headers": headers,
        "payload": payload.and_then(|payload| serde_json::from_slice::<Value>(payload).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Recorded;

    fn record(partition: i32, offset: i64) -> Record {
        Record {
            topic: "t".to_owned(),
            partition,
            offset,
            key: Some(b"k".to_vec()),
            headers: vec![("ce_id".to_owned(), b"1".to_vec())],
            payload: Some(b"{\"a\": 1}".to_vec()),
        }
    }

    #[test]
    fn what_is_written_is_read_in_its_order_and_never_mixed_with_another() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("quadrille-recording-{}", std::process::id()));
        is_free(&folder)?;
        write(&folder, vec![record(0, 0); 9])?;
        is_free(&folder)?;
        write(&folder, vec![record(1, 0), record(0, 10), record(0, 9)])?;
        let mut seen = Vec::new();
        Recorded::in_folder(&folder)?.records(|record| {
            assert_eq!(
                (&record["key"], &record["payload"]["a"]),
                (&json!("k"), &json!(1))
            );
            assert_eq!(record["headers"]["ce_id"], json!("1"));
            seen.push((record["partition"].as_i64()?, record["offset"].as_i64()?));
            Some(())
        })?;
        assert_eq!(seen, [(0, 9), (0, 10), (1, 0)]);

        fs::write(folder.join("partition-000.jsonl"), "")?;
        let refused = is_free(&folder).expect_err("there is another");
        assert!(refused.to_string().contains("partition-000.jsonl"), "{refused}");
        fs::remove_dir_all(&folder)?;
        Ok(())
    }
}
