//! The table of all points. A point that is not in it cannot be named in the code.

use std::fmt;
use std::str::FromStr;

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The process ends at once, as `kill -9` would end it.
    Crash,
    /// The point is left some time later.
    Delay,
    /// What comes next fails and is not done.
    Error,
    /// What came before was done, and who did it is told that it failed.
    LostAnswer,
}

impl Kind {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Delay => "delay",
            Self::Error => "error",
            Self::LostAnswer => "lost answer",
        }
    }
}

/// What passes a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One saga's message, command, call or event; or a batch of which it is one.
    Saga,
    /// The process by itself: a lease, a look, a rotation.
    Process,
}

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $scope:ident, [$($kind:ident),+];)+) => {
        /// A place in the code at which a test may make the process crash, wait or fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Point {
            /// All there are.
            pub const ALL: &[Point] = &[$(Point::$variant),+];

            /// What only a program passes that takes a provider's reports.
            pub const WEBHOOKS: &[Point] = &[Point::WebhookBeforeNote, Point::WebhookAfterNote];

            /// `engine::after_commit`.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)+ }
            }

            /// Where it is, in words.
            pub fn place(self) -> &'static str {
                match self { $(Point::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What passes it.
            pub fn scope(self) -> Scope {
                match self { $(Point::$variant => Scope::$scope,)+ }
            }

            /// What can happen there. Anything else cannot be armed.
            pub fn faults(self) -> &'static [Kind] {
                match self { $(Point::$variant => &[$(Kind::$kind),+],)+ }
            }
        }
    };
}

points! {
    /// a command was taken, and its transaction has not begun
    CommandBeforeDecide = "command::before_decide", Saga, [Crash, Delay, Error];
    /// a command is committed, and its caller was not told
    CommandBeforeAnswer = "command::before_answer", Saga, [Crash, Delay, LostAnswer];
    /// the provider's report is verified, and not noted
    WebhookBeforeNote = "webhook::before_note", Saga, [Crash, Delay, Error];
    /// the provider's report is noted, and the provider was not told
    WebhookAfterNote = "webhook::after_note", Saga, [Crash, Delay, LostAnswer];
    /// a timer was found due, and not fired
    TimerBeforeFire = "timer::before_fire", Saga, [Crash, Delay, Error];

    /// before a transaction begins
    EngineBeforeBegin = "engine::before_begin", Saga, [Crash, Delay, Error];
    /// the offset is moved in the transaction, nothing is decided
    EngineAfterOffset = "engine::after_offset", Saga, [Crash, Delay, Error];
    /// everything is written, nothing is committed
    EngineBeforeCommit = "engine::before_commit", Saga, [Crash, Delay, Error];
    /// committed, and nobody in the process knows
    EngineAfterCommit = "engine::after_commit", Saga, [Crash, Delay, LostAnswer];
    /// the batch is applied, and the consumer's place in memory was not moved
    ConsumerAfterBatch = "consumer::after_batch", Saga, [Crash, Delay];
    /// partitions were assigned, and their places were not read
    ConsumerBeforePlaces = "consumer::before_places", Process, [Crash, Delay, Error];
    /// before offsets are committed to Kafka, for people and their tools
    ConsumerBeforeOffsets = "consumer::before_offsets", Process, [Crash, Delay, Error];

    /// before calls are claimed
    EffectBeforeClaim = "effect::before_claim", Process, [Crash, Delay, Error];
    /// a call is claimed and not made
    EffectAfterClaim = "effect::after_claim", Saga, [Crash, Delay, LostAnswer];
    /// the moment before a call
    EffectBeforeCall = "effect::before_call", Saga, [Crash, Delay, Error];
    /// the other side has answered, and nobody has looked
    EffectAfterCall = "effect::after_call", Saga, [Crash, Delay, LostAnswer];
    /// the answer is on its way into a transaction
    EffectBeforeAnswer = "effect::before_answer", Saga, [Crash, Delay, LostAnswer];
    /// a call failed, and it is not written down when to call again
    EffectBeforePostpone = "effect::before_postpone", Saga, [Crash, Delay, Error];

    /// before the lease is asked for
    RelayBeforeAcquire = "relay::before_acquire", Process, [Crash, Delay, Error];
    /// the lease is ours, and nothing was done with it
    RelayAfterAcquire = "relay::after_acquire", Process, [Crash, Delay, LostAnswer];
    /// a window's bounds are committed, and nothing of it was read
    RelayAfterWindow = "relay::after_window_commit", Process, [Crash, Delay, LostAnswer];
    /// events were read, and not handed to the producer; an error is a report that says so
    RelayBeforeProduce = "relay::before_produce", Saga, [Crash, Delay, Error];
    /// events were handed to the producer, and not acknowledged
    RelayAfterProduce = "relay::after_produce_before_ack", Saga, [Crash, Delay, LostAnswer];
    /// the broker has acknowledged, and the relay has not noted it
    RelayAfterAck = "relay::after_ack", Saga, [Crash, Delay, LostAnswer];
    /// before the lease is renewed and the acknowledged position stored
    RelayBeforePersist = "relay::after_ack_before_persist", Process, [Crash, Delay, Error];
    /// the lease is renewed and the position stored, and the relay does not know
    RelayAfterPersist = "relay::after_persist", Process, [Crash, Delay, LostAnswer];
    /// parked events were copied to where they wait, and nothing behind them went out
    RelayAfterSetAside = "relay::after_set_aside", Saga, [Crash, Delay, LostAnswer];
    /// a replay is acknowledged, and its key is still parked
    RelayBeforeEndOfReplay = "relay::before_end_of_replay", Saga, [Crash, Delay, Error];
    /// before a leaf is emptied
    RelayBeforeRotate = "relay::before_rotate", Process, [Crash, Delay, Error];
    /// a leaf is emptied, and the relay does not know
    RelayAfterRotate = "relay::after_rotate", Process, [Crash, Delay, LostAnswer];
    /// before the lease is given back
    RelayBeforeRelease = "relay::before_release", Process, [Crash, Delay, Error];
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault point '{0}'")]
pub struct UnknownPoint(pub String);

impl FromStr for Point {
    type Err = UnknownPoint;

    fn from_str(name: &str) -> Result<Self, UnknownPoint> {
        let found = Self::ALL.iter().find(|point| point.name() == name);
        found.copied().ok_or_else(|| UnknownPoint(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_points_name() {
        for point in Point::ALL {
            assert_eq!(point.name().parse(), Ok(*point));
            assert!(!point.place().is_empty() && !point.faults().is_empty());
        }
        assert!("engine::somewhere".parse::<Point>().is_err());
    }
}
