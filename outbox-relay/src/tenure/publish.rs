use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::backoff::Backoff;
use crate::fault::Point;
use crate::kafka::refusal::{Unsendable, why_everything_waits};
use crate::outbox::error::OutboxError;
use crate::outbox::read::who_is;
use crate::outbox::window::Window;
use crate::publisher::{Extent, Halt, Publisher};
use crate::ring::Ring;
use crate::state::{Phase, Stopped};

/// Waits after trouble that says nothing of an event.
const RETRY_BROKER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What a window is halted by.
enum Cause {
    /// The broker is in trouble, or a batch was refused of which nobody knows whose fault it is: try again.
    Trouble,
    /// This event by itself, and nothing of it was written, nor of what comes behind it.
    Event(Stopped),
    /// An event that is not there any more.
    Nobody,
}

impl Tenure {
    /// Publishes a window by itself, however often that has to be tried. `false`: the relay was told to stop before
    /// the end of it.
    pub(super) async fn publish(
        &mut self,
        publisher: &mut Publisher,
        window: &Window,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        let began = Instant::now();
        let mut after = (self.partial.0 == window.number).then_some(self.partial.1);
        after = after.max(publisher.acked_within(window));
        let mut in_trouble = Backoff::new(RETRY_BROKER);
        let mut stopped = Backoff::new(self.options.retry_stopped);
        let mut suspect = None;
        if window.recovery {
            tracing::warn!(source = %self.shared.source, window = window.number, "recovery window goes out");
        }
        loop {
            let handed_over = publisher
                .hand_over(
                    &mut self.connection,
                    window,
                    after,
                    (&mut Ring::empty(), &self.ledger),
                    cancel,
                )
                .await;
            let published = match handed_over {
                Ok(Extent::Whole(handed_over)) => {
                    handed_over.acknowledged().await.map(|()| Some(handed_over))
                }
                Ok(Extent::Part) => Ok(None),
                Err(halt) => Err(halt),
            };
            let halt = match published {
                Ok(Some(whole)) => {
                    whole.passes(Point::RelayAfterAck, &self.shared).await?;
                    publisher.tell_oldest();
                    if window.replay {
                        whole.passes(Point::RelayBeforeEndOfReplay, &self.shared).await?;
                        self.end_replay(publisher, window).await?;
                    }
                    self.ledger.acknowledge(window, whole.highest);
                    self.shared.window_published(whole.events, began);
                    return Ok(true);
                }
                Ok(None) => return Ok(false),
                Err(Halt::Outbox(error)) => return Err(error),
                Err(Halt::Injected(injected)) => return Err(injected.into()),
                Err(halt) => halt,
            };
            let before = after;
            match halt {
                // Nothing of it was sent, so the producer is as good as before.
                Halt::Unsendable(_) => publisher.forget_topics(None),
                _ => publisher.start_over().await,
            }
            after = publisher.acked_within(window).or(after);
            if after > before {
                in_trouble.reset();
                stopped.reset();
            }
            let wait = match self.cause(window, &halt).await? {
                Cause::Trouble => in_trouble.next(),
                Cause::Nobody => stopped.next(),
                Cause::Event(event) => {
                    if self.may_park(publisher, window, &event, &mut suspect) {
                        if self.park(publisher, window, after, &event).await? {
                            continue;
                        }
                        self.ledger.acknowledge(window, 0);
                        return Ok(true);
                    }
                    self.hold_up(event);
                    stopped.next()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => return Ok(false),
            }
        }
    }

    /// Finds out what a window is halted by.
    async fn cause(&mut self, window: &Window, halt: &Halt) -> Result<Cause, OutboxError> {
        self.shared.meters.broker_errors.increment(1);
        let (position, why) = match halt {
            Halt::Unsendable(cut) => (cut.position, cut.why.clone()),
            Halt::Refused(rejected) => {
                let position = i64::try_from(rejected.refused.position.position).unwrap_or(0);
                match Unsendable::from_code(rejected.refused.code) {
                    Some(why) if rejected.alone => (position, why),
                    // The next producer sends it alone.
                    Some(_) => {
                        tracing::debug!(source = %self.shared.source, %halt, "producer starts over");
                        return Ok(Cause::Trouble);
                    }
                    None => {
                        let code = rejected.refused.code;
                        let reason = why_everything_waits(code, position);
                        self.shared
                            .broker_trouble(&KafkaError::MessageProduction(code), &reason);
                        return Ok(Cause::Trouble);
                    }
                }
            }
            Halt::Client { .. } | Halt::Outbox(_) | Halt::Injected(_) => {
                halt.tell(&self.shared);
                return Ok(Cause::Trouble);
            }
        };
        let patience = self.options.statement_timeout;
        let Some((id, topic, key, r#type)) = who_is(&mut self.connection, window, position, patience).await?
        else {
            // Its leaf was emptied, which nobody does to what was not acknowledged.
            tracing::error!(source = %self.shared.source, position, %why, "event that cannot be sent is gone");
            return Ok(Cause::Nobody);
        };
        let event = Stopped {
            id,
            topic,
            key,
            r#type,
            why,
        };
        Ok(Cause::Event(event))
    }

    /// Everything waits for this event.
    fn hold_up(&self, event: Stopped) {
        let known = matches!(&*self.shared.phase().borrow(), Phase::Stopped(known) if *known == event);
        if !known {
            tracing::error!(
                source = %self.shared.source, event = %event.id, topic = event.topic, key = event.key,
                r#type = event.r#type, reason = %event.why, remedy = event.why.remedy(),
                "outbox is held up by an event that cannot be sent"
            );
            self.shared.set_phase(Phase::Stopped(event));
        }
    }
}
