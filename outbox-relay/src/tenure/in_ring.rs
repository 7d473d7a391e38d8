use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::outbox::error::OutboxError;
use crate::outbox::window::Window;
use crate::publisher::{Extent, Halt, Publisher};
use crate::ring::Ring;

impl Tenure {
    /// Gives the producer a window behind those in the ring. `false`: the relay was told to stop before the end of it.
    pub(super) async fn send_behind(
        &mut self,
        publisher: &mut Publisher,
        ring: &mut Ring,
        window: Window,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        let opened = Instant::now();
        let handed_over = publisher
            .hand_over(&mut self.connection, &window, None, (ring, &self.ledger), cancel)
            .await;
        match handed_over {
            Ok(Extent::Whole(handed_over)) => {
                ring.push(window, handed_over, opened);
                Ok(true)
            }
            Ok(Extent::Part) => Ok(false),
            Err(halt) => self.one_by_one(publisher, ring, halt, Some(window), cancel).await,
        }
    }

    /// Waits until nothing is on its way.
    pub(super) async fn empty(
        &mut self,
        publisher: &mut Publisher,
        ring: &mut Ring,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        while !ring.is_empty() {
            if let Err(halt) = ring.first_acknowledged().await {
                return self.one_by_one(publisher, ring, halt, None, cancel).await;
            }
            ring.reap(&self.ledger, &self.shared).await?;
        }
        Ok(true)
    }

    /// After trouble: what is not acknowledged goes out again, each window by itself, which finds out whose fault it is.
    /// `false`: the relay was told to stop before the end of it.
    pub(super) async fn one_by_one(
        &mut self,
        publisher: &mut Publisher,
        ring: &mut Ring,
        halt: Halt,
        behind: Option<Window>,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        match halt {
            Halt::Outbox(error) => return Err(error),
            Halt::Injected(injected) => return Err(injected.into()),
            Halt::Unsendable(_) => publisher.forget_topics(None),
            Halt::Refused(_) | Halt::Client { .. } => publisher.start_over().await,
        }
        self.shared.meters.broker_errors.increment(1);
        tracing::debug!(source = %self.shared.source, %halt, windows = ring.len(), "windows go one by one");
        ring.reap(&self.ledger, &self.shared).await?;
        for window in ring.drain().into_iter().chain(behind) {
            if !self.publish(publisher, &window, cancel).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
