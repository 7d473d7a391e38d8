use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use saga_core::position::Position;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::kafka::published::{Ends, all_led, by_partition, highest, is_refusal};
use crate::options::Options;
use crate::outbox::error::OutboxError;
use crate::spread::Instance;
use crate::state::Shared;

/// Up to where the database knows what was published from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(super) epoch: u32,
    /// Its last window.
    pub(super) last: i64,
}

/// A broker that has just come up leads nothing for a moment; one that is gone for good must not keep all others waiting.
const LED_WITHIN: Duration = Duration::from_secs(5);

const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

impl History {
    /// The highest position that can have been published.
    pub(super) fn known(self) -> Position {
        Position::new(self.epoch, u64::try_from(self.last).unwrap_or(0), u64::MAX)
    }

    /// Looks at the topics before anything is published: a data directory that was copied, or a backup that was taken
    /// before two promotions, cannot be recognised by the server. Without a new epoch that is above all that was
    /// published, consumers could take new events for old ones.
    ///
    /// Returns what the topics end with, as far as that can be known: what an owner before has written.
    ///
    /// # Errors
    /// [`OutboxError::WentBack`].
    pub(super) async fn look(
        self,
        options: &Options,
        (shared, instance): (&Shared, Option<&Instance>),
        topics: Vec<String>,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, Ends>, OutboxError> {
        let known = self.known();
        let (mut retry, mut unled_since) = (Backoff::new(RETRY), None);
        loop {
            let turn = match instance.filter(|_| !topics.is_empty()) {
                Some(instance) => Some(instance.turn_to_look().await),
                None => None,
            };
            let looked = by_partition(&options.kafka, &options.source, topics.clone()).await;
            drop(turn);
            let error = match looked {
                Ok(ends) => {
                    if let Some(published) = highest(&ends).filter(|published| *published > known) {
                        return Err(OutboxError::WentBack { published, known });
                    }
                    let Err(error) = all_led(&ends) else {
                        return Ok(ends);
                    };
                    if unled_since.get_or_insert_with(Instant::now).elapsed() > LED_WITHIN {
                        tracing::warn!(
                            source = %options.source,
                            "partitions without a leader cannot be read; what an owner before wrote there may come again"
                        );
                        return Ok(ends);
                    }
                    error
                }
                Err(error) => error,
            };
            if is_refusal(&error) {
                tracing::warn!(
                    source = %options.source, %error,
                    "relay may not read its topics; a database from an older copy is recognised by the server's identity alone"
                );
                return Ok(BTreeMap::new());
            }
            // Nothing could be published either.
            shared.broker_trouble(&error, "looking at what was published");
            tokio::select! {
                () = tokio::time::sleep(retry.next()) => {}
                () = cancel.cancelled() => return Ok(BTreeMap::new()),
            }
        }
    }
}
