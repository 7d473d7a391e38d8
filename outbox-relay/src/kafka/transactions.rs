use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use saga_core::position::Position;

use super::blocking;
use super::config::looker;
use super::producer::Client;

/// How long the broker may take to make an end of the transactions of the producer before, and to answer a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a commit may take. What became of it is asked afterwards.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);

/// Any partition would do. This one every topic has.
const PARTITION: i32 = 0;

/// What Kafka knows of an outbox's transactions: up to which position their events are visible.
///
/// The position is the metadata of an offset that each transaction commits together with its events, in the name of a
/// group that has no members, for the topics that the events went to. So there is no moment at which the one is known to
/// Kafka and the other is not.
pub(crate) struct Transactions {
    client: Arc<BaseConsumer>,
}

impl Transactions {
    /// Those under an id. The group has the same name.
    pub(crate) fn of(kafka: &[(String, String)], id: &str) -> Result<Self, KafkaError> {
        let client: BaseConsumer = looker(kafka, id).create()?;
        Ok(Self {
            client: Arc::new(client),
        })
    }

    /// The last position that was committed, with events that went to one of these topics.
    ///
    /// # Errors
    /// If the broker does not say, or says what no relay of ours has written.
    pub(crate) async fn committed(&self, topics: Vec<String>) -> Result<Option<Position>, KafkaError> {
        if topics.is_empty() {
            return Ok(None);
        }
        let client = self.client.clone();
        blocking(move || {
            let asked = offsets(&topics, |_| Ok(()))?;
            let told = client.committed_offsets(asked, ANSWER_WITHIN)?;
            let mut last = None;
            for place in told.elements() {
                match place.error() {
                    Ok(()) | Err(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                    Err(error) => return Err(error),
                }
                // Nothing was committed for this one.
                if place.metadata().is_empty() {
                    continue;
                }
                let position: Position = place
                    .metadata()
                    .parse()
                    .map_err(|_| KafkaError::OffsetFetch(RDKafkaErrorCode::InvalidCommitOffsetSize))?;
                last = last.max(Some(position));
            }
            Ok(last)
        })
        .await
    }

    /// Ends the transactions of whoever had the id before, and shuts it out: what it has not committed will never be.
    pub(crate) async fn take_over(&self, producer: Arc<Client>) -> Result<(), KafkaError> {
        blocking(move || producer.init_transactions(ANSWER_WITHIN)).await
    }

    /// Makes what the producer has sent visible, up to a position, to whoever reads what is committed. Everything must be
    /// acknowledged.
    ///
    /// # Errors
    /// It is not known then what became of it: the next producer has to ask.
    pub(crate) async fn commit(
        &self,
        producer: Arc<Client>,
        topics: BTreeSet<String>,
        last: Option<Position>,
    ) -> Result<(), KafkaError> {
        let client = self.client.clone();
        blocking(move || {
            if let Some(last) = last {
                let offset = i64::try_from(last.position).unwrap_or(i64::MAX);
                let place = offsets(&topics, |place| {
                    place.set_metadata(last.to_string());
                    place.set_offset(Offset::Offset(offset))
                })?;
                let group = client
                    .group_metadata()
                    .ok_or_else(|| KafkaError::ClientCreation("the client has no group".to_owned()))?;
                producer.send_offsets_to_transaction(&place, &group, ANSWER_WITHIN)?;
            }
            producer.commit_transaction(COMMIT_WITHIN)
        })
        .await
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        // Its threads are joined, which an async worker has no time for.
        let client = self.client.clone();
        std::thread::spawn(move || drop(client));
    }
}

fn offsets<'t>(
    topics: impl IntoIterator<Item = &'t String>,
    set: impl Fn(&mut TopicPartitionListElem<'_>) -> Result<(), KafkaError>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        set(&mut list.add_partition(topic, PARTITION))?;
    }
    Ok(list)
}
