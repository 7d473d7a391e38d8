use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Halt, Publisher};
use crate::kafka::flight::Refused;
use crate::keeper::Ledger;
use crate::outbox::read::Budget;
use crate::ring::Ring;

/// What is read at once however many outboxes a process publishes at the same time. Fewer rows would cost more by the
/// statement than by the row; twice as much may be on its way.
const LEAST_ROWS: u32 = 200;
const LEAST_BYTES: u32 = 256 * 1024;

/// What it may take of the memory that it shares with other outboxes of its process, and when.
impl Publisher {
    /// Waits for a turn to publish a big window, and notes what is acknowledged meanwhile. `false`: the relay was told to stop.
    pub(super) async fn take_turn(
        &mut self,
        (before, ledger): (&mut Ring, &Ledger),
        cancel: &CancellationToken,
    ) -> Result<bool, Halt> {
        let Some(instance) = self.instance.clone() else {
            return Ok(true);
        };
        let mut taking = std::pin::pin!(instance.turn());
        loop {
            tokio::select! {
                biased;
                turn = &mut taking => {
                    self.turn = Some(turn);
                    return Ok(true);
                }
                () = cancel.cancelled() => return Ok(false),
                acknowledged = before.first_acknowledged() => {
                    acknowledged?;
                    before.reap(ledger, &self.shared).await?;
                }
            }
        }
    }

    /// Leaves the turn to somebody else, with no more on its way than who has none.
    pub(super) async fn end_turn(&mut self) -> Result<(), Refused> {
        if let Some(flight) = self.flight() {
            let most = (usize_of(2 * LEAST_ROWS), usize_of(2 * LEAST_BYTES));
            flight.room(0, 0, most).await?;
        }
        self.leave_turn();
        Ok(())
    }

    /// Whatever came of it.
    pub(super) fn leave_turn(&mut self) {
        if self.turn.take().is_some_and(|turn| turn.is_stuck()) {
            self.shared.meters.turns_stuck.increment(1);
        }
    }

    /// How much of a window is read at once.
    pub(super) fn budget(&self) -> Budget {
        let rows = match &self.transacting {
            Some(_) => self.options.transaction_rows,
            None => self.options.chunk_rows,
        };
        Budget {
            rows: self.share(rows, LEAST_ROWS),
            bytes: self.share(self.options.chunk_bytes, LEAST_BYTES),
            stride: self.options.chunk_stride.max(1),
            patience: self.options.statement_timeout + Duration::from_secs(5),
        }
    }

    /// How many events may be on their way, and how many bytes of them.
    pub(super) fn most_in_flight(&self) -> (usize, usize) {
        let events = self.share(self.options.in_flight_events, 2 * LEAST_ROWS);
        let bytes = self.share(self.options.in_flight_bytes, 2 * LEAST_BYTES);
        (usize_of(events), usize_of(bytes))
    }

    fn share(&self, all: u32, least: u32) -> u32 {
        match (&self.turn, &self.instance) {
            (Some(turn), _) => turn.share(all, least),
            (None, Some(instance)) => instance.share(all, least),
            (None, None) => all,
        }
    }
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
