use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use crate::kafka::directory::{Directories, Directory};
use crate::kafka::refusal::Unsendable;
use crate::kafka::topics::{Topic, TopicId};
use crate::options::Options;
use crate::outbox::error::OutboxError;
use crate::outbox::lease::Lease;
use crate::outbox::read::Chunk;
use crate::outbox::topics;
use crate::publisher::Halt;
use crate::state::Shared;

/// What one owner of an outbox knows of the topics that its events go to.
pub(crate) struct KnownTopics {
    options: Arc<Options>,
    shared: Arc<Shared>,
    lease: Lease,
    directories: Arc<Directories>,
    /// The clients that topics are met with, and when they were used last.
    directory: Option<(Arc<Directory>, Instant)>,
    topics: Arc<HashMap<String, Topic>>,
    /// Numbers outlive what is known of a topic.
    ids: HashMap<String, TopicId>,
}

/// Topics that are new come in numbers.
const KEPT: Duration = Duration::from_secs(2);

impl KnownTopics {
    /// `directories` are the process's.
    pub(crate) fn new(
        options: Arc<Options>,
        shared: Arc<Shared>,
        lease: Lease,
        directories: Arc<Directories>,
    ) -> Self {
        Self {
            options,
            shared,
            lease,
            directories,
            directory: None,
            topics: Arc::default(),
            ids: HashMap::new(),
        }
    }

    /// As it is now.
    pub(crate) fn snapshot(&self) -> Arc<HashMap<String, Topic>> {
        self.topics.clone()
    }

    /// The names of all that were ever met.
    pub(crate) fn ever_met(&self) -> Vec<String> {
        self.ids.keys().cloned().collect()
    }

    /// The smallest `max.message.bytes`, as far as they are known.
    pub(crate) fn smallest_limit(&self) -> Option<usize> {
        self.topics
            .values()
            .filter_map(|topic| topic.max_message_bytes)
            .min()
    }

    /// Everything is asked again, or what is known of one topic.
    pub(crate) fn forget(&mut self, only: Option<&str>) {
        match only {
            None => self.topics = Arc::default(),
            Some(topic) if self.topics.contains_key(topic) => {
                let mut known = HashMap::clone(&self.topics);
                known.remove(topic);
                self.topics = Arc::new(known);
            }
            Some(_) => {}
        }
    }

    /// Lets go of the clients that topics were met with, if no topic was met for a while: eight threads, which have memory of
    /// their own and wake up ten times a second.
    pub(crate) fn rest(&mut self) {
        self.directory.take_if(|(_, used)| used.elapsed() > KEPT);
    }

    /// Topics of a chunk that were not met yet, apart from those of events that are set aside.
    pub(crate) fn unknown(&self, chunk: &Chunk, aside: &[usize]) -> Result<Vec<String>, OutboxError> {
        let mut unknown: Vec<String> = Vec::new();
        let mut before = None;
        for index in (0..chunk.len()).filter(|index| aside.binary_search(index).is_err()) {
            let topic = chunk.topic(index)?;
            // Neighbours often go to the same one.
            if before.replace(topic) == Some(topic) {
                continue;
            }
            if !self.topics.contains_key(topic) && !unknown.iter().any(|name| name == topic) {
                unknown.push(topic.to_owned());
            }
        }
        Ok(unknown)
    }

    /// Meets the topics of the owners before, who are most likely those of today.
    pub(crate) async fn meet_again(&mut self, connection: &mut PgConnection) -> Result<(), Halt> {
        let known = topics::known(connection, self.options.statement_timeout).await?;
        self.meet(connection, known).await?;
        // What is not there today may be there when it is needed.
        let mut met = HashMap::clone(&self.topics);
        met.retain(|_, topic| topic.unsendable.is_none());
        self.topics = Arc::new(met);
        Ok(())
    }

    /// Asks the broker about topics, and records how many partitions their keys are spread over.
    pub(crate) async fn meet(
        &mut self,
        connection: &mut PgConnection,
        unknown: Vec<String>,
    ) -> Result<(), Halt> {
        let patience = self.options.statement_timeout;
        let trouble = |source| Halt::Client {
            doing: "asking the broker about topics",
            source,
        };
        let directory = match self.directory.take() {
            Some((directory, _)) => directory,
            None => self.directories.of(&self.options.kafka).map_err(trouble)?,
        };
        let asked = directory.look_up(&unknown, &self.shared).await;
        let found = asked.map_err(|error| {
            self.directories.give_up(&directory);
            trouble(error)
        })?;
        self.directory = Some((directory, Instant::now()));
        let mut known = HashMap::clone(&self.topics);
        for name in unknown {
            let next = TopicId(self.ids.len());
            let id = *self.ids.entry(name.clone()).or_insert(next);
            let topic = match found.get(&name) {
                None => Topic::unsendable(id, Unsendable::of_missing(&name)),
                Some(found) => {
                    let recorded =
                        topics::record(connection, &self.lease, &name, found.partitions, patience).await?;
                    if found.partitions > recorded {
                        tracing::warn!(
                            source = %self.shared.source, topic = name, recorded, found = found.partitions,
                            "topic has grown; keys stay where they are, the new partitions get none: see outbox-relay grow"
                        );
                    }
                    Topic::met(id, recorded, *found)
                }
            };
            known.insert(name, topic);
        }
        self.topics = Arc::new(known);
        Ok(())
    }
}
