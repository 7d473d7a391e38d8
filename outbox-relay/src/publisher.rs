use std::collections::HashSet;
use std::sync::Arc;

use saga_core::position::Position;
use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::fault::{self, Passing, Point};
use crate::kafka::config::{batch_bytes, compresses};
use crate::kafka::flight::{Flight, Refused, Tails};
use crate::kafka::primed::Primed;
use crate::kafka::producer::Producer;
use crate::kafka::refusal::Unsendable;
use crate::keeper::Ledger;
use crate::known_topics::KnownTopics;
use crate::options::Options;
use crate::outbox::error::OutboxError;
use crate::outbox::lease::Lease;
use crate::outbox::read::{Chunk, Reader};
use crate::outbox::window::Window;
use crate::parked::Parked;
use crate::ring::Ring;
use crate::sending::{Cut, Sending};
use crate::spread::Instance;
use crate::state::Shared;
use crate::turns::Turn;
pub(crate) use outcome::{Extent, Halt, HandedOver};
use places::{is_before, is_of, position_of};
use there::There;
use transacting::Transacting;

/// In transactions.
mod transacting;

/// Positions as consumers know them.
mod places;

/// What it may take of what its process has.
mod share;

/// What came of handing a window over.
mod outcome;

/// What was written by somebody who has not heard so.
mod there;

/// What must not be sent, and what need not be.
mod aside;

/// Hands windows over, one after the other, to one producer at a time.
pub(crate) struct Publisher {
    options: Arc<Options>,
    /// The process, whose memory it shares with other outboxes.
    instance: Option<Instance>,
    /// To publish the window that is at it, if it is big.
    turn: Option<Turn>,
    shared: Arc<Shared>,
    lease: Lease,
    topics: KnownTopics,
    producer: Option<Producer>,
    /// What went to each partition, for the next producer to go on from.
    tails: Tails,
    /// The partitions that know this producer.
    primed: Primed,
    transacting: Option<Transacting>,
    /// What the producers before have got acknowledged; in transactions, what is committed.
    acked: Option<Position>,
    /// What they have got acknowledged behind the first event that was not, in the window that is being published.
    beyond: HashSet<Position>,
    there: There,
    /// Whose events are set aside.
    pub(crate) parked: Parked,
}

impl Publisher {
    /// `history` is the end of the last window that the database knows.
    pub(crate) fn new(
        (options, instance): (Arc<Options>, Option<Instance>),
        shared: Arc<Shared>,
        lease: Lease,
        (parked, history): (Parked, Position),
    ) -> Self {
        let directories = instance.as_ref().map(Instance::directories).unwrap_or_default();
        Self {
            transacting: Transacting::new(&options, history),
            topics: KnownTopics::new(options.clone(), shared.clone(), lease.clone(), directories),
            options,
            instance,
            turn: None,
            shared,
            lease,
            producer: None,
            tails: Tails::default(),
            primed: Primed::default(),
            acked: None,
            beyond: HashSet::new(),
            there: There::default(),
            parked,
        }
    }

    /// Gives the producer a window from after a position on, behind what it has already.
    ///
    /// The next piece is read while the one before is on its way. After each piece it is noted what is acknowledged, of
    /// the windows before and of this one.
    pub(crate) async fn hand_over(
        &mut self,
        connection: &mut PgConnection,
        window: &Window,
        after: Option<i64>,
        behind: (&mut Ring, &Ledger),
        cancel: &CancellationToken,
    ) -> Result<Extent, Halt> {
        let _publishing = self.instance.as_ref().map(Instance::publishes_one_more);
        let mut extent = self.pass_window(connection, window, after, behind, cancel).await;
        if extent.is_ok()
            && self.turn.as_ref().is_some_and(Turn::is_wanted)
            && let Err(refused) = self.end_turn().await
        {
            extent = Err(refused.into());
        }
        self.leave_turn();
        extent
    }

    async fn pass_window(
        &mut self,
        connection: &mut PgConnection,
        window: &Window,
        after: Option<i64>,
        (before, ledger): (&mut Ring, &Ledger),
        cancel: &CancellationToken,
    ) -> Result<Extent, Halt> {
        self.take_over(connection).await?;
        self.ask_if_unsure().await?;
        let after = match &self.transacting {
            Some(_) => after.max(self.acked_within(window)),
            None => after,
        };
        let is_committed = self.is_committed(window);
        // What windows before it have got acknowledged is of no use any more, nor what nothing is read before.
        let acked = self.acked;
        self.beyond
            .retain(|place| !is_before(*place, window) && acked.is_none_or(|acked| *place > acked));
        self.there.forget_before(window);
        let mut passing = Passing::default();
        let mut reader = Reader::new(window, after, self.budget());
        // There may be nothing behind where it is resumed.
        let (mut events, mut highest) = (0, after.unwrap_or(0));
        let mut read = reader.whole_if_small(connection).await?;
        if !reader.is_done() {
            if !self.take_turn((before, ledger), cancel).await? {
                self.settle().await?;
                return Ok(Extent::Part);
            }
            reader.reads_by(self.budget());
            read = reader.next(connection).await?;
        }
        while let Some(chunk) = read {
            let last = chunk.event(chunk.len() - 1)?.position;
            events += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            highest = highest.max(last);
            if is_committed {
                read = reader.next(connection).await?;
                continue;
            }
            if self.oldest().is_none() {
                self.shared.set_oldest(Some(chunk.event(0)?.created_at));
            }
            if !self.there.is_empty() {
                self.meet_topics(connection, &chunk, &[]).await?;
            }
            let (aside, had) = self.set_aside(connection, window, &chunk).await?;
            passing.note(&chunk, &aside)?;
            // As if the broker had refused what follows, which its reports will say.
            let refuse = fault::passing(Point::RelayBeforeProduce, self.whose(), &passing)
                .await
                .is_err();
            self.meet_topics(connection, &chunk, &aside).await?;
            let over = self.turn.as_ref().is_some_and(Turn::is_over);
            // There may be more by now who have a turn, or fewer.
            reader.reads_by(self.budget());
            let sending = self.send(window, chunk, (aside, had), refuse);
            if over {
                // Who waits for a turn has nothing in memory.
                sending.await?;
                read = None;
            } else {
                let (sent, next) = tokio::join!(sending, reader.next(connection));
                sent?;
                read = next?;
            }
            // One that takes minutes does not keep those before it from being known.
            before.reap(ledger, &self.shared).await?;
            ledger.note_part(window, self.acked_within(window));
            self.shared.set_oldest(self.oldest());
            let mut stops = cancel.is_cancelled() && read.is_some();
            if over && !reader.is_done() {
                self.end_turn().await?;
                stops = !self.take_turn((before, ledger), cancel).await?;
                if !stops {
                    reader.reads_by(self.budget());
                    read = reader.next(connection).await?;
                }
            }
            if stops {
                self.settle().await?;
                return Ok(Extent::Part);
            }
        }
        let last = match &self.transacting {
            // It is committed.
            Some(_) => None,
            None => {
                fault::passing(Point::RelayAfterProduce, self.whose(), &passing).await?;
                self.flight().map(|flight| (flight.clone(), flight.end()))
            }
        };
        Ok(Extent::Whole(HandedOver {
            events,
            highest,
            last,
            passing,
        }))
    }

    /// Tells how old the oldest event is that the broker has not acknowledged, of those that it was given.
    pub(crate) fn tell_oldest(&self) {
        self.shared.set_oldest(self.oldest());
    }

    /// The last position of the window up to which everything was acknowledged.
    pub(crate) fn acked_within(&self, window: &Window) -> Option<i64> {
        let flight = self.flight().filter(|_| self.transacting.is_none());
        let acked = flight.and_then(|flight| flight.acked()).or(self.acked)?;
        is_of(acked, window).then_some(position_of(acked))
    }

    /// The positions of the window that are acknowledged behind that one.
    pub(crate) fn acked_beyond(&self, window: &Window) -> Vec<i64> {
        let flight = self.flight().filter(|_| self.transacting.is_none());
        let now = flight.map(|flight| flight.acked_beyond());
        let all = self.beyond.iter().copied().chain(now.into_iter().flatten());
        all.filter(|place| is_of(*place, window))
            .map(position_of)
            .collect()
    }

    /// What is known of topics, or of one, is asked again.
    pub(crate) fn forget_topics(&mut self, only: Option<&str>) {
        self.topics.forget(only);
    }

    /// Asks the broker about a topic. Returns why nothing can be sent there, as far as it tells. What is known of the topic is
    /// asked again when something goes there.
    pub(crate) async fn ask_about(
        &mut self,
        connection: &mut PgConnection,
        topic: &str,
    ) -> Result<Option<Unsendable>, Halt> {
        self.topics.forget(Some(topic));
        self.topics.meet(connection, vec![topic.to_owned()]).await?;
        let known = self.topics.snapshot();
        self.topics.forget(Some(topic));
        Ok(known.get(topic).and_then(|topic| topic.unsendable.clone()))
    }

    /// What is only needed for topics that were never seen can be made anew.
    pub(crate) fn rest(&mut self) {
        self.topics.rest();
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
            let all_told = producer.end().await;
            if self.transacting.is_some() {
                return;
            }
            if !all_told {
                self.there.doubt();
            }
            self.tails = flight.tails();
            self.acked = flight.acked().or(self.acked);
            self.beyond.extend(flight.acked_beyond());
        }
    }

    /// Gives back the last acknowledged prefix and lets go of the broker, at the end of a tenure.
    pub(crate) async fn finish(mut self) {
        self.end_producer().await;
    }

    /// The relay, and its outbox.
    fn whose(&self) -> (&str, &str) {
        (&self.shared.owner, self.lease.source.as_str())
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
            Ok(()) => match self.take_over(connection).await {
                Ok(()) => self.ready_producer().map(drop),
                Err(halt) => Err(halt),
            },
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
                    self.transacting.as_ref().map(Transacting::id),
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
    async fn send(
        &mut self,
        window: &Window,
        chunk: Chunk,
        (aside, had): (Vec<usize>, Vec<usize>),
        refuse: bool,
    ) -> Result<(), Halt> {
        if aside.len() == chunk.len() {
            return Ok(());
        }
        if self.transacting.is_some() {
            return self.send_in_transactions(window, chunk, &aside, refuse).await;
        }
        match self
            .pass_on(window, Arc::new(chunk), (aside, had), refuse)
            .await?
        {
            None => Ok(()),
            Some(cut) => {
                // What comes before it goes out; then it is known that this one holds everything up.
                self.settle().await?;
                Err(Halt::Unsendable(cut))
            }
        }
    }

    /// All but what is set aside, up to the first event that cannot be sent.
    async fn pass_on(
        &mut self,
        window: &Window,
        chunk: Arc<Chunk>,
        (aside, had): (Vec<usize>, Vec<usize>),
        refuse: bool,
    ) -> Result<Option<Cut>, Halt> {
        let most = self.most_in_flight();
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
            replay: window.replay,
            tails: std::mem::take(&mut self.tails),
            primed: std::mem::take(&mut self.primed),
            chunk,
            aside,
            had,
            in_transaction: self.transacting.is_some(),
            refuse,
        };
        let sent = sending.run().await?.map_err(Halt::Refused)?;
        self.tails = sent.tails;
        self.primed = sent.primed;
        Ok(sent.cut)
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
            self.take_over(connection).await?;
        }
        Ok(())
    }
}
