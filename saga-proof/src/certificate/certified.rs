use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::Result;
use local_stack::Addresses;
use quadrille_process::fault::Point;
use uuid::Uuid;

use super::path::{Path, Saga};
use crate::stage::{Program, RELAY, System};

/// A call of ten seconds, and half a second more.
pub(super) const CLAIM: Duration = Duration::from_millis(10_500);

/// A system whose sagas are put through every fault.
///
/// A program is called as its participant, and so is its database; see [`System`], which is one.
#[expect(
    async_fn_in_trait,
    reason = "all of it runs on the task of whoever asks for the certificate"
)]
pub trait Certified: Sized {
    /// What the page says of it.
    const WORDS: Words;
    /// Points that no saga of it passes on any path, and why not.
    const NEVER: &'static [(&'static [Point], &'static str)] = &[];

    /// How long a call stays claimed by who crashed: the longest `call_timeout` of a policy and the setting
    /// `EFFECTS_LEASE_MARGIN_MS`, which [`System`] sets to half a second. A call that stands still does it longer than this.
    const CLAIM: Duration = CLAIM;

    /// The ways through the saga. On the first one sagas are under way while a fault hits a process by itself, so it is
    /// one that needs nobody to do anything in the middle. The path of an event that cannot be sent is added.
    fn paths() -> Vec<Path>;

    /// Starts everything, with nothing under way.
    async fn open(servers: &Addresses) -> Result<Self>;

    /// What there is.
    fn setting(&self) -> Setting<'_>;

    /// The key that the saga of a token will have.
    fn key(&self, path: &'static str, token: Uuid) -> String {
        let _ = path;
        token.to_string()
    }

    /// Starts a saga, does what somebody outside does on its path, and returns once it has ended as it has to. Whoever is
    /// asked may be away for a moment at any time, so ask again: [`until`](crate::stage::wait::until).
    ///
    /// # Errors
    /// What went otherwise.
    async fn walk(&self, saga: &Saga) -> Result<()>;

    /// What does not add up about a saga, now that everything is at rest: that it has not ended as its path does, or that
    /// books do not balance.
    ///
    /// # Errors
    /// If somebody does not answer.
    async fn balance(&self, saga: &Saga) -> Result<Vec<String>>;

    /// What does not add up about all sagas together, after the last case.
    ///
    /// # Errors
    /// If somebody does not answer.
    async fn audit(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// What a page says that is not the same for everybody.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// What it is of: `order saga`.
    pub saga: &'static str,
    /// What writes it: `just certificate`.
    pub command: &'static str,
    /// Which books balance, to stand after "its books balance: ".
    pub books: &'static str,
    /// Where the table of points is, seen from the page.
    pub points: &'static str,
    /// Whatever else a reader should know.
    pub more: &'static str,
}

impl Words {
    /// For what need not be said: `Words { saga: …, command: …, books: …, ..Words::PLAIN }`.
    pub const PLAIN: Words = Words {
        saga: "saga",
        command: "a program",
        books: "nothing is taken that is not given back or paid for",
        points: "https://github.com/quadrille-rs/quadrille/blob/main/process/src/fault/point.rs",
        more: "",
    };
}

/// What a certificate is made with.
#[derive(Clone, Debug)]
pub struct Setting<'s> {
    /// All programs.
    pub programs: Vec<&'s Program>,
    /// Which of them publishes the outboxes.
    pub relay: &'s str,
    /// The databases with an outbox, by the name that the relay knows them by, with the URL of a superuser. A
    /// [`witness`](crate::stage::witness) is in each.
    pub outboxes: Vec<(String, String)>,
    /// Bootstrap servers.
    pub brokers: &'s str,
    /// Full names of the topics.
    pub topics: Vec<String>,
    /// An outbox and a topic for events that cannot be sent.
    pub unsendable: (String, String),
    /// Where the programs' logs are. They stay if something goes wrong.
    pub logs: &'s FilePath,
}

impl System {
    /// What a certificate is made with.
    ///
    /// # Panics
    /// If the system has no service or no topic.
    pub fn setting(&self) -> Setting<'_> {
        let outboxes: Vec<(String, String)> = self.databases().collect();
        let topics = self.topics().to_vec();
        let unsendable = (
            outboxes.first().expect("a service").0.clone(),
            topics.first().expect("a topic").clone(),
        );
        Setting {
            programs: self.programs().iter().collect(),
            relay: RELAY,
            outboxes,
            brokers: self.brokers(),
            topics,
            unsendable,
            logs: self.dir(),
        }
    }
}
