use std::time::Duration;

use chrono::{DateTime, Utc};
use quadrille_contracts::{order, payment, stock};
use quadrille_process::kafka::KafkaSettings;
use saga_core::Envelope;
use tokio::sync::mpsc;

use crate::failure::{Code, Failure};
use crate::records::{self, Begin, Range, Record};

/// Events of all sagas, as they arrive in the topics.
pub(super) struct Feed {
    receiver: mpsc::Receiver<Result<Record, Failure>>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) at: Option<DateTime<Utc>>,
}

impl Feed {
    /// Everything that comes from now on.
    pub(super) async fn open(kafka: &KafkaSettings) -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::channel(1024);
        for topic in [order::TOPIC, stock::TOPIC, payment::TOPIC] {
            let topic = kafka.prefixed(topic);
            let partitions: Vec<i32> = (0..records::partitions(kafka, &topic).await?).collect();
            let begin = Begin::At(records::ends(kafka, &topic, &partitions).await?);
            let mut source = records::read(
                kafka,
                Range {
                    topic,
                    partitions,
                    begin,
                    follow: true,
                },
            )?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(record) = source.recv().await {
                    if sender.send(record).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { receiver })
    }

    /// The next event of a saga; nothing if none comes in time.
    pub(super) async fn next(&mut self, saga: &str, within: Duration) -> Result<Option<Event>, Failure> {
        let found = tokio::time::timeout(within, async {
            loop {
                let Some(record) = self.receiver.recv().await else {
                    return Err(Failure::new(Code::Unavailable, "the topics stopped telling"));
                };
                let record = record?;
                if record.key.as_deref() != Some(saga.as_bytes()) {
                    continue;
                }
                if let Ok(envelope) = Envelope::from_headers(record.headers()) {
                    return Ok(Event {
                        name: envelope.r#type,
                        source: envelope.source.trim_start_matches('/').to_owned(),
                        at: envelope.time.or(record.timestamp),
                    });
                }
            }
        });
        match found.await {
            Err(_) => Ok(None),
            Ok(found) => found.map(Some),
        }
    }
}
