use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::kafka::refusal::Unsendable;
use crate::options::Options;
use crate::outbox::error::OutboxError;
use crate::outbox::parked::{count, load, replaying};
use crate::outbox::window::Window;
use crate::parked::{Parked, Subject};
use crate::publisher::{Halt, Publisher};
use crate::state::{Shared, Stopped};

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
        self.shared.set_parked(parked.len());
        count_parked(&mut self.connection, &self.options, &self.shared).await?;
        Ok(parked)
    }

    /// What is to be sent again now: somebody wants it to be, or its topic may be there by now. The broker is asked first:
    /// there may be millions of events, and each try would write to all of them.
    pub(super) async fn due_replay(
        &mut self,
        publisher: &mut Publisher,
        looks: &mut Looks,
    ) -> Result<Option<Subject>, OutboxError> {
        looks.0 = Some(Instant::now());
        let again_after = self.options.retry_parked_topic;
        let due = self.windows.due_replay(&mut self.connection, again_after);
        let Some((subject, waits)) = due.await? else {
            return Ok(None);
        };
        if !waits {
            // It is to be freed, wherever its topic is.
            return Ok(Some(subject));
        }
        match publisher.ask_about(&mut self.connection, &subject.topic).await {
            Ok(None) => Ok(Some(subject)),
            Ok(Some(why)) => {
                let patience = self.options.statement_timeout;
                self.lease
                    .refuse_again(&mut self.connection, &subject, &why, patience)
                    .await?;
                tracing::debug!(source = %self.shared.source, %subject, reason = %why, "parked events wait on");
                // After this one there may be another.
                looks.0 = None;
                Ok(None)
            }
            Err(Halt::Outbox(error)) => Err(error),
            Err(halt) => {
                halt.tell(&self.shared);
                Ok(None)
            }
        }
    }

    /// Publishes the first of a parked subject's events. Every window before must be acknowledged, so that nothing of it is
    /// on its way; what comes later of it is set aside until all of it has gone out. `false`: the relay was told to stop
    /// before the end of it.
    pub(super) async fn replay(
        &mut self,
        publisher: &mut Publisher,
        looks: &mut Looks,
        subject: &Subject,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        // Else a crash would bring back the window that an event was parked from, and what an operator has discarded
        // with it.
        self.ledger.persisted().await;
        let most = self.options.replay_rows;
        let opened = self.windows.open_replay(&mut self.connection, subject, most);
        let Some(window) = opened.await? else {
            return Ok(true);
        };
        self.shared.window_opened();
        // After one replay there may be another.
        looks.0 = None;
        self.publish(publisher, &window, cancel).await
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
        // Nobody is about to make one that cannot be made.
        if !event.why.is_topics() || event.why == Unsendable::BadTopicName {
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
                let (most, beyond) = (self.options.replay_rows, publisher.acked_beyond(window));
                let sent = (window.number, after.unwrap_or(0), beyond.as_slice());
                self.lease
                    .drop_sent(&mut self.connection, sent, most, patience)
                    .await?;
                self.lease
                    .put_back(&mut self.connection, (window.number, None), most, patience)
                    .await?;
                self.lease
                    .end_refused(&mut self.connection, window.number, event, patience)
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
            let of_key = (window.number, Some(event.key.as_str()));
            self.lease
                .put_back(&mut self.connection, of_key, self.options.replay_rows, patience)
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

    /// A replay has gone out. If nothing is left of it, its key is a key like any other.
    pub(super) async fn end_replay(
        &mut self,
        publisher: &mut Publisher,
        window: &Window,
    ) -> Result<(), OutboxError> {
        let patience = self.options.statement_timeout;
        let all = (window.number, i64::MAX, [].as_slice());
        self.lease
            .drop_sent(&mut self.connection, all, self.options.replay_rows, patience)
            .await?;
        let freed = self
            .lease
            .end_replay(&mut self.connection, window.number, patience)
            .await?;
        if let Some(subject) = freed {
            tracing::info!(source = %self.shared.source, %subject, "parked events have gone out");
            publisher.parked.remove(&subject);
            self.shared.set_parked(publisher.parked.len());
        }
        Ok(())
    }
}

/// Counts the events that wait. That takes a while where there are many, so it is nothing for who publishes.
pub(super) async fn count_parked(
    connection: &mut PgConnection,
    options: &Options,
    shared: &Shared,
) -> Result<(), OutboxError> {
    if shared.is_anything_parked() {
        shared.set_parked_events(count(connection, options.statement_timeout).await?);
    }
    Ok(())
}
