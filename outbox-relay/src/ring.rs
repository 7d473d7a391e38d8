use std::collections::VecDeque;
use std::time::{Duration, Instant};

use quadrille_process::fault::Injected;

use crate::fault::Point;
use crate::keeper::Ledger;
use crate::outbox::window::Window;
use crate::publisher::{Halt, HandedOver};
use crate::state::Shared;

/// Windows that the producer has as a whole and the broker has not acknowledged, in order.
///
/// While they are on their way the next one is opened and read, so that a broker which takes its time over one does not
/// hold up those behind it. They are acknowledged in order.
#[derive(Debug)]
pub(crate) struct Ring {
    on_their_way: VecDeque<OnItsWay>,
    most: usize,
    /// What the broker took for the windows before, from hand-over to acknowledgement.
    usual: Duration,
}

#[derive(Debug)]
struct OnItsWay {
    window: Window,
    handed_over: HandedOver,
    opened: Instant,
    since: Instant,
}

/// What the next window waits for at least. Each costs the database a flush, so there should not be one per event.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(25);

impl Ring {
    /// One for windows that go one by one: there is nothing in it.
    pub(crate) fn empty() -> Self {
        Self::new(1)
    }

    /// So many windows may be on their way.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            on_their_way: VecDeque::new(),
            most: most.max(1),
            usual: SHORTEST,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.on_their_way.len()
    }

    /// Takes all out, in order, acknowledged or not.
    pub(crate) fn drain(&mut self) -> Vec<Window> {
        self.on_their_way.drain(..).map(|one| one.window).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.on_their_way.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.on_their_way.len() >= self.most
    }

    /// How long the next window waits for the acknowledgement of those on their way. Events that come to be meanwhile
    /// share it.
    pub(crate) fn pace(&self) -> Duration {
        self.usual.clamp(SHORTEST, LONGEST)
    }

    /// Waits until the first window is acknowledged, for ever if there is none.
    pub(crate) async fn first_acknowledged(&self) -> Result<(), Halt> {
        match self.on_their_way.front() {
            Some(first) => first.handed_over.acknowledged().await,
            None => std::future::pending().await,
        }
    }

    /// Notes which windows are acknowledged by now.
    ///
    /// # Errors
    /// What a test wants to happen here.
    pub(crate) async fn reap(&mut self, ledger: &Ledger, shared: &Shared) -> Result<(), Injected> {
        while let Some(first) = self.on_their_way.front()
            && first.handed_over.is_acknowledged()
        {
            first.handed_over.passes(Point::RelayAfterAck, shared).await?;
            // A single slow one changes little, a broker that has become slow is known after a few.
            self.usual = (self.usual * 7 + first.since.elapsed()) / 8;
            ledger.acknowledge(&first.window, first.handed_over.highest);
            shared.window_published(first.handed_over.events, first.opened);
            self.on_their_way.pop_front();
        }
        shared.set_windows_in_flight(self.on_their_way.len());
        Ok(())
    }

    pub(crate) fn push(&mut self, window: Window, handed_over: HandedOver, opened: Instant) {
        self.on_their_way.push_back(OnItsWay {
            window,
            handed_over,
            opened,
            since: Instant::now(),
        });
    }
}
