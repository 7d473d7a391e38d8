use std::time::Duration;

use super::Publisher;
use crate::outbox::read::Budget;

/// What is read at once however many outboxes a process publishes at the same time. Fewer rows would cost more by the
/// statement than by the row; twice as much may be on its way.
const LEAST_ROWS: u32 = 200;
const LEAST_BYTES: u32 = 256 * 1024;

/// What it may take of the memory that it shares with other outboxes of its process.
impl Publisher {
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
        let size = |most| usize::try_from(most).unwrap_or(usize::MAX);
        (size(events), size(bytes))
    }

    fn share(&self, all: u32, least: u32) -> u32 {
        let instance = self.instance.as_ref();
        instance.map_or(all, |instance| instance.share(all, least))
    }
}
