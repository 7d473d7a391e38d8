use std::fmt;

use crate::system::Peer;

/// A line between two parties, on which a proxy stands.
pub(crate) type Line = (&'static str, Peer);

/// The relay that stands by.
pub(crate) const STANDBY: &str = "relay-2";
/// Those who order.
pub(crate) const SHOPPERS: &str = "shoppers";

/// Every line of the shop.
pub(crate) const LINES: &[Line] = &[
    ("product", Peer::Database),
    ("order", Peer::Database),
    ("inventory", Peer::Database),
    ("payment", Peer::Database),
    ("payment-sandbox", Peer::Database),
    ("outbox-relay", Peer::Database),
    (STANDBY, Peer::Database),
    ("order", Peer::Broker),
    ("inventory", Peer::Broker),
    ("payment", Peer::Broker),
    ("outbox-relay", Peer::Broker),
    (STANDBY, Peer::Broker),
    ("payment", Peer::Provider),
    ("payment-sandbox", Peer::Webhook),
    (SHOPPERS, Peer::Order),
];

/// Who may be cut off from everybody.
pub(crate) const PARTIES: &[&str] = &[
    "order",
    "inventory",
    "payment",
    "payment-sandbox",
    "outbox-relay",
    STANDBY,
];

/// Whose processes may end or stand still.
pub(crate) const VICTIMS: &[&str] = &[
    "payment-sandbox",
    "product",
    "order",
    "inventory",
    "payment",
    "outbox-relay",
    STANDBY,
];

/// Whose clock may jump.
pub(crate) const CLOCKS: &[&str] = &["order", "inventory", "payment", "payment-sandbox", "outbox-relay"];

/// Of whom a second process may come and go.
pub(crate) const DOUBLES: &[&str] = &["order", "inventory", "payment", "outbox-relay"];

/// Something that goes wrong. Times are in milliseconds unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again at once.
    Kill {
        /// Whom.
        program: &'static str,
    },
    /// SIGSTOP, then SIGCONT.
    Freeze {
        /// Whom.
        program: &'static str,
        /// For how long.
        ms: u64,
    },
    /// The database server ends without a checkpoint, by its own immediate shutdown or by `kill -9` of all its processes.
    CrashDatabase {
        /// How long it is away before it is started.
        down_ms: u64,
        /// `kill -9`.
        hard: bool,
    },
    /// SIGSTOP to the database server and all its sessions.
    FreezeDatabase {
        /// For how long.
        ms: u64,
    },
    /// `kill -9` of the broker.
    CrashBroker {
        /// How long it is away before it is started.
        down_ms: u64,
    },
    /// SIGSTOP to the broker.
    FreezeBroker {
        /// For how long.
        ms: u64,
    },
    /// All connections of a line are reset.
    Reset {
        /// Which.
        line: Line,
    },
    /// Nothing passes a line, and nobody says so.
    BlackHole {
        /// Which.
        line: Line,
        /// For how long.
        ms: u64,
    },
    /// What passes a line comes late.
    Delay {
        /// Which.
        line: Line,
        /// By how much.
        by_ms: u64,
        /// For how long.
        ms: u64,
    },
    /// Little passes a line.
    Slow {
        /// Which.
        line: Line,
        /// In each direction of each connection.
        bytes_per_second: u64,
        /// For how long.
        ms: u64,
    },
    /// One party is cut off from all others.
    Partition {
        /// Whom.
        party: &'static str,
        /// For how long.
        ms: u64,
    },
    /// A program's clock jumps, and jumps back.
    Clock {
        /// Whose.
        program: &'static str,
        /// By so many seconds.
        by_s: i64,
        /// For how long.
        ms: u64,
    },
    /// The provider does not do as it should.
    Provider {
        /// How.
        how: Misbehaviour,
        /// For how many calls.
        calls: u32,
    },
    /// The provider's reports are held up, and come all at once.
    Webhooks {
        /// For how long.
        ms: u64,
    },
    /// A record that nobody can read, in the middle of a saga of its own.
    Poison {
        /// Whether an operator throws it away and has the rest applied. If not, its key stays parked.
        mended: bool,
    },
    /// A second process joins a service's consumers, and leaves.
    Rebalance {
        /// Of whom.
        program: &'static str,
        /// How long it stays.
        ms: u64,
        /// Whether it goes without a farewell.
        killed: bool,
    },
}

/// What the provider does to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers with this status, and does nothing.
    Refuses(u16),
    /// Does it, and breaks the connection before the answer.
    LosesAnswers,
    /// Does it, and takes longer than payment waits.
    TakesItsTime,
}

/// Faults of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "as the faults")]
pub enum Kind {
    Kill,
    Freeze,
    CrashDatabase,
    FreezeDatabase,
    CrashBroker,
    FreezeBroker,
    Reset,
    BlackHole,
    Delay,
    Slow,
    Partition,
    Clock,
    Provider,
    Webhooks,
    Poison,
    Rebalance,
}

impl Kind {
    /// Each, with how often it comes beside the others.
    pub const ALL: &'static [(Kind, usize)] = &[
        (Kind::Kill, 4),
        (Kind::Freeze, 2),
        (Kind::CrashDatabase, 1),
        (Kind::FreezeDatabase, 1),
        (Kind::CrashBroker, 1),
        (Kind::FreezeBroker, 1),
        (Kind::Reset, 3),
        (Kind::BlackHole, 2),
        (Kind::Delay, 2),
        (Kind::Slow, 2),
        (Kind::Partition, 2),
        (Kind::Clock, 2),
        (Kind::Provider, 3),
        (Kind::Webhooks, 1),
        (Kind::Poison, 1),
        (Kind::Rebalance, 2),
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "program killed",
            Kind::Freeze => "program frozen",
            Kind::CrashDatabase => "database crashed",
            Kind::FreezeDatabase => "database frozen",
            Kind::CrashBroker => "broker killed",
            Kind::FreezeBroker => "broker frozen",
            Kind::Reset => "connections reset",
            Kind::BlackHole => "line dead",
            Kind::Delay => "line late",
            Kind::Slow => "line slow",
            Kind::Partition => "party cut off",
            Kind::Clock => "clock jumped",
            Kind::Provider => "provider misbehaved",
            Kind::Webhooks => "reports held up",
            Kind::Poison => "poison record",
            Kind::Rebalance => "second process came and went",
        }
    }

    /// What was done, for the page.
    pub(crate) fn story(self) -> &'static str {
        match self {
            Kind::Kill => "`kill -9`, and started again at once",
            Kind::Freeze => "SIGSTOP, longer than a lease or a session may last, then SIGCONT",
            Kind::CrashDatabase => {
                "immediate shutdown, or `kill -9` of all its processes; recovers from its log"
            }
            Kind::FreezeDatabase => "SIGSTOP to the server and all sessions",
            Kind::CrashBroker => "`kill -9`; recovers its segments",
            Kind::FreezeBroker => "SIGSTOP",
            Kind::Reset => "RST on every connection of one line",
            Kind::BlackHole => "nothing passes one line, connections stay open",
            Kind::Delay => "10 to 150 ms on each piece that passes one line",
            Kind::Slow => "4 to 64 KB/s per connection of one line",
            Kind::Partition => "every line of one party is dead",
            Kind::Clock => "the realtime clock of one program is wrong by seconds to hours, either way",
            Kind::Provider => "refuses (429, 500, 503), loses answers, answers too late",
            Kind::Webhooks => "the provider's reports come late and all at once",
            Kind::Poison => {
                "a record that cannot be decoded, in the middle of a saga; half of them mended by an operator"
            }
            Kind::Rebalance => {
                "a second process of a service or relay joins under load, and leaves or is killed"
            }
        }
    }
}

impl Fault {
    /// Of which kind it is.
    pub fn kind(self) -> Kind {
        match self {
            Fault::Kill { .. } => Kind::Kill,
            Fault::Freeze { .. } => Kind::Freeze,
            Fault::CrashDatabase { .. } => Kind::CrashDatabase,
            Fault::FreezeDatabase { .. } => Kind::FreezeDatabase,
            Fault::CrashBroker { .. } => Kind::CrashBroker,
            Fault::FreezeBroker { .. } => Kind::FreezeBroker,
            Fault::Reset { .. } => Kind::Reset,
            Fault::BlackHole { .. } => Kind::BlackHole,
            Fault::Delay { .. } => Kind::Delay,
            Fault::Slow { .. } => Kind::Slow,
            Fault::Partition { .. } => Kind::Partition,
            Fault::Clock { .. } => Kind::Clock,
            Fault::Provider { .. } => Kind::Provider,
            Fault::Webhooks { .. } => Kind::Webhooks,
            Fault::Poison { .. } => Kind::Poison,
            Fault::Rebalance { .. } => Kind::Rebalance,
        }
    }
}

/// The name of a line's other end.
pub(crate) fn peer(peer: Peer) -> &'static str {
    match peer {
        Peer::Database => "postgresql",
        Peer::Broker => "kafka",
        Peer::Provider => "provider",
        Peer::Webhook => "webhook",
        Peer::Order => "order",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |line: Line| format!("{}-{}", line.0, peer(line.1));
        match *self {
            Fault::Kill { program } => write!(f, "kill {program}"),
            Fault::Freeze { program, ms } => write!(f, "freeze {program} for {ms} ms"),
            Fault::CrashDatabase { down_ms, hard } => {
                let how = if hard { "kill" } else { "crash" };
                write!(f, "{how} the database, away for {down_ms} ms")
            }
            Fault::FreezeDatabase { ms } => write!(f, "freeze the database for {ms} ms"),
            Fault::CrashBroker { down_ms } => write!(f, "kill the broker, away for {down_ms} ms"),
            Fault::FreezeBroker { ms } => write!(f, "freeze the broker for {ms} ms"),
            Fault::Reset { line: l } => write!(f, "reset {}", line(l)),
            Fault::BlackHole { line: l, ms } => write!(f, "nothing passes {} for {ms} ms", line(l)),
            Fault::Delay { line: l, by_ms, ms } => write!(f, "{} is late by {by_ms} ms for {ms} ms", line(l)),
            Fault::Slow {
                line: l,
                bytes_per_second,
                ms,
            } => write!(f, "{} at {bytes_per_second} B/s for {ms} ms", line(l)),
            Fault::Partition { party, ms } => write!(f, "cut {party} off for {ms} ms"),
            Fault::Clock { program, by_s, ms } => {
                write!(f, "the clock of {program} by {by_s:+} s for {ms} ms")
            }
            Fault::Provider { how, calls } => match how {
                Misbehaviour::Refuses(status) => {
                    write!(f, "the provider refuses {calls} calls with {status}")
                }
                Misbehaviour::LosesAnswers => write!(f, "the provider loses {calls} answers"),
                Misbehaviour::TakesItsTime => write!(f, "the provider answers {calls} calls too late"),
            },
            Fault::Webhooks { ms } => write!(f, "no reports for {ms} ms"),
            Fault::Poison { mended } => {
                write!(f, "poison a saga{}", if mended { ", and mend it" } else { "" })
            }
            Fault::Rebalance { program, ms, killed } => {
                let end = if killed { "killed" } else { "asked to go" };
                write!(f, "a second {program} for {ms} ms, then {end}")
            }
        }
    }
}
