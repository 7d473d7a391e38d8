//! Topics come from the registry, never by accident: brokers create none by themselves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quadrille_process::kafka::KafkaSettings;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use saga_core::Topic;
use saga_core::topic::{DEAD_LETTER_SUFFIX, RETENTION};

use super::Say;

/// Why there are no topics.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings make no client.
    #[error("cannot make a Kafka client")]
    Client(#[source] KafkaError),
    /// No broker answered.
    #[error("cannot reach Kafka at {brokers}")]
    Unreachable {
        /// Who was asked.
        brokers: String,
        /// What the client said.
        #[source]
        source: KafkaError,
    },
    /// A broker refused.
    #[error("cannot create topic {topic}")]
    Refused {
        /// Which topic.
        topic: String,
        /// What the broker said.
        #[source]
        source: KafkaError,
    },
    /// It is there, with fewer partitions.
    #[error(
        "topic {topic} has {found} partitions, and {expected} are needed; `outbox-relay grow {topic} --partitions \
         {expected}` adds them and keeps the order of its keys"
    )]
    Partitions {
        /// Which topic.
        topic: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// It was created, and no broker has taken it over.
    #[error("topic {topic} has no leader for each of its partitions after {} s", WITHIN.as_secs())]
    Leaderless {
        /// Which topic.
        topic: String,
    },
}

/// What a topic is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Name with its prefix.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// `retention.ms`.
    pub retention: Duration,
    /// `max.message.bytes`.
    pub message_max_bytes: u32,
}

/// Kafka's own default, written down so that every broker has the same.
const MESSAGE_MAX_BYTES: u32 = 1_048_588;

/// A copy of a message has more headers than the message.
const DEAD_LETTER_MAX_BYTES: u32 = 2 * MESSAGE_MAX_BYTES;

const WITHIN: Duration = Duration::from_secs(30);

/// The topics of a registry, and the one for dead letters behind each.
pub fn wanted(registry: &[Topic], prefix: &str) -> Vec<Wanted> {
    let topics = registry.iter();
    topics
        .flat_map(|topic| with_dead_letters(topic.name, topic.partitions, topic.retention, prefix))
        .collect()
}

/// Topics that no registry of ours has, with the usual numbers, and the one for dead letters behind each.
pub fn usual(names: &[String], partitions: u32, prefix: &str) -> Vec<Wanted> {
    let topics = names.iter();
    topics
        .flat_map(|name| with_dead_letters(name, partitions, RETENTION, prefix))
        .collect()
}

fn with_dead_letters(name: &str, partitions: u32, retention: Duration, prefix: &str) -> [Wanted; 2] {
    [
        ("", MESSAGE_MAX_BYTES),
        (DEAD_LETTER_SUFFIX, DEAD_LETTER_MAX_BYTES),
    ]
    .map(|(ending, limit)| Wanted {
        name: format!("{prefix}{name}{ending}"),
        partitions,
        retention,
        message_max_bytes: limit,
    })
}

/// Creates what is missing and checks what is there. With three brokers or more a record is on three of them,
/// and on two before it is acknowledged.
///
/// # Errors
/// [`Error`]; topics that were created before stay.
pub async fn create(kafka: &KafkaSettings, wanted: &[Wanted], say: Say<'_>) -> Result<(), Error> {
    let cluster = Cluster::connect(kafka)?;
    let result = cluster.create(wanted, say).await;
    cluster.close().await;
    result
}

struct Cluster {
    admin: std::sync::Arc<AdminClient<DefaultClientContext>>,
    brokers: String,
}

/// What the brokers know of a topic.
struct Seen {
    partitions: usize,
    all_led: bool,
}

impl Cluster {
    fn connect(kafka: &KafkaSettings) -> Result<Self, Error> {
        let mut config = ClientConfig::new();
        config.set("client.id", "sagactl");
        config.extend(kafka.client_properties());
        let admin = config.create().map_err(Error::Client)?;
        Ok(Self {
            admin: std::sync::Arc::new(admin),
            brokers: kafka.brokers.clone(),
        })
    }

    async fn create(&self, wanted: &[Wanted], say: Say<'_>) -> Result<(), Error> {
        let (brokers, before) = self.look().await?;
        let replicas = i32::try_from(brokers.clamp(1, 3)).unwrap_or(1);
        let missing: Vec<&Wanted> = wanted
            .iter()
            .filter(|topic| !before.contains_key(&topic.name))
            .collect();
        let made = self.create_missing(&missing, replicas).await?;
        self.wait_for_leaders(wanted).await?;
        for topic in wanted {
            let grown = before.get(&topic.name).map_or(0, |seen| seen.partitions);
            if usize::try_from(topic.partitions).is_ok_and(|expected| grown > expected) {
                say(&format!(
                    "topic {}: it has grown to {grown} partitions, new ones get {}; left as it is",
                    topic.name, topic.partitions
                ));
            }
        }
        for drift in self.drift(wanted).await {
            say(&drift);
        }
        say(&format!(
            "topics: {made} made, {} there already; {brokers} broker(s), {replicas} replica(s)",
            wanted.len() - made
        ));
        Ok(())
    }

    /// Brokers, and topics by name. All topics are asked for: a broker that makes topics on sight would make
    /// one that is asked for by name.
    async fn look(&self) -> Result<(usize, BTreeMap<String, Seen>), Error> {
        let admin = std::sync::Arc::clone(&self.admin);
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
            let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
            let seen = topics.map(|topic| {
                let all_led = topic
                    .partitions()
                    .iter()
                    .all(|partition| partition.error().is_none() && partition.leader() >= 0);
                let partitions = topic.partitions().len();
                (topic.name().to_owned(), Seen { partitions, all_led })
            });
            Ok((metadata.brokers().len(), seen.collect()))
        });
        asked
            .await
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(|source| Error::Unreachable {
                brokers: self.brokers.clone(),
                source,
            })
    }

    async fn create_missing(&self, missing: &[&Wanted], replicas: i32) -> Result<usize, Error> {
        if missing.is_empty() {
            return Ok(0);
        }
        let settings: Vec<[(&str, String); 5]> =
            missing.iter().map(|topic| settings(topic, replicas)).collect();
        let new = missing.iter().zip(&settings).map(|(topic, settings)| {
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(replicas));
            settings.iter().fold(new, |new, (key, value)| new.set(key, value))
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(WITHIN))
            .operation_timeout(Some(WITHIN));
        let results =
            self.admin
                .create_topics(&new, &options)
                .await
                .map_err(|source| Error::Unreachable {
                    brokers: self.brokers.clone(),
                    source,
                })?;
        let mut made = 0;
        for result in results {
            match result {
                Ok(_) => made += 1,
                // Somebody was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(Error::Refused {
                        topic,
                        source: KafkaError::AdminOp(code),
                    });
                }
            }
        }
        Ok(made)
    }

    async fn wait_for_leaders(&self, wanted: &[Wanted]) -> Result<(), Error> {
        let begin = Instant::now();
        loop {
            let (_, seen) = self.look().await?;
            let mut leaderless = None;
            for topic in wanted {
                let expected = usize::try_from(topic.partitions).unwrap_or(usize::MAX);
                match seen.get(&topic.name) {
                    Some(seen) if seen.partitions < expected => {
                        return Err(Error::Partitions {
                            topic: topic.name.clone(),
                            found: seen.partitions,
                            expected,
                        });
                    }
                    Some(seen) if seen.all_led => {}
                    _ => leaderless = Some(topic),
                }
            }
            match leaderless {
                None => return Ok(()),
                Some(topic) if begin.elapsed() > WITHIN => {
                    return Err(Error::Leaderless {
                        topic: topic.name.clone(),
                    });
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Settings that somebody has changed, or that came from another version. They are told, not undone: to
    /// set one of a topic's settings with this protocol is to reset all others.
    async fn drift(&self, wanted: &[Wanted]) -> Vec<String> {
        let names: Vec<ResourceSpecifier<'_>> = wanted
            .iter()
            .map(|topic| ResourceSpecifier::Topic(&topic.name))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(WITHIN));
        let Ok(described) = self.admin.describe_configs(&names, &options).await else {
            // Without the right to look nothing is known to be wrong.
            return Vec::new();
        };
        let mut lines = Vec::new();
        for (topic, described) in wanted.iter().zip(described) {
            let Ok(described) = described else { continue };
            let expected = [
                ("retention.ms", topic.retention.as_millis().to_string()),
                ("max.message.bytes", topic.message_max_bytes.to_string()),
            ];
            for (key, expected) in expected {
                let found = described.get(key).and_then(|entry| entry.value.clone());
                if let Some(found) = found.filter(|found| *found != expected) {
                    lines.push(format!(
                        "topic {}: {key} is {found}, new ones get {expected}; left as it is",
                        topic.name
                    ));
                }
            }
        }
        lines
    }

    /// The client joins its threads when it goes.
    async fn close(self) {
        tokio::task::spawn_blocking(move || drop(self)).await.ok();
    }
}

fn settings(topic: &Wanted, replicas: i32) -> [(&'static str, String); 5] {
    let in_sync = if replicas >= 3 { 2 } else { 1 };
    [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", topic.retention.as_millis().to_string()),
        ("max.message.bytes", topic.message_max_bytes.to_string()),
        ("min.insync.replicas", in_sync.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_one_for_its_dead_letters() {
        let wanted = wanted(&[Topic::new("order-events")], "test.");
        let names: Vec<_> = wanted.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["test.order-events", "test.order-events-dlt"]);
        assert!(wanted[1].message_max_bytes > wanted[0].message_max_bytes);
    }
}
