use std::collections::HashMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;

use super::refusal::Unsendable;

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

/// Asks the broker. A topic that is not in the answer does not exist, or we may not see it.
///
/// All topics are asked for, never one by its name: a broker that creates topics on sight would do so.
pub(crate) async fn look_up(
    kafka: &[(String, String)],
    names: &[String],
) -> Result<HashMap<String, Found>, KafkaError> {
    let mut config = ClientConfig::new();
    for (name, value) in kafka {
        config.set(name, value);
    }
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let (admin, metadata) = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, ANSWER_WITHIN);
        (admin, metadata)
    })
    .await
    .map_err(|_| KafkaError::Canceled)?;
    let metadata = metadata?;
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
    for (name, limit) in limits(&admin, found.keys().cloned().collect()).await {
        if let Some(found) = found.get_mut(&name) {
            found.max_message_bytes = Some(limit);
        }
    }
    // Its threads are joined when it goes.
    drop(tokio::task::spawn_blocking(move || drop(admin)));
    Ok(found)
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
