use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::outbox::error::OutboxError;
use crate::outbox::parked::{count, load, replaying};
use crate::outbox::window::Window;
use crate::parked::{Parked, Subject};
use crate::publisher::Publisher;
use crate::state::Stopped;

/// When it was last looked whether a replay is due.
#[derive(Debug, Default)]
pub(super) struct Looks(Option<Instant>);

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Looks {
    pub(super) fn is_due(&self, publisher: &Publisher) -> bool {
        !publisher.parked.is_empty() && self.0.is_none_or(|at| at.elapsed() >= LOOK_EVERY)
    }
}

impl Tenure {
    /// What was parked before this tenure.
    pub(super) async fn load_parked(&mut self) -> Result<Parked, OutboxError> {
        // What is above the bound in the table was parked under a higher one; all of it counts.
        let parked = load(&mut self.connection, self.options.statement_timeout).await?;
        let parked = Parked::new(parked);
        self.count_parked(&parked).await?;
        Ok(parked)
    }

    /// Publishes parked events that an operator wants to be sent again, or whose topic may be there by now. Every window
    /// before must be acknowledged, so that nothing of these keys is on its way. `false`: the relay was told to stop
    /// before the end of it.
    pub(super) async fn replay(
        &mut self,
        publisher: &mut Publisher,
        looks: &mut Looks,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        match self.due_replay(publisher, looks).await? {
            Some(window) => self.publish(publisher, &window, cancel).await,
            None => Ok(true),
        }
    }

    async fn due_replay(
        &mut self,
        publisher: &mut Publisher,
        looks: &mut Looks,
    ) -> Result<Option<Window>, OutboxError> {
        self.count_parked(&publisher.parked).await?;
        let again_after = self.options.retry_parked_topic;
        let mut opened = None;
        if self
            .windows
            .is_replay_due(&mut self.connection, again_after)
            .await?
        {
            // Else a crash would bring back the window that an event was parked from, and what an operator has discarded
            // with it.
            self.ledger.persisted().await;
            opened = self
                .windows
                .open_replay(&mut self.connection, again_after)
                .await?;
        }
        // After one replay there may be another.
        looks.0 = opened.is_none().then(Instant::now);
        let Some((window, topic)) = opened else {
            return Ok(None);
        };
        // What was wrong with it may be mended.
        publisher.forget_topics(Some(&topic));
        Ok(Some(window))
    }

    /// Whether an event that cannot be sent makes way for the others. A topic gets some time first, since somebody may
    /// be about to make it.
    pub(super) fn may_park(
        &self,
        publisher: &Publisher,
        window: &Window,
        event: &Stopped,
        suspect: &mut Option<(String, Instant)>,
    ) -> bool {
        if window.replay {
            return true;
        }
        if publisher.parked.len() >= self.options.parked_max {
            return false;
        }
        if !event.why.is_topics() {
            return true;
        }
        if suspect.as_ref().is_none_or(|(topic, _)| *topic != event.topic) {
            *suspect = Some((event.topic.clone(), Instant::now()));
        }
        suspect
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= self.options.park_topic_after)
    }

    /// Parks what an event stands for. `false`: it was the whole of a replay, which ends with it.
    pub(super) async fn park(
        &mut self,
        publisher: &mut Publisher,
        window: &Window,
        after: Option<i64>,
        event: &Stopped,
    ) -> Result<bool, OutboxError> {
        let patience = self.options.statement_timeout;
        let subject = Subject {
            topic: event.topic.clone(),
            key: (!event.why.is_topics()).then(|| event.key.clone()),
        };
        if window.replay {
            let replayed = replaying(&mut self.connection, window.number, patience).await?;
            let one_of_a_topic = subject.key.is_some()
                && replayed.is_some_and(|replayed| replayed.key.is_none())
                && publisher.parked.len() < self.options.parked_max;
            if !one_of_a_topic {
                let beyond = publisher.acked_beyond(window);
                let done = (after.unwrap_or(0), beyond.as_slice());
                self.lease
                    .put_back(&mut self.connection, window.number, done, event, patience)
                    .await?;
                tracing::info!(
                    source = %self.shared.source, %subject, reason = %event.why, "parked events are refused again"
                );
                return Ok(false);
            }
        }
        self.lease
            .park(&mut self.connection, &subject, event, patience)
            .await?;
        if window.replay {
            self.lease
                .put_back_key(
                    &mut self.connection,
                    window.number,
                    &event.topic,
                    &event.key,
                    patience,
                )
                .await?;
        }
        tracing::error!(
            source = %self.shared.source, event = %event.id, topic = event.topic, key = event.key,
            r#type = event.r#type, reason = %event.why, remedy = event.why.remedy(), parked = %subject,
            "event cannot be sent and is parked with what comes behind it"
        );
        publisher.parked.insert(subject);
        self.shared.set_parked(publisher.parked.len());
        self.shared.flow_again();
        Ok(true)
    }

    /// A replay has gone out: its key is a key like any other.
    pub(super) async fn end_replay(
        &mut self,
        publisher: &mut Publisher,
        window: &Window,
    ) -> Result<(), OutboxError> {
        let patience = self.options.statement_timeout;
        let freed = self
            .lease
            .replayed(&mut self.connection, window.number, patience)
            .await?;
        if let Some(subject) = freed {
            tracing::info!(source = %self.shared.source, %subject, "parked events have gone out");
            publisher.parked.remove(&subject);
            self.shared.set_parked(publisher.parked.len());
        }
        Ok(())
    }

    /// Counting takes a while where much is parked, so it is done once per look.
    async fn count_parked(&mut self, parked: &Parked) -> Result<(), OutboxError> {
        self.shared.set_parked(parked.len());
        if !parked.is_empty() {
            let events = count(&mut self.connection, self.options.statement_timeout).await?;
            self.shared.set_parked_events(events);
        }
        Ok(())
    }
}
