use std::collections::HashSet;

use sqlx::postgres::PgConnection;

use super::{Halt, Publisher};
use crate::fault::{self, Passing, Point};
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
        let mut aside = match window.replay {
            true => Vec::new(),
            false => self.parked.among(chunk)?,
        };
        let mut had = self.had(window, chunk)?;
        if aside.is_empty() {
            return Ok((aside, had));
        }
        let done: HashSet<i64> = self.acked_beyond(window).into_iter().collect();
        let mut positions = Vec::with_capacity(aside.len());
        let mut waits = Vec::with_capacity(aside.len());
        for index in aside {
            let position = chunk.event(index)?.position;
            if had.binary_search(&index).is_ok() {
                continue;
            }
            if done.contains(&position) {
                had.insert(had.partition_point(|other| *other < index), index);
                continue;
            }
            positions.push(position);
            waits.push(index);
        }
        aside = waits;
        if !positions.is_empty() {
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
