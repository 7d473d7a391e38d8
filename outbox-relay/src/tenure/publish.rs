use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::backoff::Backoff;
use crate::fault;
use crate::kafka::refusal::Unsendable;
use crate::outbox::error::OutboxError;
use crate::outbox::read::who_is;
use crate::outbox::window::Window;
use crate::publisher::{Extent, Halt, Publisher};
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
    /// Publishes a window, however often that has to be tried. `false`: the relay was told to stop before
    /// the end of it.
    pub(super) async fn publish(
        &mut self,
        publisher: &mut Publisher,
        window: &Window,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        let began = Instant::now();
        let mut after = (self.partial.0 == window.number).then_some(self.partial.1);
        let mut in_trouble = Backoff::new(RETRY_BROKER);
        let mut stopped = Backoff::new(self.options.retry_stopped);
        let mut suspect = None;
        if window.recovery {
            tracing::warn!(source = %self.shared.source, window = window.number, "recovery window goes out");
        }
        loop {
            let ledger = self.ledger.clone();
            let progress = |position| ledger.note(|acked| acked.partial = (window.number, position));
            let halt = match publisher
                .publish(&mut self.connection, window, after, cancel, progress)
                .await
            {
                Ok(Extent::Whole { events, highest }) => {
                    if window.replay {
                        fault::point("relay::before_end_of_replay", &self.shared.owner).await?;
                        self.end_replay(publisher, window).await?;
                    }
                    self.acknowledge(window, highest);
                    self.measure(events, began);
                    return Ok(true);
                }
                Ok(Extent::Part) => return Ok(false),
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
                        self.acknowledge(window, 0);
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

    fn acknowledge(&self, window: &Window, highest: i64) {
        self.ledger.note(|acked| {
            acked.window = window.number;
            acked.snapshot = window.until.clone();
            if !window.replay {
                acked.highest = acked.highest.max(highest);
            }
            acked.partial = (0, 0);
        });
    }

    fn measure(&self, events: u64, began: Instant) {
        self.shared.meters.windows.increment(1);
        #[allow(clippy::cast_precision_loss, reason = "a window has fewer than 2^53 events")]
        self.shared.meters.window_events.record(events as f64);
        self.shared
            .meters
            .publish_seconds
            .record(began.elapsed().as_secs_f64());
        self.flow_again();
    }

    pub(super) fn flow_again(&self) {
        if self.shared.is_stopped() {
            tracing::info!(source = %self.shared.source, "outbox flows again");
            self.shared.set_phase(Phase::Publishing);
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
                        tracing::warn!(source = %self.shared.source, %halt, "producer starts over");
                        return Ok(Cause::Trouble);
                    }
                }
            }
            Halt::Client { doing, source } => {
                self.shared.broker_trouble(source, &format!("{doing}: {source}"));
                return Ok(Cause::Trouble);
            }
            Halt::Outbox(_) | Halt::Injected(_) => return Ok(Cause::Trouble),
        };
        let patience = self.options.statement_timeout;
        let Some((id, topic, key, r#type)) = who_is(&mut self.connection, window, position, patience).await?
        else {
            // Its leaf was emptied, which nobody does to what was not acknowledged.
            tracing::error!(source = %self.shared.source, position, %why, "event that cannot be sent is gone");
            return Ok(Cause::Nobody);
        };
        Ok(Cause::Event(Stopped {
            id,
            topic,
            key,
            r#type,
            why,
        }))
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
