use std::time::Duration;

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use saga_core::{Event, envelope, partitioner};
use uuid::Uuid;

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// Topics of its own.
pub(crate) struct Topics {
    prefix: String,
    producer: FutureProducer,
}

impl Topics {
    pub(crate) async fn create(brokers: &str, prefix: &str, topics: &[&str]) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let admin: AdminClient<_> = config.create()?;
        let names: Vec<String> = topics.iter().map(|topic| format!("{prefix}{topic}")).collect();
        let new: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)))
            .collect();
        for result in admin.create_topics(&new, &AdminOptions::new()).await? {
            result.map_err(|(name, code)| anyhow::anyhow!("{name}: {code}"))?;
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            producer: config.set("linger.ms", "0").create()?,
        })
    }

    /// As a producer without an outbox of ours would send it: without a position.
    pub(crate) async fn send<E: Event>(&self, id: Uuid, event: &E) -> Result<()> {
        let id = id.to_string();
        let headers = [
            (envelope::CE_ID, id.as_str()),
            (envelope::CE_SOURCE, "/test"),
            (envelope::CE_TYPE, E::NAME),
            (envelope::CE_SPECVERSION, "1.0"),
            (envelope::CE_DATASCHEMA, E::SCHEMA),
        ];
        self.send_raw(E::TOPIC, &event.key(), &headers, &serde_json::to_vec(event)?)
            .await
    }

    pub(crate) async fn send_raw(
        &self,
        topic: &str,
        key: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> Result<()> {
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(*value),
            })
        });
        let topic = format!("{}{topic}", self.prefix);
        let record = FutureRecord::to(&topic)
            .key(key)
            .partition(partitioner::partition_for(key.as_bytes(), PARTITIONS))
            .headers(headers)
            .payload(payload);
        self.producer
            .send(record, PATIENCE)
            .await
            .map_err(|(error, _)| error)?;
        Ok(())
    }
}
