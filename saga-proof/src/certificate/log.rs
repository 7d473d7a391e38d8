use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::stage::topics::{Record, Topics, is_final};

/// What the topics hold, by key, read on by a thread of its own.
#[derive(Debug)]
pub(crate) struct Log {
    records: Arc<Mutex<BTreeMap<String, Vec<Record>>>>,
    stop: Arc<AtomicBool>,
    reading: Option<JoinHandle<Result<()>>>,
}

impl Log {
    pub(crate) fn of(brokers: &str, names: &[String]) -> Result<Self> {
        let mut topics = Topics::open(brokers, names)?;
        let records: Arc<Mutex<BTreeMap<String, Vec<Record>>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let reading = std::thread::spawn({
            let (records, stop) = (Arc::clone(&records), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match topics.catch_up() {
                        Err(error) if is_final(&error) => return Err(error),
                        // A broker that is away comes back, and nothing was lost: it is read from where we are.
                        Err(error) => eprintln!("the topics cannot be read for now: {error:#}"),
                        Ok(()) => {}
                    }
                    let mut known = records.lock().unwrap_or_else(PoisonError::into_inner);
                    for record in std::mem::take(&mut topics.records) {
                        known.entry(record.key_text()).or_default().push(record);
                    }
                    drop(known);
                    std::thread::sleep(Duration::from_millis(150));
                }
                Ok(())
            }
        });
        Ok(Self {
            records,
            stop,
            reading: Some(reading),
        })
    }

    /// All records of a key so far, each partition in its order.
    pub(crate) fn of_key(&self, key: &str) -> Result<Vec<Record>> {
        if self.reading.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(anyhow!("nobody reads the topics any more"));
        }
        let known = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.get(key).cloned().unwrap_or_default())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reading) = self.reading.take()
            && !matches!(reading.join(), Ok(Ok(())))
        {
            eprintln!("the topics could not be read to the end");
        }
    }
}
