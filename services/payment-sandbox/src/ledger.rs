use std::sync::Arc;
use std::time::Instant;

use metrics::{counter, histogram};
use quadrille_process::Chain;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::idempotency::Flight;
use crate::store::{Booked, NewCharge, Store, StoreError};

/// Books charges that arrive together in one transaction (group commit): while one batch waits for the
/// disk, the next one gathers. Nobody waits for a batch to fill.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    queue: mpsc::Sender<Entry>,
}

/// Why a charge was not booked, as far as we know.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LedgerError {
    /// More charges wait than we care to remember.
    #[error("too many charges wait to be booked")]
    Full,
    /// The database did not do it, or did it and could not say so.
    #[error("booking a charge")]
    Store(#[source] Arc<StoreError>),
    /// We are being stopped.
    #[error("the ledger is closed")]
    Closed,
}

struct Entry {
    charge: NewCharge,
    answer: oneshot::Sender<Result<Booked, LedgerError>>,
    /// Lands after the commit, even if the caller has gone away meanwhile.
    flight: Flight,
}

/// Charges that wait; past that, callers are told to come back.
const QUEUE: usize = 8 * 1024;
/// Charges in one transaction.
const BATCH: usize = 512;

impl Ledger {
    /// Opens the ledger. Its writer ends when every clone of the ledger is gone and the queue is empty.
    pub(crate) fn open(store: Store) -> (Ledger, JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Ledger { queue }, tokio::spawn(write(store, entries)))
    }

    /// Books a charge. It is booked whether or not the caller stays to hear of it.
    pub(crate) async fn book(&self, charge: NewCharge, flight: Flight) -> Result<Booked, LedgerError> {
        let (answer, outcome) = oneshot::channel();
        self.queue
            .try_send(Entry {
                charge,
                answer,
                flight,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LedgerError::Full,
                mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
            })?;
        outcome.await.map_err(|_| LedgerError::Closed)?
    }
}

async fn write(store: Store, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        let (charges, callers): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|entry| (entry.charge, (entry.answer, entry.flight)))
            .unzip();
        histogram!("sandbox_batch_size").record(u32::try_from(charges.len()).unwrap_or(u32::MAX));
        let began = Instant::now();
        let outcomes = book(&store, &charges).await;
        histogram!("sandbox_commit_seconds").record(began.elapsed());
        for (outcome, (answer, flight)) in outcomes.into_iter().zip(callers) {
            if matches!(outcome, Ok(Booked::New)) {
                counter!("sandbox_charges_booked_total").increment(1);
            }
            drop(flight);
            // Nobody listens any more: booked all the same, as with a real provider.
            answer.send(outcome).ok();
        }
    }
}

/// Books them together; if one of them is to blame for a failure, one by one, so that only it fails.
async fn book(store: &Store, charges: &[NewCharge]) -> Vec<Result<Booked, LedgerError>> {
    match store.book(charges).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if charges.len() == 1 || error.is_connection() => {
            tracing::warn!(charges = charges.len(), cause = %Chain(&error), "charges were not booked");
            let error = LedgerError::Store(Arc::new(error));
            vec![Err(error); charges.len()]
        }
        Err(error) => {
            tracing::warn!(charges = charges.len(), cause = %Chain(&error), "booking one by one");
            let mut outcomes = Vec::with_capacity(charges.len());
            for charge in charges {
                let one = store.book(std::slice::from_ref(charge)).await;
                outcomes.push(match one {
                    Ok(mut outcome) => outcome.pop().ok_or(LedgerError::Closed),
                    Err(error) => Err(LedgerError::Store(Arc::new(error))),
                });
            }
            outcomes
        }
    }
}
