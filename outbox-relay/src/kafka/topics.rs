use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext};

use super::config::client;
use super::polled::Polled;
use super::refusal::Unsendable;
use crate::state::Shared;

/// A topic's number within one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicId(pub(crate) usize);

/// What the relay knows of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    /// What keys are spread over.
    pub(crate) partitions: i32,
    /// `max.message.bytes`; `None` if we may not read it.
    pub(crate) max_message_bytes: Option<usize>,
    /// Why nothing can be sent there.
    pub(crate) unsendable: Option<Unsendable>,
}

impl Topic {
    /// A topic that the broker knows, with the partition count that was recorded for it.
    pub(crate) fn met(id: TopicId, recorded: i32, found: Found) -> Self {
        Self {
            id,
            partitions: recorded,
            max_message_bytes: found.max_message_bytes,
            unsendable: (found.partitions < recorded).then_some(Unsendable::FewerPartitions {
                recorded,
                found: found.partitions,
            }),
        }
    }

    /// A topic that nothing can be sent to.
    pub(crate) fn unsendable(id: TopicId, why: Unsendable) -> Self {
        Self {
            id,
            partitions: 1,
            max_message_bytes: None,
            unsendable: Some(why),
        }
    }
}

/// What the broker says of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partitions: i32,
    pub(crate) max_message_bytes: Option<usize>,
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks the broker about topics. It is kept: a client needs a third of a second for its first answer.
pub(crate) struct Directory {
    asker: Option<Arc<Polled<Asker>>>,
    admin: Option<Arc<AdminClient<DefaultClientContext>>>,
}

impl Directory {
    /// Connects when it is asked for the first time.
    pub(crate) fn new(kafka: &[(String, String)], shared: &Arc<Shared>) -> Result<Self, KafkaError> {
        let config = client(kafka);
        // An admin client keeps to itself why it cannot connect.
        let asker = Polled::new(&config, Asker(shared.clone()))?;
        Ok(Self {
            asker: Some(Arc::new(asker)),
            admin: Some(Arc::new(config.create()?)),
        })
    }

    /// A topic that is not in the answer does not exist, or we may not see it.
    ///
    /// All topics are asked for, never one by its name: a broker that creates topics on sight would do so.
    pub(crate) async fn look_up(&self, names: &[String]) -> Result<HashMap<String, Found>, KafkaError> {
        let (Some(asker), Some(admin)) = (self.asker.clone(), self.admin.clone()) else {
            return Err(KafkaError::Canceled);
        };
        let metadata =
            tokio::task::spawn_blocking(move || asker.client().fetch_metadata(None, ANSWER_WITHIN))
                .await
                .map_err(|_| KafkaError::Canceled)??;
        let mut found = HashMap::new();
        for topic in metadata.topics() {
            if topic.error().is_none() && names.iter().any(|name| name == topic.name()) {
                let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                if partitions > 0 {
                    found.insert(
                        topic.name().to_owned(),
                        Found {
                            partitions,
                            max_message_bytes: None,
                        },
                    );
                }
            }
        }
        if found.is_empty() {
            return Ok(found);
        }
        for (name, limit) in limits(&admin, found.keys().cloned().collect()).await {
            if let Some(found) = found.get_mut(&name) {
                found.max_message_bytes = Some(limit);
            }
        }
        Ok(found)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Not on an async worker: their threads are joined.
        let gone = (self.asker.take(), self.admin.take());
        std::thread::spawn(move || drop(gone));
    }
}

/// Who asks. Sends nothing; only a producer tells of its troubles while it waits.
struct Asker(Arc<Shared>);

impl ClientContext for Asker {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.broker_trouble(&error, reason);
    }
}

impl ProducerContext for Asker {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// `max.message.bytes` of each topic. Without the right to describe configurations there is no answer,
/// and the broker is the judge.
async fn limits(admin: &AdminClient<DefaultClientContext>, names: Vec<String>) -> Vec<(String, usize)> {
    let resources: Vec<ResourceSpecifier<'_>> =
        names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
    let described = match admin.describe_configs(&resources, &options).await {
        Ok(described) => described,
        Err(error) => {
            tracing::debug!(%error, "topic configurations cannot be read");
            return Vec::new();
        }
    };
    let limit = |resource: rdkafka::admin::ConfigResourceResult| {
        let resource = resource.ok()?;
        let limit = resource
            .get("max.message.bytes")?
            .value
            .as_deref()?
            .parse()
            .ok()?;
        match resource.specifier {
            rdkafka::admin::OwnedResourceSpecifier::Topic(name) => Some((name, limit)),
            _ => None,
        }
    };
    described.into_iter().filter_map(limit).collect()
}
