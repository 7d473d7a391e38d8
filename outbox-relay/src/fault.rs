use quadrille_process::fault::{About, Injected, POSSIBLE, reach};

use crate::outbox::error::OutboxError;
use crate::outbox::read::Chunk;

pub(crate) use quadrille_process::fault::Point;

/// A point at which a test may make a relay crash, wait or fail: by the name of its owner or of its outbox.
pub(crate) async fn point(point: Point, owner: &str, source: &str) -> Result<(), Injected> {
    reach(point, || vec![About::only(owner), About::only(source)]).await
}

/// A point that events pass: by their key as well.
pub(crate) async fn passing(
    point: Point,
    (owner, source): (&str, &str),
    events: &Passing,
) -> Result<(), Injected> {
    reach(point, || {
        let mut about = vec![About::only(owner), About::only(source)];
        about.extend(events.0.iter().cloned());
        about
    })
    .await
}

/// Keys and types of events. Nothing, in a build without fault points.
#[derive(Debug, Default)]
pub(crate) struct Passing(Vec<About>);

impl Passing {
    /// Takes note of a piece of a window, but for what is left out of it.
    pub(crate) fn note(&mut self, chunk: &Chunk, without: &[usize]) -> Result<(), OutboxError> {
        if POSSIBLE {
            for index in (0..chunk.len()).filter(|index| !without.contains(index)) {
                let event = chunk.event(index)?;
                self.0.push(About::new(event.key, event.r#type));
            }
        }
        Ok(())
    }

    /// Only these of a piece.
    pub(crate) fn only(chunk: &Chunk, indices: &[usize]) -> Result<Self, OutboxError> {
        let mut passing = Self::default();
        if POSSIBLE {
            for &index in indices {
                let event = chunk.event(index)?;
                passing.0.push(About::new(event.key, event.r#type));
            }
        }
        Ok(passing)
    }
}
