use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use saga_core::position::Position;
use sqlx::postgres::PgConnection;

use super::places::{is_after, position_in};
use super::{Halt, Publisher};
use crate::fault::{self, Passing, Point};
use crate::kafka::flight::Tails;
use crate::kafka::producer::Client;
use crate::kafka::refusal::Unsendable;
use crate::kafka::transactions::Transactions;
use crate::options::Options;
use crate::outbox::error::OutboxError;
use crate::outbox::read::Chunk;
use crate::outbox::topics;
use crate::outbox::window::Window;
use crate::sending::{Cut, Rejected};

/// What a publisher keeps that makes each piece of a window visible as a whole, and once.
///
/// With its events a transaction commits the position that they reach; who takes over reads it and goes on behind it.
/// What a producer before has sent and not committed is never seen, whether it has crashed, is frozen, or does not know
/// what became of its commit.
pub(super) struct Transacting {
    id: String,
    kafka: Option<Arc<Transactions>>,
    /// What Kafka can know at most, unless the database is older than what was published from it. Once it was asked, what
    /// it knows beyond that is our own doing.
    history: Option<Position>,
    /// The event that a transaction was refused for. In the next one it is alone.
    suspect: Option<i64>,
    /// Up to where the commit goes that nobody has answered yet, and what is last in each partition if it is done.
    unanswered: Option<(Position, Tails)>,
}

impl Transacting {
    /// If anybody asked for it. `history` is the end of the last window that the database knows.
    pub(super) fn new(options: &Options, history: Position) -> Option<Self> {
        let id = options.transactional_id.clone()?;
        Some(Self {
            id,
            kafka: None,
            history: Some(history),
            suspect: None,
            unanswered: None,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

fn client(doing: &'static str) -> impl Fn(KafkaError) -> Halt {
    move |source| Halt::Client { doing, source }
}

impl Publisher {
    /// Makes a producer, if there is none, that has shut out the one before, and learns what that one has committed.
    pub(super) async fn take_over(&mut self, connection: &mut PgConnection) -> Result<(), Halt> {
        if self.transacting.is_none() || self.producer.is_some() {
            return Ok(());
        }
        let known = topics::known(connection, self.options.statement_timeout).await?;
        let taken_over = self.shut_out(known).await;
        if taken_over.is_err() {
            // It is no producer that could be used.
            self.end_producer().await;
        }
        taken_over
    }

    async fn shut_out(&mut self, topics: Vec<String>) -> Result<(), Halt> {
        let producer = self.client()?;
        let transactions = self.transactions()?;
        let doing = client("shutting out the producer before this one");
        transactions.take_over(producer).await.map_err(doing)?;
        let doing = client("asking what was committed last");
        let committed = transactions.committed(topics).await.map_err(doing)?;
        let history = self.transacting.as_mut().and_then(|kept| kept.history.take());
        if let (Some(published), Some(known)) = (committed, history)
            && published > known
        {
            return Err(OutboxError::WentBack { published, known }.into());
        }
        let unanswered = self.transacting.as_mut().and_then(|kept| kept.unanswered.take());
        if let Some((last, tails)) = unanswered
            && committed == Some(last)
        {
            self.tails = tails;
        }
        self.acked = self.acked.max(committed);
        Ok(())
    }

    fn client(&mut self) -> Result<Arc<Client>, Halt> {
        let closed = || client("making a producer")(KafkaError::Canceled);
        self.ready_producer()?.client().ok_or_else(closed)
    }

    fn transactions(&mut self) -> Result<Arc<Transactions>, Halt> {
        let Some(transacting) = &mut self.transacting else {
            return Err(client("making transactions")(KafkaError::Canceled));
        };
        if let Some(known) = &transacting.kafka {
            return Ok(known.clone());
        }
        let made = Transactions::of(&self.options.kafka, &transacting.id);
        let made = Arc::new(made.map_err(client("making a client for transactions"))?);
        transacting.kafka = Some(made.clone());
        Ok(made)
    }

    /// Whether all of a window was committed, and something behind it: by an owner before, who could not tell any more.
    pub(super) fn is_committed(&self, window: &Window) -> bool {
        self.transacting.is_some() && self.acked.is_some_and(|acked| is_after(acked, window))
    }

    /// Publishes a piece of a window in one transaction, or in three if somebody is under suspicion.
    pub(super) async fn send_in_transactions(
        &mut self,
        window: &Window,
        chunk: Chunk,
        aside: &[usize],
        refuse: bool,
    ) -> Result<(), Halt> {
        let chunk = Arc::new(chunk);
        for part in self.parts(&chunk)? {
            let without: Vec<usize> = (0..chunk.len())
                .filter(|index| !part.contains(index) || aside.binary_search(index).is_ok())
                .collect();
            if without.len() == chunk.len() {
                continue;
            }
            let tails = self.tails.clone();
            let alone = chunk.len() - without.len() == 1;
            match self.transact(window, &chunk, without, refuse).await {
                Ok(None) => {}
                // What comes before it is committed.
                Ok(Some(cut)) => return Err(Halt::Unsendable(cut)),
                Err(halt) => {
                    // What it was to commit nobody will see, unless it is done and nobody has answered.
                    self.tails = tails;
                    return Err(self.accuse(halt, alone));
                }
            }
        }
        Ok(())
    }

    fn parts(&self, chunk: &Chunk) -> Result<Vec<Range<usize>>, OutboxError> {
        let all = 0..chunk.len();
        if let Some(suspect) = self.transacting.as_ref().and_then(|kept| kept.suspect) {
            for index in all.clone() {
                if chunk.event(index)?.position == suspect {
                    return Ok(vec![0..index, index..index + 1, index + 1..chunk.len()]);
                }
            }
        }
        Ok(vec![all])
    }

    async fn transact(
        &mut self,
        window: &Window,
        chunk: &Arc<Chunk>,
        without: Vec<usize>,
        refuse: bool,
    ) -> Result<Option<Cut>, Halt> {
        let producer = self.client()?;
        let doing = client("beginning a transaction");
        producer.begin_transaction().map_err(doing)?;
        let cut = self
            .pass_on(window, chunk.clone(), (without.clone(), Vec::new()), refuse)
            .await?;
        self.settle().await?;
        let (mut last, mut topics, mut sent) = (None, BTreeSet::new(), Vec::new());
        for index in (0..chunk.len()).filter(|index| without.binary_search(index).is_err()) {
            let event = chunk.event(index)?;
            if cut.as_ref().is_some_and(|cut| event.position >= cut.position) {
                break;
            }
            last = Some(position_in(window, event.position));
            sent.push(index);
            if !topics.contains(event.topic) {
                topics.insert(event.topic.to_owned());
            }
        }
        let doing = client("committing a transaction");
        let transactions = self.transactions()?;
        let tails = self.tails.clone();
        if let Some(transacting) = &mut self.transacting {
            transacting.unanswered = last.map(|last| (last, tails));
        }
        transactions
            .commit(producer, topics, last)
            .await
            .map_err(&doing)?;
        // As if the broker's answer had been lost.
        let passing = Passing::only(chunk, &sent)?;
        fault::passing(Point::RelayAfterProduce, self.whose(), &passing)
            .await
            .map_err(|_| doing(KafkaError::Canceled))?;
        if let Some(transacting) = &mut self.transacting {
            transacting.unanswered = None;
        }
        self.acked = self.acked.max(last);
        Ok(cut)
    }

    /// Of a transaction that was refused for an event of several, the event is alone in the next one.
    fn accuse(&mut self, halt: Halt, alone: bool) -> Halt {
        let (Halt::Refused(rejected), Some(transacting)) = (&halt, &mut self.transacting) else {
            return halt;
        };
        let refused = rejected.refused;
        if Unsendable::from_code(refused.code).is_some() {
            let position = i64::try_from(refused.position.position).ok();
            transacting.suspect = position.filter(|_| !alone);
        }
        Halt::Refused(Rejected { refused, alone })
    }
}
