use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use saga_core::envelope::CE_ID;

use super::certified::Setting;
use super::log::Log;
use crate::stage::Outboxes;
use crate::stage::events::{self, Given};
use crate::stage::topics::Record;
use crate::stage::wait::until;
use crate::stage::witness::Committed;

/// Says of one saga whether the engine has done what it promises.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) outboxes: Outboxes,
    log: Log,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Records that came more than once.
    pub(crate) twice: usize,
    /// What does not add up.
    pub(crate) wrong: Vec<String>,
}

impl Judge {
    pub(crate) async fn of(setting: &Setting<'_>) -> Result<Self> {
        Ok(Self {
            outboxes: Outboxes::open(setting.outboxes.iter().cloned()).await?,
            log: tokio::task::block_in_place(|| Log::of(setting.brokers, &setting.topics))?,
        })
    }

    /// Waits for rest, then looks at every database and every topic.
    pub(crate) async fn saga(&self, key: &str) -> Result<Verdict> {
        self.rest(key).await?;
        let (committed, records) = until("the events to be read", async || {
            let records = self.log.of_key(key)?;
            let committed = self.outboxes.read_by_all(key, &records).await?;
            anyhow::Ok((committed, records))
        })
        .await?;
        // Whatever the last events have set going.
        self.rest(key).await?;
        let findings = events::check(&committed, Given::Some(&records), |_| true);
        let mut wrong = findings.violations;
        if findings.foreign > 0 {
            wrong.push(format!("{} records have no position", findings.foreign));
        }
        Ok(Verdict {
            twice: findings.duplicates,
            wrong,
        })
    }

    /// Of a key that is no saga: what was committed is in its topic, but for what an operator has discarded. A replay
    /// has new positions, so events are known by their ids.
    pub(crate) async fn events(&self, key: &str, discarded: &str) -> Result<Verdict> {
        let committed = self.outboxes.committed(key).await?;
        let events: Vec<&Committed> = committed.values().flatten().collect();
        let records = until("the events to be published", async || {
            let records = self.log.of_key(key)?;
            ensure!(!records.is_empty(), "none is");
            anyhow::Ok(records)
        })
        .await?;
        let mut verdict = Verdict::default();
        for event in events {
            let id = event.id.to_string();
            let of_it: Vec<&Record> = records
                .iter()
                .filter(|record| record.header(CE_ID) == Some(&id))
                .collect();
            verdict.twice += of_it.len().saturating_sub(1);
            let name = &event.r#type;
            if name == discarded {
                if !of_it.is_empty() {
                    verdict
                        .wrong
                        .push(format!("{name} was discarded, and is in its topic"));
                }
            } else if of_it.is_empty() {
                verdict
                    .wrong
                    .push(format!("{name} was committed, and is not in its topic"));
            }
            if of_it.iter().any(|record| record.payload != event.payload) {
                verdict
                    .wrong
                    .push(format!("{name} is there with another content"));
            }
            if of_it.windows(2).any(|two| two[0].position() != two[1].position()) {
                verdict.wrong.push(format!("{name} is there under two positions"));
            }
        }
        Ok(verdict)
    }

    /// The outboxes to which something about this key was written.
    pub(crate) async fn wrote(&self, key: &str) -> Result<Vec<String>> {
        let committed: BTreeMap<String, Vec<Committed>> = self.outboxes.committed(key).await?;
        let wrote = committed.into_iter().filter(|(_, events)| !events.is_empty());
        Ok(wrote.map(|(name, _)| name).collect())
    }

    /// Nothing is outstanding, nothing waits, nothing is parked.
    async fn rest(&self, key: &str) -> Result<()> {
        until("the saga to come to rest", async || {
            self.outboxes.at_rest(key).await
        })
        .await
    }
}
