use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use quadrille_process::fault::Injected;
use rdkafka::error::KafkaError;
use saga_core::position::Position;
use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::fault;
use crate::kafka::config::{batch_bytes, compresses};
use crate::kafka::flight::{Flight, Refused, Tails};
use crate::kafka::primed::Primed;
use crate::kafka::producer::Producer;
use crate::known_topics::KnownTopics;
use crate::options::Options;
use crate::outbox::error::OutboxError;
use crate::outbox::lease::Lease;
use crate::outbox::read::{Budget, Chunk, Reader};
use crate::outbox::window::Window;
use crate::parked::Parked;
use crate::sending::{Cut, Rejected, Sending};
use crate::state::Shared;

/// Publishes windows, one after the other, through one producer at a time.
pub(crate) struct Publisher {
    options: Arc<Options>,
    shared: Arc<Shared>,
    lease: Lease,
    topics: KnownTopics,
    producer: Option<Producer>,
    /// What went to each partition, for the next producer to go on from.
    tails: Tails,
    /// The partitions that know this producer.
    primed: Primed,
    /// What the producers before have got acknowledged.
    acked: Option<Position>,
    /// What they have got acknowledged behind the first event that was not, in the window that is being published.
    beyond: HashSet<Position>,
    /// Whose events are set aside.
    pub(crate) parked: Parked,
}

/// Why a window is not published to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// The broker refused an event.
    #[error("the broker refused the event at {}: {}", .0.refused.position, .0.refused.code)]
    Refused(Rejected),
    /// An event need not be tried: we know that it cannot be sent.
    #[error("the event at {} cannot be sent: {}", .0.position, .0.why)]
    Unsendable(Cut),
    /// The Kafka client does not even get that far.
    #[error("{doing}")]
    Client {
        doing: &'static str,
        #[source]
        source: KafkaError,
    },
    /// The outbox's database failed. Ends the tenure.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// A test wants it so.
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Self::Refused(Rejected {
            refused,
            alone: false,
        })
    }
}

/// How much of a window was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it: so many events, the highest position among them.
    Whole { events: u64, highest: i64 },
    /// The relay was told to stop in the middle of it.
    Part,
}

impl Publisher {
    pub(crate) fn new(options: Arc<Options>, shared: Arc<Shared>, lease: Lease, parked: Parked) -> Self {
        Self {
            topics: KnownTopics::new(options.clone(), shared.clone(), lease.clone()),
            options,
            shared,
            lease,
            producer: None,
            tails: Tails::default(),
            primed: Primed::default(),
            acked: None,
            beyond: HashSet::new(),
            parked,
        }
    }

    /// Publishes a window from after a position on, and waits until the broker has acknowledged all of it.
    ///
    /// The next piece is read while the one before is on its way. `progress` is told of positions up to
    /// which everything was acknowledged.
    pub(crate) async fn publish(
        &mut self,
        connection: &mut PgConnection,
        window: &Window,
        after: Option<i64>,
        cancel: &CancellationToken,
        mut progress: impl FnMut(i64),
    ) -> Result<Extent, Halt> {
        let budget = Budget {
            rows: self.options.chunk_rows,
            bytes: self.options.chunk_bytes,
            patience: self.options.statement_timeout + Duration::from_secs(5),
        };
        let mut reader = Reader::new(window, after, budget);
        let (mut events, mut highest) = (0, 0);
        let mut read = reader.next(connection).await?;
        while let Some(chunk) = read {
            let last = chunk.event(chunk.len() - 1)?.position;
            events += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            highest = highest.max(last);
            if self.oldest().is_none() {
                self.shared.set_oldest(Some(chunk.event(0)?.created_at));
            }
            let aside = self.set_aside(connection, window, &chunk).await?;
            self.meet_topics(connection, &chunk, &aside).await?;
            let (sent, next) = tokio::join!(self.send(window, chunk, aside), reader.next(connection));
            sent?;
            read = next?;
            if let Some(acked) = self.acked_within(window) {
                progress(acked);
                self.shared.set_oldest(self.oldest());
            }
            if cancel.is_cancelled() && read.is_some() {
                self.settle().await?;
                return Ok(Extent::Part);
            }
        }
        fault::point("relay::after_produce_before_ack", &self.shared.owner).await?;
        self.settle().await?;
        self.shared.set_oldest(None);
        self.beyond.clear();
        Ok(Extent::Whole { events, highest })
    }

    /// Copies what is parked to where it waits, before anything behind it can count as acknowledged. Returns what must
    /// not be sent, by index.
    async fn set_aside(
        &self,
        connection: &mut PgConnection,
        window: &Window,
        chunk: &Chunk,
    ) -> Result<Vec<usize>, Halt> {
        if window.replay {
            return Ok(Vec::new());
        }
        let aside = self.parked.among(chunk)?;
        let mut positions = Vec::with_capacity(aside.len());
        for &index in &aside {
            let position = chunk.event(index)?.position;
            // What the broker has already must not come again under another position.
            if !self.beyond.contains(&place(window, position)) {
                positions.push(position);
            }
        }
        if !positions.is_empty() {
            let patience = self.options.statement_timeout;
            let copied = self
                .lease
                .set_aside(connection, window.number, &positions, patience)
                .await?;
            self.shared.meters.events_parked.increment(copied);
            fault::point("relay::after_set_aside", &self.shared.owner).await?;
        }
        Ok(aside)
    }

    /// The last position of the window up to which everything was acknowledged.
    pub(crate) fn acked_within(&self, window: &Window) -> Option<i64> {
        let acked = self.flight().and_then(|flight| flight.acked()).or(self.acked)?;
        (acked.epoch == window.epoch && i64::try_from(acked.window) == Ok(window.number))
            .then(|| i64::try_from(acked.position).ok())
            .flatten()
    }

    /// The positions of the window that are acknowledged behind that one.
    pub(crate) fn acked_beyond(&self, window: &Window) -> Vec<i64> {
        let now = self.flight().map(|flight| flight.acked_beyond());
        let all = self.beyond.iter().copied().chain(now.into_iter().flatten());
        all.filter(|position| *position == place(window, position_of(*position)))
            .map(position_of)
            .collect()
    }

    /// What is known of topics, or of one, is asked again.
    pub(crate) fn forget_topics(&mut self, only: Option<&str>) {
        self.topics.forget(only);
    }

    /// Ends the producer, waiting for what it knows. The next window, or the next try, gets a new one, and
    /// everything that is known of topics is asked again.
    pub(crate) async fn start_over(&mut self) {
        self.topics.forget(None);
        self.end_producer().await;
    }

    async fn end_producer(&mut self) {
        if let Some(producer) = self.producer.take() {
            let flight = producer.flight.clone();
            producer.end().await;
            self.tails = flight.tails();
            self.acked = flight.acked().or(self.acked);
            self.beyond.extend(flight.acked_beyond());
        }
    }

    /// Gives back the last acknowledged prefix and lets go of the broker, at the end of a tenure.
    pub(crate) async fn finish(mut self) {
        self.end_producer().await;
    }

    async fn settle(&self) -> Result<(), Refused> {
        match self.flight() {
            Some(flight) => flight.settled().await,
            None => Ok(()),
        }
    }

    fn flight(&self) -> Option<&Arc<Flight>> {
        self.producer.as_ref().map(|producer| &producer.flight)
    }

    fn oldest(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.flight().and_then(|flight| flight.oldest())
    }

    /// Gets to know the broker before the first event is there: a producer asks for its id, and topics of yesterday are
    /// most likely those of today. What goes wrong here goes wrong again when it matters.
    pub(crate) async fn warm_up(&mut self, connection: &mut PgConnection) -> Result<(), OutboxError> {
        let warmed = match self.topics.meet_again(connection).await {
            Ok(()) => self.ready_producer().map(drop),
            Err(halt) => Err(halt),
        };
        match warmed {
            Err(Halt::Outbox(error)) => Err(error),
            Err(halt) => {
                tracing::debug!(source = %self.shared.source, %halt, "broker is not known yet");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn ready_producer(&mut self) -> Result<&Producer, Halt> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                self.primed = Primed::default();
                Producer::new(
                    &self.options.kafka,
                    self.topics.smallest_limit(),
                    self.tails.clone(),
                    self.shared.clone(),
                )
                .map_err(|source| Halt::Client {
                    doing: "making a producer",
                    source,
                })?
            }
        };
        Ok(self.producer.insert(producer))
    }

    /// Hands a piece of a window to the producer. Returns once librdkafka has it, not once it is written.
    async fn send(&mut self, window: &Window, chunk: Chunk, aside: Vec<usize>) -> Result<(), Halt> {
        if aside.len() == chunk.len() {
            return Ok(());
        }
        let most = (self.options.in_flight_events, self.options.in_flight_bytes);
        let producer = self.ready_producer()?;
        producer.flight.room(chunk.len(), chunk.bytes, most).await?;
        let sending = Sending {
            sender: producer.sender(),
            source: self.shared.source.clone(),
            topics: self.topics.snapshot(),
            spans: self.options.spans,
            judge_size: !compresses(&self.options.kafka),
            epoch: window.epoch,
            window: window.number,
            tails: std::mem::take(&mut self.tails),
            primed: std::mem::take(&mut self.primed),
            chunk,
            aside,
        };
        let sent = sending.run().await?.map_err(Halt::Refused)?;
        self.tails = sent.tails;
        self.primed = sent.primed;
        match sent.cut {
            None => Ok(()),
            Some(cut) => {
                // What comes before it goes out; then it is known that this one holds everything up.
                self.settle().await?;
                Err(Halt::Unsendable(cut))
            }
        }
    }

    /// Gets to know the topics of a chunk. A producer whose batches are too large for one of them is ended.
    async fn meet_topics(
        &mut self,
        connection: &mut PgConnection,
        chunk: &Chunk,
        aside: &[usize],
    ) -> Result<(), Halt> {
        let unknown = self.topics.unknown(chunk, aside)?;
        if unknown.is_empty() {
            return Ok(());
        }
        self.topics.meet(connection, unknown).await?;
        let fitting = batch_bytes(usize::MAX, self.topics.smallest_limit());
        if self
            .producer
            .as_ref()
            .is_some_and(|producer| producer.batch_bytes > fitting)
        {
            self.settle().await?;
            self.end_producer().await;
        }
        Ok(())
    }
}

/// What consumers know an event of the window by.
fn place(window: &Window, position: i64) -> Position {
    // Neither is ever negative: a clock in microseconds, and a sequence.
    Position::new(
        window.epoch,
        u64::try_from(window.number).unwrap_or(0),
        u64::try_from(position).unwrap_or(0),
    )
}

fn position_of(place: Position) -> i64 {
    i64::try_from(place.position).unwrap_or(0)
}
