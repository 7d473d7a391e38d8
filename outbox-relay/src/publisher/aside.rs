use sqlx::postgres::PgConnection;

use super::{Halt, Publisher};
use crate::fault::{self, Passing, Point};
use crate::outbox::error::OutboxError;
use crate::outbox::read::Chunk;
use crate::outbox::window::Window;

impl Publisher {
    /// Copies what is parked to where it waits, before anything behind it can count as acknowledged. Returns, by index,
    /// what must not be sent, and what need not be: the broker has it, and it must not come again under another position.
    pub(super) async fn set_aside(
        &self,
        connection: &mut PgConnection,
        window: &Window,
        chunk: &Chunk,
    ) -> Result<(Vec<usize>, Vec<usize>), Halt> {
        let had = self.had(window, chunk)?;
        if window.replay {
            return Ok((Vec::new(), had));
        }
        let mut aside = self.parked.among(chunk)?;
        aside.retain(|index| had.binary_search(index).is_err());
        if !aside.is_empty() {
            let positions = aside.iter().map(|index| Ok(chunk.event(*index)?.position));
            let positions = positions.collect::<Result<Vec<_>, OutboxError>>()?;
            let patience = self.options.statement_timeout;
            let copied = self
                .lease
                .set_aside(connection, window.number, &positions, patience)
                .await?;
            self.shared.meters.events_parked.increment(copied);
            let passing = Passing::only(chunk, &aside)?;
            fault::passing(Point::RelayAfterSetAside, self.whose(), &passing).await?;
        }
        Ok((aside, had))
    }
}
